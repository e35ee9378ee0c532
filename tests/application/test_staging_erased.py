"""What is staged goes with what is erased, and is as secret as what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx.domain.commands import Write, WriteKind
from tests.application.stagings import BOB, SECRETS, StagingCase, replacing, write
from tests.erasure.places import ALICE, holds


class Erased(StagingCase):
    """Erasing takes what is staged about the same along, from copies, too."""

    def setUp(self) -> None:
        super().setUp()
        self.write("o-1", {"mail": "x"}, subject="anna")

    def secret(self, kind: WriteKind, identifier: str, **metadata: str) -> Write:
        """Return a write with something to be found in every part."""
        more = orjson.dumps({"@trace": SECRETS[1], **metadata}).decode()
        content: Any = {"told": SECRETS[0]}
        if kind == "patch":
            content = replacing("/told", SECRETS[0])
        key = f"{SECRETS[3]}-{kind}"
        return write(kind, identifier, content, metadata=more, note=SECRETS[2], idempotency_key=key)

    def test_an_aggregate(self) -> None:
        self.stage(self.secret("apply", "o-1"), self.secret("patch", "o-1"))
        (kept,) = self.stage(write("create", "o-2", {}), owner=BOB)
        self.stage(self.secret("apply", "o-1"), owner=BOB)
        self.assertEqual(self.erase("o-1", dry_run=True).staged, 3)
        self.assertEqual(len(self.ids()), 2)
        copy = self.copy()
        self.assertEqual(self.erase("o-1").staged, 3)
        self.assertEqual((self.ids(), self.ids(BOB)), ([], [kept.entry_id]))
        self.assertEqual(self.findings(), [])
        self.lost(copy)
        self.assertEqual(len(self.commit(BOB)), 1)

    def test_an_aggregate_that_is_only_staged(self) -> None:
        """It can be erased like one that exists, and again when it is erased already."""
        self.stage(self.secret("create", "o-2"))
        self.assertEqual(self.erase("o-2").staged, 1)
        self.assertEqual(self.ids(), [])
        self.assertIsNone(self.domain.reader().aggregate("order", "o-2"))
        self.erase("o-1")
        self.stage(self.secret("apply", "o-1"))
        again = self.erase("o-1")
        self.assertEqual((again.events, again.staged), (0, 1))
        self.assertEqual((self.ids(), self.findings()), ([], []))
        self.assert_gone(SECRETS)

    def test_a_subject(self) -> None:
        """All that is about them is dropped, a patch of what is about them included."""
        self.write("o-1", {"deep": {"a": SECRETS[0]}}, subject="anna")
        self.stage(self.secret("apply", "o-1", **{"@subject": "anna"}))
        self.stage(write("patch", "o-1", replacing("/deep/b", 1)))
        (kept,) = self.stage(write("apply", "o-1", {}, metadata='{"@subject":"eve"}'))
        copy = self.copy()
        self.assertEqual(self.erase_subject("anna").staged, 2)
        self.assertEqual(self.ids(), [kept.entry_id])
        self.assertEqual(self.findings(), [])
        self.lost(copy)

    def test_a_subject_of_whom_nothing_else_is_known(self) -> None:
        self.stage(self.secret("create", "o-2", **{"@subject": "eve"}))
        self.assertEqual(self.erase_subject("eve").staged, 1)
        self.assertEqual((self.ids(), self.findings()), ([], []))
        self.assert_gone(SECRETS)

    def lost(self, copy: Path) -> None:
        """Check that nothing is left here, nor in a copy from before if that was sealed."""
        self.assert_gone(SECRETS)
        if not self.sealed:
            return
        self.successResultOf(self.domain.store.close())
        self.open(self.with_keys_of_today(copy))
        self.assertEqual([one for one in self.ids() if one in self.ids(BOB)], [])
        for entry in (*self.staging.entries(ALICE), *self.staging.entries(BOB)):
            self.assertNotIn(SECRETS[0], str(entry))
        self.successResultOf(self.domain.store.close())
        self.open()


class ErasedPlain(Erased):
    """The same in a store that is not sealed."""

    sealed = False


class Sealed(StagingCase):
    """What is staged is as secret as what is written."""

    def secret(self) -> Write:
        """Return a write with something to be found in every part."""
        metadata = orjson.dumps({"@trace": SECRETS[1]}).decode()
        return write(
            "apply", "o-1", {"told": SECRETS[0]}, metadata=metadata, note=SECRETS[2],
            idempotency_key=SECRETS[3],
        )  # fmt: skip

    def test_no_plaintext_on_disk(self) -> None:
        self.stage(self.secret())
        self.assert_gone((*SECRETS, "alice"))
        self.reopen()
        self.assert_gone((*SECRETS, "alice"))
        self.commit()
        self.assert_gone(SECRETS)

    def test_sealed_later(self) -> None:
        """A store that gets a key seals what was staged before, under a key of its own."""
        self.successResultOf(self.domain.store.close())
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.sealed = False
        self.open()
        self.write("o-1", {})
        self.stage(self.secret())
        self.assertNotEqual(holds(self.folder, SECRETS[0]), [])
        self.successResultOf(self.domain.store.close())
        self.sealed = True
        self.open()
        while self.successResultOf(Deferred.fromCoroutine(self.domain.data_keys.seal_some())):
            pass
        self.assert_gone(SECRETS)
        (entry,) = self.staging.entries(ALICE)
        self.assertGreater(entry.slot, 0)
        self.assertEqual(self.findings(), [])
        self.erase("o-1")
        self.assertEqual(self.ids(), [])

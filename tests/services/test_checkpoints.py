"""When a server signs checkpoints, and the copy beside the store."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.authorising import as_audit_trail
from eventdbx.application.domains import Domain
from eventdbx.config import Config, Integrity
from eventdbx.domain.checkpoints import parse_checkpoint
from eventdbx.domain.commands import Write
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.domain.notes import parse_note
from eventdbx.services.checkpoints import COPIES, COPY_NAME, CheckpointService
from eventdbx.services.stores import StoreService
from eventdbx.storage.eventlog import AUDIT_PARTITION, end_position
from eventdbx.storage.hops import synchronous
from tests.application.test_writer import ALICE
from tests.domain.signers import witness_key

SEED = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="


class CheckpointServiceTests(SynchronousTestCase):
    """One domain on the disk, a clock, and threads that are done at once."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.clock = Clock()
        self.slow: list[tuple[Any, Deferred[Any]]] = []

    def start(self, mode: str = "interval", **more: Any) -> Domain:
        """Open the store as a server does."""
        given = {"origin": "example.org/db", "signing_key": SEED, "checkpoint": mode, **more}
        config = Config(encryption=False, integrity=Integrity(**given))
        self.service = CheckpointService(
            lambda: config.integrity,
            folder=lambda name: self.folder / name,
            run_slowly=self.run_slowly,
            clock=self.clock,
        )
        self.stores = StoreService(
            config,
            store_path=lambda name: self.folder / name / "event_store",
            plugins_path=lambda name: self.folder / name / "plugins.json",
            make_hop=synchronous,
            clock=self.clock,
            on_failure=lambda failure: None,
        )
        self.stores.on_open.append(self.service.add)
        self.stores.startService()
        self.service.startService()
        return self.stores.domain(None)

    def stop(self) -> None:
        """Stop as a server does."""
        self.successResultOf(self.service.stopService())
        self.successResultOf(self.stores.stopService())

    def run_slowly(self, work: Any) -> Deferred[Any]:
        """Do work that would be done on a thread."""
        return execute(work)

    def write(self, domain: Domain, count: int) -> None:
        """Commit events one after the other."""
        for _ in range(count):
            self.number = getattr(self, "number", 0) + 1
            write = Write("create", "order", f"o-{self.number}", "made", "{}")
            done = domain.writer.write([write], actor=ALICE, idempotency_key=None, render=len)
            self.successResultOf(done)

    def signed(self, domain: Domain) -> list[int]:
        """Return the sizes that were signed."""
        return [one.size for one in domain.checkpoints.listed(1_000)]

    def audit(self, domain: Domain, count: int) -> None:
        """Commit entries of the audit trail."""
        for _ in range(count):
            done = domain.writer.write(
                [Write("append", AUDIT_TYPE, "config", "changed", "{}")],
                actor=ALICE,
                idempotency_key=None,
                render=len,
                authorise=as_audit_trail,
            )
            self.successResultOf(done)

    def copied(self, partition: int = 0) -> int:
        """Return the size that the copy tells of."""
        raw = (self.folder / "default" / COPIES[partition]).read_bytes()
        return parse_checkpoint(parse_note(raw).text).size

    def test_interval(self) -> None:
        """However many commits there are, one checkpoint is signed in each interval."""
        domain = self.start(checkpoint_interval_ms=500)
        self.assertEqual(self.signed(domain), [])
        self.write(domain, 20)
        self.clock.advance(0.4)
        self.write(domain, 10)
        self.assertEqual(self.signed(domain), [])
        self.clock.advance(0.1)
        self.assertEqual(self.signed(domain), [30])
        for _ in range(20):
            self.clock.advance(0.5)
        self.assertEqual(self.signed(domain), [30])
        self.write(domain, 1)
        self.clock.advance(0.5)
        self.assertEqual(self.signed(domain), [31, 30])
        self.stop()

    def test_each_commit(self) -> None:
        """With ``commit`` each group of commits is signed when it is durable."""
        domain = self.start("commit")
        self.write(domain, 5)
        self.assertEqual(self.signed(domain), [5, 4, 3, 2, 1])
        self.stop()

    def test_clean_stop(self) -> None:
        """A clean stop signs what is left, and leaves the copy beside the store."""
        domain = self.start(checkpoint_interval_ms=1_000)
        self.write(domain, 7)
        self.stop()
        self.assertEqual(self.copied(), 7)
        domain = self.start()
        self.assertEqual(self.signed(domain), [7])
        self.assertIsNone(domain.checkpoints.problem)
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_a_crash_left(self) -> None:
        """What was committed before a crash is signed soon after the next start."""
        domain = self.start()
        self.write(domain, 3)
        self.successResultOf(self.stores.stopService())  # Without the service's last signature.
        domain = self.start()
        self.assertEqual(self.signed(domain), [])
        self.clock.advance(1)
        self.assertEqual(self.signed(domain), [3])
        self.stop()

    def test_copies_are_not_written_all_the_time(self) -> None:
        """With many checkpoints a second the copy is written once in an interval."""
        written: list[int] = []
        run = self.run_slowly

        def counted(work: Any) -> Deferred[Any]:
            written.append(1)
            return run(work)

        self.run_slowly = counted  # type: ignore[method-assign]
        domain = self.start("commit", checkpoint_interval_ms=200)
        self.write(domain, 50)
        self.assertEqual((len(written), self.copied()), (1, 1))
        self.clock.advance(0.2)
        self.assertEqual((len(written), self.copied()), (2, 50))
        self.clock.advance(5)
        self.assertEqual(len(written), 2)
        self.stop()

    def test_store_put_back(self) -> None:
        """A store that was put back as a whole is noticed when it is opened: health tells it."""
        domain = self.start()
        self.write(domain, 4)
        self.stop()
        kept = (self.folder / "default" / COPY_NAME).read_text()
        self.folder = Path(self.mktemp())
        (self.folder / "default").mkdir(parents=True)
        (self.folder / "default" / COPY_NAME).write_text(kept)
        domain = self.start()
        self.write(domain, 2)
        self.assertIn("0 events, and 4 were signed", domain.checkpoints.problem or "")
        self.clock.advance(1)
        self.assertEqual(self.signed(domain), [])
        self.stop()
        self.assertEqual(self.copied(), 4)

    def test_older_store_put_back(self) -> None:
        """What its copy tells outlives any number of starts and clean stops with an older store
        that has checkpoints of its own: the log is not forked."""
        domain = self.start()
        self.write(domain, 2)
        self.stop()
        store, older = self.folder / "default" / "event_store", Path(self.mktemp())
        copytree(store, older)
        domain = self.start()
        self.write(domain, 3)
        self.stop()
        rmtree(store)
        copytree(older, store)
        for size in (3, 4, 5, 6):
            domain = self.start("commit")
            self.write(domain, 1)
            self.assertEqual(self.signed(domain), [2])
            self.assertIn("signed", domain.checkpoints.problem or "")
            self.assertEqual(end_position(domain.store.view(), 0), size)
            self.stop()
            self.assertEqual(self.copied(), 5)

    def test_older_audit_trail_put_back(self) -> None:
        """A store of before some entries of the audit trail is noticed, too."""
        domain = self.start()
        self.write(domain, 2)
        self.audit(domain, 2)
        self.stop()
        store, older = self.folder / "default" / "event_store", Path(self.mktemp())
        copytree(store, older)
        domain = self.start()
        self.audit(domain, 1)
        self.stop()
        self.assertEqual((self.copied(), self.copied(AUDIT_PARTITION)), (2, 3))
        rmtree(store)
        copytree(older, store)
        for _again in range(2):
            domain = self.start("commit")
            self.audit(domain, 1)
            self.assertIn("audit trail", domain.checkpoints.problem or "")
            self.assertEqual(len(domain.checkpoints.listed(9, partition=AUDIT_PARTITION)), 1)
            self.stop()
            self.assertEqual(self.copied(AUDIT_PARTITION), 3)

    def test_copy_is_kept_without_a_key(self) -> None:
        """Nor is it replaced while nobody can tell whether the store fits it."""
        domain = self.start()
        self.write(domain, 2)
        self.stop()
        store, older = self.folder / "default" / "event_store", Path(self.mktemp())
        copytree(store, older)
        domain = self.start()
        self.write(domain, 1)
        self.stop()
        rmtree(store)
        copytree(older, store)
        self.start(signing_key=None)
        self.stop()
        self.assertEqual(self.copied(), 3)

    def test_copy_that_cannot_be_written(self) -> None:
        """The reason is told, and gone once it works again."""
        copy = self.folder / "default" / COPY_NAME
        domain = self.start("commit")
        copy.mkdir()
        self.write(domain, 1)
        self.assertIn("cannot write", domain.checkpoints.problem or "")
        copy.rmdir()
        self.write(domain, 1)
        self.clock.advance(1)
        self.assertIsNone(domain.checkpoints.problem)
        self.stop()
        self.assertEqual(self.copied(), 2)

    def test_copy_that_cannot_be_read(self) -> None:
        """Nothing is signed before it is known what was signed last."""
        copy = self.folder / "default" / COPY_NAME
        copy.mkdir(parents=True)
        domain = self.start("commit")
        self.write(domain, 1)
        self.assertIn("reading", domain.checkpoints.problem or "")
        self.assertEqual(self.signed(domain), [])
        copy.rmdir()
        self.write(domain, 1)
        self.assertEqual(self.signed(domain), [2])
        self.stop()

    def test_no_key(self) -> None:
        """Without a key nothing is signed, and health says what is missing."""
        domain = self.start("commit", signing_key=None)
        self.write(domain, 1)
        self.assertIn("integrity.signing_key", domain.checkpoints.problem or "")
        self.stop()

    def test_anchors(self) -> None:
        """The log is verified with the keys of witnesses that have a URL, and each counts once."""
        keys = [witness_key(name, b"\x09" * 32)[0].vkey() for name in ("example.org/a", "b.org/b")]
        domain = self.start(witnesses=(f"{keys[0]} https://example.org/w", keys[1]))
        self.write(domain, 1)
        (known,) = domain.anchors().trusts[0].witnesses
        self.assertIn(known.vkey(), keys)
        self.stop()

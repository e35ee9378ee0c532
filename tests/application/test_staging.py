"""Staging in a domain on disk: checked twice, committed at once."""

from __future__ import annotations

from typing import Any

import orjson

from eventdbx import limits
from eventdbx.application.authorising import allow_all
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.events import Actor
from eventdbx.domain.grants import Grant
from eventdbx.errors import (
    AggregateArchived,
    AggregateMissing,
    AlreadyExists,
    IdempotencyConflict,
    InvalidSchema,
    SchemaViolation,
    StorageError,
    TokenLimitReached,
    Unauthorized,
    UnknownName,
    VersionConflict,
)
from eventdbx.storage import keys
from eventdbx.storage.contents import DamagedRecord
from eventdbx.storage.staged import decode_entry, encode_entry, owner_digest
from eventdbx.storage.store import Transaction
from tests.application.referencing import link, schema
from tests.application.stagings import BOB, StagingCase, replacing, write
from tests.erasure.places import ALICE


class Staged(StagingCase):
    """The rules, in a sealed store."""

    def test_nothing_is_written_before_the_commit(self) -> None:
        before = self.domain.store.view().get(keys.head(keys.name("order", "o-1"), False))
        self.stage(write("apply", "o-1", {"total": 13}))
        self.assertEqual(len(self.events("o-1")), 1)
        self.assertEqual(
            self.domain.store.view().get(keys.head(keys.name("order", "o-1"), False)), before
        )
        self.assertEqual(self.findings(), [])
        committed = self.commit()
        self.assertEqual([one.version for one in committed], [2])
        self.assertEqual(self.state("o-1")["total"], 13)
        self.assertEqual((self.ids(), self.findings()), ([], []))

    def test_a_commit_of_nothing(self) -> None:
        self.assertEqual(self.commit(), [])

    def test_everything_that_was_given_is_kept(self) -> None:
        """Note, metadata, spelling, author and time of staging are those of the event."""
        more: dict[str, Any] = {
            "metadata": '{"@source":"web"}', "note": "by phone", "expected_version": 1,
            "idempotency_key": "k-1",
        }  # fmt: skip
        (entry,) = self.stage(write("apply", "o-1", {"big": 1e21}, "order.changed", **more))
        self.reopen()
        (kept,) = self.staging.entries(ALICE)
        self.assertEqual(kept, entry)
        self.assertEqual(kept.event_type, "order_changed")
        (event,) = self.commit()
        self.assertEqual(event.note, "by phone")
        self.assertEqual(orjson.loads(event.extensions or b"{}"), {"@source": "web"})
        self.assertEqual((event.issued_by, event.event_type_raw), (ALICE, "order.changed"))

    def test_creation_and_what_follows(self) -> None:
        """An aggregate that is only staged is there for what the same user stages next."""
        self.stage(write("create", "o-2", {"n": 1}))
        self.stage(write("apply", "o-2", {"n": 2}), write("patch", "o-2", replacing("/m", [1])))
        self.refused(self.staging_of(write("create", "o-2", {})), AlreadyExists)
        self.refused(self.staging_of(write("apply", "o-2", {}), owner=BOB), AggregateMissing)
        events = self.commit()
        self.assertEqual([(one.aggregate_id, one.version) for one in events],
                         [("o-2", 1), ("o-2", 2), ("o-2", 3)])  # fmt: skip
        self.assertEqual(self.state("o-2"), {"n": 2, "m": [1]})
        self.assertEqual(self.findings(), [])

    def test_two_patches_of_one_value(self) -> None:
        """Both take effect, though the second was staged before the first was committed."""
        (first,) = self.stage(write("patch", "o-1", replacing("/who/name", "Eve")))
        (second,) = self.stage(write("patch", "o-1", replacing("/who/tags/-", "y")))
        self.assertEqual(orjson.loads(first.payload), {"who": {"name": "Eve", "tags": ["x"]}})
        self.assertEqual(orjson.loads(second.payload), {"who": {"name": "Eve", "tags": ["x", "y"]}})
        self.commit()
        self.assertEqual(self.state("o-1")["who"], {"name": "Eve", "tags": ["x", "y"]})

    def test_a_patch_is_carried_out_at_the_commit(self) -> None:
        """What others wrote meanwhile is not lost."""
        self.stage(write("patch", "o-1", replacing("/who/name", "Eve")))
        self.write("o-1", {"who": {"name": "Ada", "tags": ["z"]}})
        self.commit()
        self.assertEqual(self.state("o-1")["who"], {"name": "Eve", "tags": ["z"]})

    def test_what_cannot_be_written_is_not_staged(self) -> None:
        self.archive("o-1", "old")
        for refused, kind in (
            (write("apply", "o-9", {}), AggregateMissing),
            (write("apply", "o-1", {}), AggregateArchived),
            (write("create", "o-1", {}), AlreadyExists),
            (write("create", "o-2", {}, expected_version=3), VersionConflict),
            (write("create", "o-2", {}, "Not A Name"), InvalidSchema),
            (write("create", "o-2", {}, metadata='{"key":1}'), InvalidSchema),
            (write("create", "o-2", "x" * limits.PAYLOAD_BYTES_MAX), InvalidSchema),
            (Write("create", "order", "o-2", "made", "{}", receipt=True), InvalidSchema),
            (write("create", "o-2", {}, publish_targets=(PublishTarget("p", None, None),)),
             InvalidSchema),
        ):  # fmt: skip
            self.refused(self.staging_of(refused), kind)
        self.assertEqual(self.ids(), [])

    def test_several_at_once_are_all_staged_or_none(self) -> None:
        said = self.refused(
            self.staging_of(write("apply", "o-1", {}), write("apply", "o-9", {})), AggregateMissing
        )
        self.assertIn("write 2 of 2: aggregate order::o-9 does not exist", said)
        self.assertEqual(self.ids(), [])

    def test_a_refused_commit_names_the_entry_and_keeps_all(self) -> None:
        """Archived, deleted rights, another version: one entry that fails is all that fails."""
        (first,) = self.stage(write("create", "o-2", {}))
        (second,) = self.stage(write("apply", "o-1", {"n": 1}, "paid", expected_version=1))
        self.write("o-1", {"n": 0})
        where = f"staged event 2 (id {second.entry_id}, order::o-1, paid): "
        said = self.refused(self.committing(), VersionConflict)
        self.assertEqual(said, f"schema violation: {where}expected version 1, found 2")
        self.archive("o-1", "old")
        self.successResultOf(self.staging.drop(ALICE, [second.entry_id]))
        self.assertEqual(self.ids(), [first.entry_id])
        self.archive("o-1", "back", archived=False)
        (third,) = self.stage(write("apply", "o-1", {"n": 1}))
        self.archive("o-1", "old")
        said = self.refused(self.committing(), AggregateArchived)
        self.assertIn(f"id {third.entry_id}, order::o-1", said)
        self.assertTrue(said.endswith("aggregate is archived and cannot accept new events"))
        self.assertEqual(self.ids(), [first.entry_id, third.entry_id])
        self.assertIsNone(self.domain.reader().aggregate("order", "o-2"))
        # Nothing can be put on top of what would be refused, but beside it.
        said = self.refused(self.staging_of(write("apply", "o-1", {})), AggregateArchived)
        self.assertIn(f"staged event 2 (id {third.entry_id}", said)
        self.stage(write("create", "o-3", {}))
        self.archive("o-1", "back", archived=False)
        self.assertEqual(len(self.commit()), 3)
        self.assertEqual(self.findings(), [])

    def test_the_rights_are_asked_for_again(self) -> None:
        def only_reads(action: str, _resource: str) -> None:
            if action != "aggregate.read":
                raise Unauthorized()

        self.refused(self.staging_of(write("apply", "o-1", {}), authorise=only_reads), Unauthorized)
        self.stage(write("apply", "o-1", {}))
        said = self.refused(self.committing(authorise=only_reads), Unauthorized)
        self.assertIn("staged event 1 ", said)
        self.assertEqual(len(self.ids()), 1)

    def test_writes_count_when_they_are_committed(self) -> None:
        """The limit of a token is asked of the commit, and of nothing before."""
        grant = Grant("j", "s", group="ops", user="alice", write_limit=1)
        self.stage(write("apply", "o-1", {}), write("apply", "o-1", {}))
        self.refused(self.committing(spender=grant), TokenLimitReached)
        self.assertEqual(len(self.ids()), 2)
        self.successResultOf(self.staging.drop(ALICE, self.ids()[:1]))
        self.assertEqual(len(self.commit(spender=grant)), 1)

    def test_users_do_not_meet(self) -> None:
        (mine,) = self.stage(write("apply", "o-1", {"by": "alice"}))
        (theirs,) = self.stage(write("apply", "o-1", {"by": "bob"}), owner=BOB)
        self.assertEqual((self.ids(), self.ids(BOB)), ([mine.entry_id], [theirs.entry_id]))
        self.refused(self.staging.drop(BOB, [mine.entry_id]), UnknownName)
        self.assertEqual([one.issued_by for one in self.commit(BOB)], [BOB])
        self.assertEqual(self.ids(), [mine.entry_id])
        self.assertEqual({one.owner for one in self.staging.all_entries()}, {ALICE})
        # Names that end where others begin are those of other users.
        self.assertNotEqual(owner_digest(Actor("a", "b c")), owner_digest(Actor("a b", "c")))

    def test_drop(self) -> None:
        first, second, third = self.stage(*(write("apply", "o-1", {"n": n}) for n in range(3)))
        self.refused(self.staging.drop(ALICE, [second.entry_id, 7]), UnknownName)
        self.assertEqual(len(self.ids()), 3)
        self.assertEqual(self.successResultOf(self.staging.drop(ALICE, [second.entry_id] * 2)), 1)
        self.assertEqual(self.ids(), [first.entry_id, third.entry_id])
        self.assertEqual(self.successResultOf(self.staging.drop(ALICE, None)), 2)
        self.assertEqual(self.successResultOf(self.staging.drop(ALICE, None)), 0)
        self.assertEqual((self.commit(), len(self.events("o-1"))), ([], 1))

    def test_rehearsal(self) -> None:
        """A commit can be tried: it says what would be refused, and leaves no trace."""
        (entry,) = self.stage(write("create", "o-2", {"n": 1}))
        trying: dict[str, Any] = {"owner": ALICE, "actor": ALICE, "authorise": allow_all}
        before = dict(self.domain.store.view().scan(b"\0", b"\xff"))
        self.assertEqual(self.successResultOf(self.staging.rehearse(**trying)), [entry])
        self.assertEqual(dict(self.domain.store.view().scan(b"\0", b"\xff")), before)
        self.write("o-2", {})
        self.refused(self.staging.rehearse(**trying), AlreadyExists)
        self.assertEqual(self.findings(), [])

    def test_bounds(self) -> None:
        """More than one commit can hold is refused while it is staged."""
        self.patch(limits, "STAGED_EVENTS_MAX", 3)
        self.stage(write("apply", "o-1", {}), write("apply", "o-1", {}))
        two = (write("apply", "o-1", {}), write("apply", "o-1", {}))
        self.assertIn("3 staged events", self.refused(self.staging_of(*two), InvalidSchema))
        self.stage(write("apply", "o-1", {}))
        self.stage(*two, owner=BOB)
        self.patch(limits, "STAGED_BYTES_MAX", 2_000)
        self.successResultOf(self.staging.drop(ALICE, None))
        long = write("apply", "o-1", {"text": "x" * 700})
        self.assertIn("2000 bytes", self.refused(self.staging_of(long, long), InvalidSchema))
        self.assertEqual((len(self.ids()), len(self.ids(BOB))), (0, 2))
        self.refused(self.staging_of(), InvalidSchema)

    def test_as_many_as_there_can_be(self) -> None:
        """The largest commit is one commit."""
        count = limits.STAGED_EVENTS_MAX
        self.stage(*(write("create", f"n-{n}", {"n": n}) for n in range(count)))
        commits: list[int] = []
        self.domain.store.on_commit.append(lambda: commits.append(len(self.ids())))
        self.assertEqual(len(self.commit()), count)
        self.assertEqual(commits, [0])
        self.assertEqual(self.findings(), [])

    def test_idempotency_keys(self) -> None:
        """What was written under a key already is not written again by a commit."""
        self.stage(write("apply", "o-1", {"n": 1}, idempotency_key="k"))
        self.stage(write("apply", "o-1", {"n": 1}, idempotency_key="k"))
        done = self.domain.writer.write(
            (write("apply", "o-1", {"n": 1}, idempotency_key="k"),), actor=ALICE, render=len
        )
        self.successResultOf(done)
        self.assertEqual([one.version for one in self.commit()], [2, 2])
        self.assertEqual(len(self.events("o-1")), 2)
        other = write("apply", "o-1", {"n": 2}, idempotency_key="k")
        self.refused(self.staging_of(other), IdempotencyConflict)

    def test_what_plugins_follow(self) -> None:
        """Committed events are in the log, in the order of staging, behind one another."""
        self.stage(write("create", "o-3", {}), write("create", "o-2", {}))
        ids = [one.event_id for one in self.commit()]
        view = self.domain.store.view()
        log = [key for key, _entry in view.scan(keys.LOG, keys.after(keys.LOG))]
        self.assertEqual(len(log), 3)
        self.assertEqual(ids, sorted(ids))

    def test_damage(self) -> None:
        """A record in another's place, or with other bytes, is found and never committed."""
        (entry,) = self.stage(write("apply", "o-1", {}))
        record = encode_entry(entry)
        self.assertEqual(decode_entry(entry.key, record), entry)
        for bad in (b"", record[:5], b"\x02" + record[1:], record[:-3]):
            self.assertRaises(DamagedRecord, decode_entry, entry.key, bad)

        def misplace(transaction: Transaction) -> None:
            transaction.put(keys.staged(owner_digest(BOB), entry.entry_id), record)

        self.successResultOf(self.domain.store.transact(misplace))
        self.assertEqual(len(self.findings()), 1)
        self.assertIn("another user's place", self.findings()[0])
        self.assertRaises(StorageError, self.staging.entries, BOB)


class StagedPlain(Staged):
    """The same in a store that is not sealed."""

    sealed = False


class UnderSchemas(StagingCase):
    """Schemas, references and snapshots count as for any other write."""

    def put(self, *schemas: dict[str, Any]) -> None:
        """Put schemas in force."""
        text = orjson.dumps({one["aggregate"]: one for one in schemas}).decode()
        catalogue = self.domain.schemas
        self.successResultOf(catalogue.replace(catalogue.prepare(text)))

    def test_what_a_schema_forbids(self) -> None:
        """It is refused when it is staged, and when the schema came later, at the commit."""
        self.stage(write("apply", "o-1", {}, "odd"))
        self.put(schema("order"))
        self.assertIn("staged event 1 ", self.refused(self.committing(), SchemaViolation))
        self.successResultOf(self.staging.drop(ALICE, None))
        self.refused(self.staging_of(write("apply", "o-1", {}, "odd")), SchemaViolation)
        self.stage(write("apply", "o-1", {}))
        self.assertEqual(len(self.commit()), 1)

    def test_snapshots(self) -> None:
        self.put({**schema("order"), "snapshot_threshold": 2})
        self.stage(*(write("apply", "o-1", {"n": n}) for n in range(2, 5)))
        self.commit()
        found = self.domain.reader().snapshots("order", "o-1", None)
        self.assertEqual([(one.version, one.state["n"]) for one in found], [(2, 2), (4, 4)])

    def test_references(self) -> None:
        """A staged creation is there for a staged reference; the commit indexes it."""
        refers = link(aggregate_type="order", integrity="strong")
        self.put(schema("order"), schema("item", of=refers))
        item = Write("create", "item", "i-1", "changed", '{"of":"default#order#o-2"}')
        self.refused(self.staging_of(item), SchemaViolation)
        self.stage(write("create", "o-2", {}))
        self.stage(item)
        self.refused(self.staging_of(item, owner=BOB), SchemaViolation)
        self.commit()
        prefix = keys.referrers_of("default", "order", "o-2")
        rows = list(self.domain.store.view().scan(prefix, keys.after(prefix)))
        self.assertEqual(len(rows), 1)
        self.assertEqual(self.findings(), [])

"""Whoever has the files: what was dropped, swapped, cut, put in or put back is found.

Two kinds of attackers. One changes records of the store as it is, and gets each past the seal;
that is found in the store itself. The other makes a whole store anew that fits in itself; only
what was signed before, and kept where the attacker is not, tells it from the real one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from eventdbx.domain.checkpoints import Checkpoint, sign_checkpoint
from eventdbx.domain.commands import Write
from eventdbx.domain.notes import sign_note
from eventdbx.domain.proofs import tree_root
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.interfaces import Changes
from eventdbx.storage.rocks import RocksStore
from tests.domain.signers import log_key
from tests.integrity.stores import AttackCase, BuiltStore, Outcome, passed

KEPT = "checkpoint kept elsewhere"
FAMILIES_OF_ONE = (keys.EVENT, keys.SNAPSHOT, keys.ARCHIVE_AUDIT)


class InPlace(AttackCase):
    """Records of one store, changed through the seal."""

    def setUp(self) -> None:
        self.built = self.open_sealed()
        self.built.fill(60)
        self.note = self.built.sign()
        self.assertEqual(passed(self.built.store.view(), self.note).findings, [])

    def attacked(self, changes: Changes) -> Outcome:
        """Return what a pass finds after a change."""
        self.built.above.write(changes, sync=False)
        return passed(self.built.above.view(), self.note)

    def event(self, identifier: str, version: int) -> tuple[bytes, bytes]:
        """Return key and record of an event."""
        key = keys.event(keys.name("order", identifier), version)
        record = self.built.above.get(key)
        assert record is not None
        return key, record

    def all_of(self, identifier: str) -> dict[bytes, bytes]:
        """Return every record that is of an aggregate, the log left out."""
        name = keys.name("order", identifier)
        pairs = self.built.above.view().scan(b"\x01", b"\xff")
        return {
            key: record
            for key, record in pairs
            if name in key or (key.startswith(keys.SNAPSHOT_ID) and record == name)
        }

    def test_dropped_event(self) -> None:
        """An event that is gone is missed by its aggregate and by the log."""
        key, _record = self.event("o-7", 2)
        found = self.attacked({key: None})
        self.assertIn("event order::o-7 v2", found.records)
        self.assertTrue(any("its event is missing" in one.message for one in found.findings))

    def test_swapped_events(self) -> None:
        """Two events in each other's places are both named."""
        (one, first), (other, second) = self.event("o-7", 1), self.event("o-7", 2)
        found = self.attacked({one: second, other: first})
        self.assertLessEqual({"event order::o-7 v1", "event order::o-7 v2"}, found.records)

    def test_swapped_between_aggregates(self) -> None:
        """Events of two aggregates in each other's places are both named."""
        (one, first), (other, second) = self.event("o-7", 1), self.event("o-8", 1)
        found = self.attacked({one: second, other: first})
        self.assertLessEqual({"event order::o-7 v1", "event order::o-8 v1"}, found.records)

    def test_truncated_aggregate(self) -> None:
        """The newest event, gone from the head and the indexes, too, is missed by the log."""
        name = keys.name("order", "o-7")
        key, _record = self.event("o-7", 5)
        before = eventlog.at_version(self.built.above.view(), "order", "o-7", 4)[1]
        head = eventlog.load_head(self.built.above.view(), name)
        assert head is not None and head.version == 5 and head.updated_at and before.updated_at
        updated_at = before.updated_at
        before = before._replace(key_slot=head.key_slot, state_slot=head.state_slot)
        found = self.attacked(
            {
                key: None,
                keys.head(name, False): records.encode_head(before),
                keys.by_time(keys.UPDATED_ACTIVE, head.updated_at // 1_000_000, name): None,
                keys.by_time(keys.UPDATED_ACTIVE, updated_at // 1_000_000, name): b"",
            }
        )
        self.assertTrue(any(one.startswith("position ") for one in found.records), found.findings)

    def test_reinserted_event(self) -> None:
        """An event under the next version of its aggregate is named."""
        key, record = self.event("o-7", 5)
        found = self.attacked({key[:-8] + (6).to_bytes(8, "big"): record})
        self.assertIn("event order::o-7 v6", found.records)
        self.assertIn("commit log", found.records)

    def test_dropped_aggregate(self) -> None:
        """An aggregate of which nothing is left is missed by the log."""
        found = self.attacked(dict.fromkeys(self.all_of("o-7")))
        lost = [one for one in found.findings if "its event is missing" in one.message]
        self.assertEqual({one.aggregate_id for one in lost}, {"o-7"})
        self.assertEqual(len(lost), 5)

    def test_dropped_head(self) -> None:
        """Events without a head are named, and so is what else is left of the aggregate."""
        found = self.attacked({keys.head(keys.name("order", "o-7"), False): None})
        self.assertIn("head order::o-7", found.records)

    def test_older_aggregate(self) -> None:
        """An aggregate put back as it was is missed by the log, its indexes and all."""
        before = self.all_of("o-7")
        self.built.write(self.built.append("o-7", {"later": 1}))
        self.note = self.built.sign()
        after = self.all_of("o-7")
        found = self.attacked({**dict.fromkeys(after), **before})
        lost = [one for one in found.findings if "its event is missing" in one.message]
        self.assertEqual([(one.aggregate_id, one.version) for one in lost], [("o-7", 6)])

    def test_cut_log(self) -> None:
        """The end of the log, taken away with events, heads and checkpoints, is missed outside."""
        pairs = dict(self.built.above.view().scan(b"\x01", b"\xff"))
        for number in range(5):
            self.built.write(self.built.append("o-7", {"later": number}))
        late = self.built.sign()
        now = dict(self.built.above.view().scan(b"\x01", b"\xff"))
        self.assertEqual(self.attacked({**dict.fromkeys(now), **pairs}).findings, [])
        (finding,) = passed(self.built.above.view(), late).findings
        self.assertEqual(finding.record, KEPT)
        self.assertIn("it was cut or rolled back", finding.message)

    def test_forged_checkpoint(self) -> None:
        """A checkpoint that another key signed is named."""
        view = self.built.above.view()
        size = eventlog.end_position(view, 0)
        key, sign = log_key("example.org/db/default", b"\x09" * 32)
        forged = sign_checkpoint(Checkpoint(key.name, size, bytes(32)), key, sign).encode()
        found = self.attacked({keys.checkpoint(0, size): forged})
        self.assertEqual(found.records, {f"checkpoint {size}"})

    def test_earlier_origin(self) -> None:
        """Checkpoints of before the log began anew under another origin are held against it, too,
        and anchor nothing."""
        view = self.built.above.view()
        root = tree_root(eventlog.log_nodes(view, 0), 3)
        for origin, found_root, signer, bad in (
            ("old.example/db", root, "old.example/db", False),
            ("old.example/db", bytes(32), "old.example/db", True),
            ("old.example/db", root, "example.org/db/default", True),
        ):
            key, sign = log_key(signer, b"\x09" * 32)
            note = sign_note(Checkpoint(origin, 3, found_root).text(), key, sign)
            found = self.attacked({keys.checkpoint(0, 3): note.encode()})
            self.assertEqual(found.records, {"checkpoint 3"} if bad else set())
        self.attacked({keys.checkpoint(0, 3): None})

    def test_unknown_record(self) -> None:
        """A record that no family knows is named."""
        self.assertEqual(self.attacked({b"zz": b"what"}).records, {f"record {b'zz'.hex()}"})

    def test_indexes(self) -> None:
        """An entry too many and one too few in each index by time are named."""
        name = keys.name("order", "o-7")
        view = self.built.above.view()
        for family in (keys.CREATED_ACTIVE, keys.UPDATED_ACTIVE):
            pairs = view.scan(family, keys.after(family))
            (entry,) = [key for key, _ in pairs if key.endswith(name)]
            found = self.attacked({entry: None})
            self.assertTrue(any("order::o-7 in the index by" in one for one in found.records))
            more = keys.by_time(family, 1, name)
            found = self.attacked({entry: b"", more: b""})
            self.assertTrue(any("order::o-7 in the index by" in one for one in found.records))
            self.assertEqual(self.attacked({more: None}).findings, [])


class Anew(AttackCase):
    """A store made anew, which fits in itself."""

    def make(self, attack: Callable[[list[Write]], Iterable[Write]]) -> BuiltStore:
        """Return a store of the same writes but for what an attack makes of them."""
        built = self.open_plain()
        honest = [
            built.append(f"o-{number % 10}", {"total": number}, note=f"note {number}")
            for number in range(100)
        ]
        for write in attack(honest):
            built.write(write)
        return built

    def check(self, attack: Callable[[list[Write]], Iterable[Write]]) -> None:
        """The store is whole in itself; the checkpoint of the real one tells that it is another."""
        real = self.make(lambda writes: writes)
        note = real.sign()
        self.assertEqual(passed(real.store.view(), note).findings, [])
        forged = self.make(attack)
        self.assertEqual(passed(forged.store.view()).findings, [])
        (finding,) = passed(forged.store.view(), note).findings
        self.assertEqual(finding.record, KEPT)

    def test_dropped_event(self) -> None:
        """One event of 100 left out."""
        self.check(lambda writes: writes[:40] + writes[41:])

    def test_dropped_event_and_another_in_its_place(self) -> None:
        """As many events as were signed, one of them another."""
        self.check(lambda writes: [*writes[:40], writes[40]._replace(note="other"), *writes[41:]])

    def test_swapped_events(self) -> None:
        """Two events in another order."""
        self.check(lambda writes: [*writes[:40], writes[41], writes[40], *writes[42:]])

    def test_truncated(self) -> None:
        """The last events left out, and others in their place."""
        self.check(lambda writes: writes[:60])
        self.check(lambda writes: [*writes[:60], *(one._replace(note="x") for one in writes[60:])])

    def test_inserted_event(self) -> None:
        """One event more, somewhere and at the end."""
        self.check(lambda writes: [*writes[:40], writes[3], *writes[40:]])

    def test_dropped_aggregate(self) -> None:
        """All events of one aggregate left out."""
        self.check(lambda writes: [one for one in writes if one.aggregate_id != "o-7"])

    def test_older_aggregate(self) -> None:
        """One aggregate as it was earlier."""
        self.check(
            lambda writes: [
                one for at, one in enumerate(writes) if one.aggregate_id != "o-7" or at < 50
            ]
        )


class Files(AttackCase):
    """The folder of a store, closed and opened again."""

    def test_rolled_back(self) -> None:
        """A folder put back as a whole fits in itself, and not what was signed meanwhile."""
        folder = Path(self.mktemp())
        built = self.open_plain(RocksStore.open(str(folder)))
        built.fill(20)
        built.above.close()
        shutil.copytree(folder, f"{folder}.old")
        built = self.open_plain(RocksStore.open(str(folder)))
        built.write(built.append("o-7", {"later": 1}))
        note = built.sign()
        self.assertEqual(passed(built.store.view(), note).findings, [])
        built.above.close()
        shutil.rmtree(folder)
        shutil.copytree(f"{folder}.old", folder)
        built = self.open_plain(RocksStore.open(str(folder)))
        self.addCleanup(built.above.close)
        self.assertEqual(passed(built.store.view()).findings, [])
        (finding,) = passed(built.store.view(), note).findings
        self.assertIn("it was cut or rolled back", finding.message)

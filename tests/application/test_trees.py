"""The trees over what the writer writes: of each aggregate, and of the log."""

from __future__ import annotations

import random

from eventdbx import errors
from eventdbx.domain import merkle, proofs
from eventdbx.domain.commands import Write
from eventdbx.storage import eventlog, keys, records
from tests.application.test_writer import WriterCase, found_in

PARTITION = 0


class TreeCase(WriterCase):
    """A store with some aggregates, written in steps of different sizes, some refused."""

    def setUp(self) -> None:
        super().setUp()
        chance = random.Random(20)
        for number in range(60):
            if number % 17 == 0:
                self.writer = self.make_writer()
            names = [f"o-{chance.randrange(7)}" for _ in range(chance.choice((1, 1, 1, 2, 5)))]
            writes = [self.append(name, {"n": number}) for name in names]
            if number % 5 == 0:
                writes.append(Write("create", "order", names[0], "made", "{}"))
                self.refused(*writes)
            else:
                self.write(*writes)
        self.view = self.store.view()
        self.entries = [entry for _at, entry in eventlog.log_entries(self.view, 0, start=0)]

    def leaves(self, name: bytes) -> list[bytes]:
        """Return the hashes of an aggregate's events."""
        return [event.hash for event in eventlog.events(self.view, name)]


class WrittenTests(TreeCase):
    """What lies beside events and log entries is enough for every proof."""

    def test_log_leaves_are_the_events(self) -> None:
        """The log has the hash of each event, in the order of the commits."""
        for entry in self.entries:
            record = self.view.get(entry.event_key)
            assert record is not None
            self.assertEqual(records.decode_event(record).hash, entry.leaf)
        self.assertEqual(len(self.entries), eventlog.end_position(self.view, PARTITION))

    def test_proofs_in_the_log(self) -> None:
        """Each event is provably in the log of every later size."""
        leaves = [entry.leaf for entry in self.entries]
        nodes = eventlog.log_nodes(self.view, PARTITION)
        for size in range(1, len(leaves) + 1):
            root = merkle.root_of(leaves[:size])
            self.assertEqual(proofs.tree_root(nodes, size), root)
            for index in {0, size // 3, size - 1}:
                proof = proofs.inclusion_proof(nodes, index, size)
                proofs.check_inclusion(leaves[index], index, size, proof, root)

    def test_proofs_in_aggregates(self) -> None:
        """Each version of an aggregate is provably in it, and each state of it a beginning."""
        for number in range(7):
            name = keys.name("order", f"o-{number}")
            leaves, nodes = self.leaves(name), eventlog.event_nodes(self.view, name)
            root = merkle.root_of(leaves)
            head = eventlog.load_head(self.view, name)
            assert head is not None
            self.assertEqual((head.version, head.merkle_root), (len(leaves), root))
            for version in range(1, len(leaves) + 1):
                proof = proofs.inclusion_proof(nodes, version - 1, len(leaves))
                proofs.check_inclusion(leaves[version - 1], version - 1, len(leaves), proof, root)
                proof = proofs.consistency_proof(nodes, version, len(leaves))
                before = merkle.root_of(leaves[:version])
                proofs.check_consistency(version, before, len(leaves), root, proof)

    def test_writer_goes_on_after_a_restart(self) -> None:
        """A new writer finds the right edge of the tree in the log itself."""
        edge = eventlog.log_edge(self.view, PARTITION, len(self.entries))
        self.assertEqual(merkle.root(edge), merkle.root_of(one.leaf for one in self.entries))
        self.assertEqual(found_in(self.view), [])

    def test_missing_entries_are_named(self) -> None:
        """A proof for which the log lacks an entry fails with its position."""
        nodes = eventlog.log_nodes(self.view, PARTITION)
        error = self.assertRaises(errors.StorageError, nodes, 0, len(self.entries))
        self.assertIn(f"position {len(self.entries)}", str(error))
        error = self.assertRaises(errors.StorageError, nodes, 1, len(self.entries))
        self.assertIn("no position", str(error))


class TamperedTests(TreeCase):
    """Verification finds hashes of trees that are not what the events give."""

    def tampered(self, key: bytes, place: int) -> list[str]:
        """Change one byte under a key, and return what verification says."""
        record = self.view.get(key)
        assert record is not None
        changed = record[:place] + bytes((record[place] ^ 1,)) + record[place + 1 :]
        self.store._backend.write({key: changed}, sync=True)
        messages = [one.message for one in found_in(self.store._backend.view())]
        self.store._backend.write({key: record}, sync=True)
        return messages

    def test_hashes_of_log_entries(self) -> None:
        """Any changed byte of the hashes in the log is found at its position."""
        for position in (0, 7, 31):
            key = keys.log(PARTITION, position)
            start = len(records.encode_log(self.entries[position]._replace(nodes=(), leaf=b"")))
            start -= len(self.entries[position].event_key)
            for place in range(start, start + 32 * (1 + len(self.entries[position].nodes))):
                found = self.tampered(key, place)
                self.assertTrue(any(f"position {position}:" in one for one in found), place)

    def test_every_byte_of_log_entries(self) -> None:
        """Whatever byte of an entry is changed, its position is named."""
        for position in (0, 5, 15):
            key = keys.log(PARTITION, position)
            for place in range(len(self.view.get(key) or b"")):
                found = self.tampered(key, place)
                self.assertTrue(any(f"position {position}:" in one for one in found), place)

    def test_every_byte_of_events(self) -> None:
        """Whatever byte of an event is changed, its aggregate and version are named."""
        name = keys.name("order", "o-1")
        for version in (1, 4):
            key = keys.event(name, version)
            for place in range(len(self.view.get(key) or b"")):
                found = self.tampered(key, place)
                where = f"order::o-1 at version {version}"
                self.assertTrue(any(where in one for one in found), (place, found))

    def test_hashes_of_events(self) -> None:
        """Any changed byte of the hashes that lie with an event is found at its version."""
        name = keys.name("order", "o-1")
        key = keys.event(name, 4)
        record = self.view.get(key)
        assert record is not None
        event = records.decode_event(record)
        start = record.index(event.nodes[0])
        for place in range(start, start + 64):
            found = self.tampered(key, place)
            self.assertTrue(any("order::o-1 at version 4" in one for one in found), place)

    def test_exchanged_events(self) -> None:
        """Two entries of the log that lead to each other's events are found."""
        first, second = keys.log(PARTITION, 3), keys.log(PARTITION, 4)
        swapped = {
            first: records.encode_log(self.entries[3]._replace(event_key=self.entries[4][1])),
            second: records.encode_log(self.entries[4]._replace(event_key=self.entries[3][1])),
        }
        self.store._backend.write(swapped, sync=True)
        found = [one.message for one in found_in(self.store._backend.view())]
        for position in (3, 4):
            self.assertTrue(any(f"position {position}: its event is another" in m for m in found))

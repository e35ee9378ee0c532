"""Known failings of other programs of this kind: none of them is one of ours.

There the root of [a, b, c] was that of [a, b, c, c], two payloads had one hash, and who wrote an
event, with which note, metadata and at what time, was outside of it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from eventdbx.domain.events import Actor, Event, commitment, leaf_data
from eventdbx.domain.merkle import leaf_hash, root_of
from eventdbx.storage import keys, records
from tests.integrity.stores import AttackCase, passed

LEAVES = [sha256(name).digest() for name in (b"a", b"b", b"c", b"d", b"e")]


def hash_of(event: Event) -> bytes:
    """Return the hash that the fields of an event give."""
    return leaf_hash(leaf_of(event))


def leaf_of(event: Event) -> bytes:
    """Return the leaf that the fields of an event give."""
    return leaf_data(
        event.aggregate_type,
        event.aggregate_id,
        event.event_type,
        event.event_type_raw,
        event.event_id,
        event.created_at,
        event.issued_by,
        event.version,
        commitment(event.salt, event.payload, event.extensions, event.note),
        event.schema,
    )


class Roots(AttackCase):
    """Roots of trees."""

    def test_last_leaf_twice(self) -> None:
        """A tree whose last leaf is there twice has another root, whatever its size."""
        for count in range(1, len(LEAVES) + 1):
            some = LEAVES[:count]
            self.assertNotEqual(root_of(some), root_of([*some, some[-1]]), count)

    def test_prefixes(self) -> None:
        """No two beginnings of a list of leaves have one root."""
        roots = {root_of(LEAVES[:count]) for count in range(len(LEAVES) + 1)}
        self.assertEqual(len(roots), len(LEAVES) + 1)


class Hashes(AttackCase):
    """What a hash covers. Salt, id and time are the same on both sides: nothing else differs."""

    def setUp(self) -> None:
        self.built = self.open_plain()
        metadata = b'{"@shop":"x"}'
        self.built.write(self.built.append("o-1", {"ab": "c"}, metadata=metadata, note="n"))
        self.built.write(self.built.append("o-1", {"ab": "d"}))
        self.key = keys.event(keys.name("order", "o-1"), 1)
        record = self.built.above.get(self.key)
        assert record is not None
        self.record = record
        self.event = records.decode_event(record)
        self.assertEqual(hash_of(self.event), self.event.hash)

    def differ(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        """Two events that differ in these fields have two hashes."""
        first, second = (self.event._replace(**fields) for fields in (one, other))
        self.assertNotEqual(hash_of(first), hash_of(second))

    def test_texts_side_by_side(self) -> None:
        """A text that moves from one place to the next makes another hash."""
        self.differ({"payload": b'{"ab":"c"}'}, {"payload": b'{"a":"bc"}'})
        self.differ({"payload": b'{"a":1}'}, {"payload": b'{"a":"1"}'})
        self.differ(
            {"aggregate_type": "a", "aggregate_id": "bc"},
            {"aggregate_type": "ab", "aggregate_id": "c"},
        )
        self.differ(
            {"aggregate_id": "a", "event_type": "bc"}, {"aggregate_id": "ab", "event_type": "c"}
        )
        self.differ(
            {"payload": b"{}", "extensions": b"[]"}, {"payload": b"{}[]", "extensions": b""}
        )
        self.differ({"extensions": None}, {"extensions": b""})
        self.differ({"note": None}, {"note": ""})
        self.differ({"issued_by": Actor("a", "bc")}, {"issued_by": Actor("ab", "c")})
        self.differ({"issued_by": None}, {"issued_by": Actor("", "")})

    def test_values(self) -> None:
        """Payloads that are equal to a careless reader are two: numbers, texts, order of events."""
        for one, other in ((b"1", b"1.0"), (b"true", b"1"), (b"null", b'""'), (b'"1"', b"1")):
            self.differ({"payload": b'{"a":' + one + b"}"}, {"payload": b'{"a":' + other + b"}"})

    def test_everything_is_inside(self) -> None:
        """Each field that is changed in the store is found, the leaf left alone or made to fit."""
        changes: list[dict[str, Any]] = [
            {"payload": b'{"a":"bc"}'},
            {"extensions": b'{"@shop":"y"}'},
            {"extensions": None},
            {"note": "m"},
            {"note": None},
            {"salt": bytes(16)},
            {"issued_by": Actor("people", "mallory")},
            {"issued_by": None},
            {"event_id": self.event.event_id + 1},
            {"created_at": self.event.created_at + 1},
            {"event_type": "order_sent"},
            {"event_type_raw": "order.paid"},
            {"version": 2},
            {"aggregate_id": "o-2"},
            {"schema": bytes(18)},
        ]
        for change in changes:
            changed = self.event._replace(**change)
            fitting = changed._replace(leaf=leaf_of(changed))
            for event in (changed, fitting):
                record = records.encode_event(event)
                if record == self.record:
                    continue  # Only the leaf says it, and the leaf was left alone.
                self.built.above.write({self.key: record}, sync=False)
                found = passed(self.built.above.view()).records
                self.assertIn("event order::o-1 v1", found, change)
            self.assertNotEqual(hash_of(fitting), self.event.hash, change)

    def test_recomputed(self) -> None:
        """Hashes that are stored are not believed: what is computed again must be there."""
        record = self.record
        for stored in (self.event.merkle_root, self.event.leaf):
            at = record.index(stored)
            other = record[:at] + bytes((record[at] ^ 1,)) + record[at + 1 :]
            self.built.above.write({self.key: other}, sync=False)
            found = passed(self.built.above.view()).records
            self.assertIn("event order::o-1 v1", found)

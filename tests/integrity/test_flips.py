"""Any single byte of what is stored: its change is detected, and the record is named."""

from __future__ import annotations

import os
from collections import Counter
from random import Random

from eventdbx.application.integrity.anchors import read_signed
from eventdbx.application.integrity.findings import Finding
from eventdbx.domain.notes import NoteError
from eventdbx.errors import StorageError
from eventdbx.storage import keys, records
from tests.integrity.naming import called, found_at
from tests.integrity.stores import AttackCase, BuiltStore, anchors, passed

AGGREGATES = 1_000
FLIPS = 10_000
PASSES = 40
"""Changes that a whole pass is asked about, 0.3 s each; the others are shown to its parts."""

RESEALED = 2_000

FAMILIES = (
    keys.EVENT, keys.HEAD_ACTIVE, keys.HEAD_ARCHIVED, keys.LOG, keys.CHECKPOINT, keys.SNAPSHOT,
)  # fmt: skip
OTHERS = (keys.SNAPSHOT_ID, keys.ARCHIVE_AUDIT, keys.IDEMPOTENCY)


class Flip:
    """One changed byte of one value, put in its place and taken away again."""

    def __init__(self, random: Random, pairs: list[tuple[bytes, bytes]]) -> None:
        self.key, self.old = random.choice(pairs)
        at = random.randrange(len(self.old))
        byte = self.old[at] ^ random.randrange(1, 256)
        self.new = self.old[:at] + bytes((byte,)) + self.old[at + 1 :]
        self.text = f"{called(self.key)}: byte {at} of {len(self.old)}"


class FlipCase(AttackCase):
    """A store of 1,000 aggregates, each of whose bytes may be another one."""

    def setUp(self) -> None:
        seed = os.environ.get("FLIP_SEED") or str(int.from_bytes(os.urandom(4), "big"))
        self.random = Random(seed)
        # Shown with every failure, and enough to see the same changes again.
        self.seed = f"FLIP_SEED={seed}"

    def draws(
        self, built: BuiltStore, families: tuple[bytes, ...]
    ) -> list[list[tuple[bytes, bytes]]]:
        """Return the pairs of each family, as they lie below."""
        view = built.below.view()
        found = [list(view.scan(family, keys.after(family))) for family in families]
        self.assertTrue(all(found), "a family has no records")
        return found

    def attack(self, built: BuiltStore) -> None:
        """Flip bytes below: each is detected, and its record is named."""
        self.assertEqual(passed(built.store.view()).findings, [])
        pairs = self.draws(built, FAMILIES + OTHERS)
        tried: Counter[bytes] = Counter()
        for number in range(FLIPS):
            flip = Flip(self.random, pairs[number % len(pairs)])
            built.below.write({flip.key: flip.new}, sync=False)
            view = built.above.view()
            found = found_at(view, flip.key)
            where = f"{flip.text} ({self.seed})"
            self.assertTrue(names(found, flip.key), (where, found))
            if number % (FLIPS // PASSES) == 0:
                whole = passed(view).findings
                self.assertTrue(names(whole, flip.key), (where, whole))
            built.below.write({flip.key: flip.old}, sync=False)
            tried[flip.key[:1]] += 1
        self.assertEqual(passed(built.above.view()).findings, [])
        self.assertEqual(sum(tried.values()), FLIPS)


class PlainFlips(FlipCase):
    """Values that are not sealed: a checksum, and everything computed again."""

    def test_flips(self) -> None:
        """10,000 changed bytes on the disk are detected and named."""
        built = self.open_plain(self.on_disk())
        built.fill(AGGREGATES)
        self.attack(built)

    def test_recomputed(self) -> None:
        """Who makes the checksum right again is found out by what is computed from the events.

        All but what nothing else says: comments and times of snapshots, targets of deliveries.
        """
        built = self.open_plain()
        built.fill(AGGREGATES)
        pairs = self.draws(built, FAMILIES)
        missed: Counter[str] = Counter()
        for number in range(RESEALED):
            key, _stored = flip_of = self.random.choice(pairs[number % len(pairs)])
            value = built.above.get(key)
            assert value is not None
            flip = Flip(self.random, [(key, value)])
            built.above.write({key: flip.new}, sync=False)
            found = found_at(built.above.view(), key)
            if not names(found, key):
                self.assertEqual(found, [], (flip.text, self.seed))
                self.assertTrue(harmless(key, value, flip.new), (flip.text, self.seed))
                missed[called(key).split()[0]] += 1
            built.below.write({key: flip_of[1]}, sync=False)
        self.assertEqual(missed["event"], 0, self.seed)


def names(found: list[Finding], key: bytes) -> bool:
    """Return whether one of the findings is of the record under a key."""
    return any(one.record.endswith(called(key)) for one in found)


def harmless(key: bytes, old: bytes, new: bytes) -> bool:
    """Return whether two records say the same, but for what is nobody else's to say."""
    try:
        if key.startswith(keys.CHECKPOINT):
            # A cosignature in the name of a witness that is not known is one less.
            return read_signed(old, 0, anchors())[0] == read_signed(new, 0, anchors())[0]
        if key.startswith(keys.LOG):
            before, after = records.decode_log(old), records.decode_log(new)
            return before._replace(targets=()) == after._replace(targets=())
        if key.startswith(keys.SNAPSHOT):
            one, other = (records.decode_snapshot("t", "i", 1, record) for record in (old, new))
            return one == other._replace(created_at=one.created_at, comment=one.comment)
        head, changed = (records.decode_head("t", "i", record) for record in (old, new))
    except (StorageError, NoteError, TypeError, ValueError):
        return False
    return head == changed._replace(archived_at=head.archived_at)


class SealedFlips(FlipCase):
    """Values that are sealed under data keys."""

    def test_flips(self) -> None:
        """10,000 changed bytes on the disk are detected and named."""
        built = self.open_sealed(self.on_disk())
        built.fill(AGGREGATES)
        self.attack(built)

"""Checkpoints in the store: what is found, and what is kept when there are many."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.storage.checkpointing import (
    checkpoints,
    load_checkpoint,
    newest_checkpoint,
    oldest_covering,
    put_checkpoint,
    superfluous,
    thin,
)
from eventdbx.storage.hops import synchronous
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, Transaction

COSIGNED = "log\n1\nroot\n\n— log a\n— witness b\n".encode()
PLAIN = "log\n1\nroot\n\n— log a\n".encode()


class Finding(SynchronousTestCase):
    """Reading by size."""

    def setUp(self) -> None:
        self.store = Store(MemoryStore(), hop=synchronous())

    def put(self, partition: int, *sizes: int, note: bytes = PLAIN) -> None:
        """Store checkpoints of some sizes."""

        def step(transaction: Transaction) -> None:
            for size in sizes:
                put_checkpoint(transaction, partition, size, note)

        self.successResultOf(self.store.transact(step))

    def test_by_size(self) -> None:
        """A checkpoint is found by its size, by a size it covers, and as the newest."""
        self.put(0, 0, 9, 300, 70_000)
        self.put(1, 5)
        view = self.store.view()
        self.assertEqual([one.size for one in checkpoints(view, 0)], [70_000, 300, 9, 0])
        self.assertEqual([one.size for one in checkpoints(view, 0, below=300)], [9, 0])
        found = [oldest_covering(view, 0, size) for size in (0, 1, 9, 10, 70_000, 70_001)]
        self.assertEqual([one and one.size for one in found], [0, 9, 9, 300, 70_000, None])
        newest = newest_checkpoint(view, 1)
        assert newest is not None
        self.assertEqual((newest.size, newest.cosigned), (5, False))
        self.assertIsNone(newest_checkpoint(view, 2))
        self.assertIsNone(load_checkpoint(view, 0, 5))
        self.assertEqual(load_checkpoint(view, 1, 5), PLAIN)

    def test_thinning_keeps_what_witnesses_have_seen(self) -> None:
        """The newest checkpoint that was cosigned stays, however old; so does the first of all."""
        self.put(0, *range(1, 5_000))
        self.put(0, 17, 2_001, note=COSIGNED)
        self.put(1, *range(50))
        going = self.successResultOf(self.store.transact(lambda step: thin(step, 0)))
        left = [one.size for one in checkpoints(self.store.view(), 0)]
        self.assertEqual(len(left), 4_999 - going)
        self.assertLess(len(left), 450)
        self.assertTrue({1, 2_001, *range(4_750, 5_000)} <= set(left))
        self.assertEqual(len(list(checkpoints(self.store.view(), 1))), 50)


class Thinning(SynchronousTestCase):
    """How many are kept, and how far apart."""

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.integers(1, 40), min_size=1, max_size=3_000))
    def test_gaps(self, growth: list[int]) -> None:
        """After any history no gap is wider than its distance allows, or there was none less."""
        kept: list[int] = []
        size = 0
        for number, more in enumerate(growth):
            size += more
            kept.insert(0, size)
            if number % limits.CHECKPOINT_THINNING == 0:
                going = superfluous(kept)
                kept = [one for one in kept if one not in going]
        going = superfluous(kept)
        kept = [one for one in kept if one not in going]
        self.assertEqual(kept[:256], [sum(growth[:end]) for end in
                         range(len(growth), max(len(growth) - 256, 0), -1)])  # fmt: skip
        self.assertEqual(kept[-1], growth[0])
        for newer, older in zip(kept, kept[1:], strict=False):
            allowed = max((size - older) // limits.CHECKPOINT_GAP, 40)
            self.assertLessEqual(newer - older, allowed)

    def test_count_grows_with_the_logarithm(self) -> None:
        """A log of ten million events keeps a few hundred checkpoints."""
        sizes = list(range(10_000_000, 0, -100))
        self.assertLess(len(sizes) - len(superfluous(sizes)), 256 + 16 * 20)

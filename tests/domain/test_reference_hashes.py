"""Hashes of the existing program, as it was seen to compute them."""

from __future__ import annotations

from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.canonical import JSON
from eventdbx.domain.reference_hashes import EMPTY_ROOT, Peaks, event_hash

FIRST: JSON = {
    "total": 12, "who": "kim", "open": True, "gone": None, "tags": ["a", 1.5],
    "addr": {"zip": "9", "city": "Rome"},
}  # fmt: skip
VECTORS: tuple[tuple[str, JSON, str, str], ...] = (
    (
        "order_created",
        FIRST,
        "3a2f954683f2da24fbd7dcb5fa37b7502e4c1c41558697fd64754bf7b35d2c0a",
        "3a2f954683f2da24fbd7dcb5fa37b7502e4c1c41558697fd64754bf7b35d2c0a",
    ),
    (
        "order_paid",
        7,
        "0e07e97b4b95cee2448f6cd137c5eabba275ae3b0c5bae7f306604a7461e5e8b",
        "baba13937f4de033e91f318402de415f3a2d9fa4657f4d4d9172ebf8adee6a0d",
    ),
    (
        "order_noted",
        None,
        "1248697b3e455f9b70441d8e5b89c863956377dc62d1287cd6fa2473c15408a0",
        "6df4605086440314a26ed054c3c88efb1c3b8207b4da6d31785dc2e7f40dca17",
    ),
)


def root_of(leaves: list[str]) -> str:
    """Return the root over all leaves, level by level."""
    while len(leaves) > 1:
        leaves = leaves + leaves[-1:] * (len(leaves) % 2)
        pairs = zip(leaves[::2], leaves[1::2], strict=True)
        leaves = [sha256((left + right).encode()).hexdigest() for left, right in pairs]
    return leaves[0]


class Vectors(SynchronousTestCase):
    """What was recorded of the existing program."""

    def test_events(self) -> None:
        """Three events of one aggregate have the hashes and the roots that were recorded."""
        peaks = Peaks()
        self.assertEqual(peaks.root(), EMPTY_ROOT)
        for number, (event_type, payload, digest, root) in enumerate(VECTORS, 1):
            self.assertEqual(event_hash("order", "o-1", number, event_type, payload), digest)
            peaks.push(digest)
            self.assertEqual(peaks.root(), root)

    def test_any_count(self) -> None:
        """The root of any number of events is that of the whole tree."""
        peaks, leaves = Peaks(), []
        for number in range(70):
            leaves.append(sha256(b"%d" % number).hexdigest())
            peaks.push(leaves[-1])
            self.assertEqual(peaks.root(), root_of(leaves), number + 1)

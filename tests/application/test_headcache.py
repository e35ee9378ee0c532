"""The cache of heads stays within its bounds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.headcache import HeadCache
from eventdbx.domain.aggregate import new_head


class HeadCacheTests(SynchronousTestCase):
    """Which heads are kept."""

    def test_number(self) -> None:
        """The head written longest ago goes when there are too many."""
        cache = HeadCache(2, 1_000)
        for name in (b"a", b"b", b"a", b"c"):
            cache.put(name, new_head("t", name.decode()), 10)
        self.assertIsNone(cache.get(b"b"))
        self.assertEqual(cache.get(b"a"), new_head("t", "a"))
        self.assertEqual(len(cache), 2)

    def test_bytes(self) -> None:
        """Large heads push others out; one that is larger than everything is kept alone."""
        cache = HeadCache(100, 1_000)
        cache.put(b"a", new_head("t", "a"), 600)
        cache.put(b"a", new_head("t", "a"), 400)
        cache.put(b"b", new_head("t", "b"), 600)
        self.assertEqual(len(cache), 2)
        cache.put(b"c", new_head("t", "c"), 5_000)
        self.assertEqual(len(cache), 1)
        cache.put(b"d", new_head("t", "d"), 1)
        self.assertIsNone(cache.get(b"c"))
        self.assertIsNotNone(cache.get(b"d"))

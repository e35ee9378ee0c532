"""The heads that the writer keeps decoded, bounded in number and in bytes."""

from __future__ import annotations

from collections import OrderedDict

from eventdbx.domain.aggregate import Head


class HeadCache:
    """Heads by canonical name; those written longest ago go first when there are too many.

    ``bytes_max`` counts the heads' records: decoded they take a few times as much.
    """

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._heads: OrderedDict[bytes, tuple[Head, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._heads)

    def get(self, name: bytes) -> Head | None:
        """Return a head, or None when it is not kept."""
        kept = self._heads.get(name)
        return None if kept is None else kept[0]

    def put(self, name: bytes, head: Head, size: int) -> None:
        """Keep a head whose record has ``size`` bytes."""
        heads = self._heads
        old = heads.pop(name, None)
        if old is not None:
            self._bytes -= old[1]
        heads[name] = (head, size)
        self._bytes += size
        while len(heads) > self._entries_max or (self._bytes > self._bytes_max and len(heads) > 1):
            _name, (_head, gone) = heads.popitem(last=False)
            self._bytes -= gone

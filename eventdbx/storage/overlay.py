"""Ordered pairs with other values over some of the keys: the merge that scans share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence


def overlaid(
    pairs: Iterator[tuple[bytes, bytes]],
    keys: Sequence[bytes],
    value_of: Callable[[bytes], bytes | None],
    *,
    reverse: bool,
) -> Iterator[tuple[bytes, bytes]]:
    """``pairs``, but every key of ``keys`` has the value that ``value_of`` gives, or is absent.

    Both are in ascending order, or both in descending order if ``reverse``. Lazy.
    """
    covered = frozenset(keys)
    at, count = 0, len(keys)
    for pair in pairs:
        key = pair[0]
        while at < count and (keys[at] > key if reverse else keys[at] < key):
            if (value := value_of(keys[at])) is not None:
                yield keys[at], value
            at += 1
        if key not in covered:
            yield pair
    for key in keys[at:]:
        if (value := value_of(key)) is not None:
            yield key, value

"""Dotted paths into JSON values: ``address.zip``, ``tags.0``.

Paths reach values as they are; texts that look like JSON are not read again. What the names in a
filter stand for is in :mod:`eventdbx.domain.filters`.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventdbx.domain.canonical import JSON

_INDEX_DIGITS_MAX = 19
_MISSING: tuple[bool, JSON] = (False, None)


def lookup(value: JSON, path: str) -> tuple[bool, JSON]:
    """Return whether there is something at a path, and what.

    Each segment is a key of an object or the decimal index of an array; an empty segment leads
    nowhere, so keys that are empty or contain dots cannot be reached.
    """
    for segment in path.split("."):
        if not segment:
            return _MISSING
        if type(value) is dict:
            if segment not in value:
                return _MISSING
            value = value[segment]
        elif type(value) is list:
            if not (segment.isascii() and segment.isdigit()) or len(segment) > _INDEX_DIGITS_MAX:
                return _MISSING
            index = int(segment)
            if index >= len(value):
                return _MISSING
            value = value[index]
        else:
            return _MISSING
    return True, value


def select(state: Mapping[str, JSON], path: str) -> JSON:
    """Return the value at a path of a state, None when there is none."""
    first, dot, rest = path.partition(".")
    if not first or first not in state:
        return None
    return lookup(state[first], rest)[1] if dot else state[first]

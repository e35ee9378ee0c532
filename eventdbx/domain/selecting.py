"""Dotted paths into JSON values."""

from __future__ import annotations

from collections.abc import Mapping

from eventdbx.domain.canonical import JSON


def lookup(value: JSON, path: str) -> tuple[bool, JSON]:
    """Return whether a dotted path leads anywhere in a value, and where."""
    for segment in path.split("."):
        if isinstance(value, dict):
            if not segment or segment not in value:
                return False, None
            value = value[segment]
        elif isinstance(value, list):
            if not (segment.isascii() and segment.isdigit()) or int(segment) >= len(value):
                return False, None
            value = value[int(segment)]
        else:
            return False, None
    return True, value


def select(state: Mapping[str, JSON], path: str) -> JSON:
    """Return the value at a dotted path of a state; None when there is nothing."""
    return lookup(dict(state) if not isinstance(state, dict) else state, path)[1]

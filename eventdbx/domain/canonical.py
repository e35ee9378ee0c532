"""Canonical JSON: one text per value, and the strict reader that every JSON of a client passes.

Hashes, stored payloads and state texts rest on :func:`dump`. The words for what is wrong with a
text are in :mod:`eventdbx.domain.faults`; how documents are put together is not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson

from eventdbx import limits
from eventdbx.domain.faults import explain

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"
"""What a JSON text can say."""

_STRING = rb'"(?:[^"\\]|\\.)*+"'
_NEGATIVE_ZERO = re.compile(rb"-0(?![0-9.eE])")
_NEGATIVE_ZERO_OUTSIDE = re.compile(_STRING + rb"|(-0)(?![0-9.eE])", re.DOTALL)
_PLUS_OUTSIDE = re.compile(_STRING + rb"|(e)\+", re.DOTALL)

_loads: Callable[[str | bytes], JSON] = orjson.loads
_dumps = orjson.dumps
_SORTED = orjson.OPT_SORT_KEYS


def parse(text: str | bytes, *, depth_max: int = limits.JSON_DEPTH_MAX) -> JSON:
    """Return the value of a JSON text.

    Integers within -2^63 .. 2^64-1 stay integers; ``-0`` and larger ones become floats, decimals
    are read exactly. Of duplicate keys the last one wins. Raises ValueError, with place and cause,
    for whatever is not strict JSON or nests more than ``depth_max`` containers.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        value = _loads(raw)
    except ValueError:
        raise ValueError(explain(raw, depth_max)) from None
    if raw.count(b"[") + raw.count(b"{") > depth_max and deeper_than(value, depth_max):
        raise ValueError(explain(raw, depth_max))
    if b"-0" in raw and _NEGATIVE_ZERO.search(raw) is not None:
        # The fast reader takes -0 for the integer 0 and so forgets its sign.
        return _loads(_NEGATIVE_ZERO_OUTSIDE.sub(_signed_zero, raw))
    return value


def _signed_zero(found: re.Match[bytes]) -> bytes:
    return found[0] if found[1] is None else b"-0.0"


def dump(value: Any) -> bytes:
    """Return the canonical text of a value: compact, keys sorted by their bytes, shortest numbers.

    The value is one that :func:`parse` gives (no NaN, no infinity, no larger integers). Raises
    ValueError for strings that are not Unicode and for values that no JSON text stands for.
    """
    try:
        text = _dumps(value, option=_SORTED)
    except TypeError as error:
        raise ValueError(str(error)) from None
    if b"e+" in text:
        return _PLUS_OUTSIDE.sub(_without_plus, text)
    return text


def _without_plus(found: re.Match[bytes]) -> bytes:
    return found[0] if found[1] is None else b"e"


def text_of(value: JSON) -> str:
    """Return how a state value shows in the map of texts.

    Strings are themselves, null is empty, everything else is its canonical text.
    """
    if type(value) is str:
        return value
    if value is None:
        return ""
    if type(value) is int:
        return str(value)
    return dump(value).decode()


def deeper_than(value: JSON, depth_max: int) -> bool:
    """Say whether a value nests more than ``depth_max`` containers; never recurses."""
    level = [value] if type(value) in (list, dict) else []
    for _ in range(depth_max):
        if not level:
            return False
        inner: list[JSON] = []
        for container in level:
            members = container.values() if type(container) is dict else container
            inner += [one for one in members if type(one) in (list, dict)]  # type: ignore[union-attr]
        level = inner
    return bool(level)

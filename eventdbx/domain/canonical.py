"""Canonical JSON: one text for each value, so that what is hashed is what is stored.

Compact, object keys sorted by code point at every depth, non-ASCII unescaped, doubles in their
shortest form (``1.0``, ``1e16``, ``1.5e-7``). Reading is strict and bounded in depth.
"""

from __future__ import annotations

import json
import re
from typing import Any, Union

import orjson

from eventdbx import limits

JSON = Union[None, bool, int, float, str, list["JSON"], dict[str, "JSON"]]

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS
_EXPONENT = re.compile(rb'("(?:[^"\\]|\\.)*")|e\+', re.DOTALL)
_NEGATIVE_ZERO = re.compile(rb"-0(?![0-9])")
_REASONS = {
    "zero-length": "EOF while parsing a value",
    "unexpected end": "EOF while parsing a value",
    "string key": "key must be a string",
    "after document": "trailing characters",
    "trailing comma": "trailing comma",
    "infinity": "number out of range",
    "surrogate": "lone surrogate in text",
    "control character": "control character in text",
}
"""Parts of the parser's messages, and what they are called here."""

_INTEGER_MIN = -(1 << 63)
_INTEGER_MAX = (1 << 64) - 1


def parse(text: str | bytes, *, depth_max: int = limits.JSON_DEPTH_MAX) -> JSON:
    """Return the value of a JSON text.

    Integers beyond 64 bits and ``-0`` become doubles, the last of two equal keys wins. Raises
    ValueError, saying what was expected, for anything that is not JSON and for containers nested
    deeper than ``depth_max``.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if data.count(b"[") + data.count(b"{") > depth_max:
        _check_depth(data, depth_max)
    try:
        value: JSON = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(_explain(error)) from None
    if b"-0" in data and _NEGATIVE_ZERO.search(data) is not None:
        value = _parse_exactly(data)
    return value


def _parse_exactly(data: bytes) -> JSON:
    def integer(text: str) -> int | float:
        if text == "-0":
            return -0.0
        number = int(text) if len(text) < 40 else None
        if number is None or not _INTEGER_MIN <= number <= _INTEGER_MAX:
            return float(text)
        return number

    value: JSON = json.loads(data, parse_int=integer)
    return value


def _check_depth(data: bytes, depth_max: int) -> None:
    depth = 0
    in_text = escaped = False
    for byte in data:
        if in_text:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_text = False
        elif byte == 0x22:
            in_text = True
        elif byte in b"[{":
            depth += 1
            if depth > depth_max:
                raise ValueError(f"recursion limit exceeded ({depth_max} levels)")
        elif byte in b"]}":
            depth -= 1


def _explain(error: orjson.JSONDecodeError) -> str:
    """Return why a text is not JSON, in the words that scripts look for."""
    reason = "expected value"
    for sign, words in _REASONS.items():
        if sign in error.msg:
            reason = words
            break
    return f"{reason} at line {error.lineno} column {error.colno}"


def dump(value: Any) -> bytes:
    """Return the canonical text of a JSON value. NaN and infinities cannot occur in one."""
    text = orjson.dumps(value, option=_SORTED)
    if b"e+" in text:
        text = _EXPONENT.sub(lambda match: match[1] or b"e", text)
    return text


def text_of(value: JSON) -> str:
    """Return a value as a text of the state map: texts as they are, null as the empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return dump(value).decode()



"""Taking a JSON document apart: members by name, whatever their spelling, and what was ignored.

What the members mean is in ``reading``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from eventdbx.domain.canonical import JSON, parse, text_of
from eventdbx.errors import SerializationError

Path: TypeAlias = tuple[str, ...]
"""The keys that lead to a value, as they are written in the document."""

_UNDERSCORE: Final = re.compile(r"_([a-z])")
_I64_MIN, _U64_MAX = -(2**63), 2**64 - 1


class Written(float):
    """A number whose text says more than a double holds: ``0.10``, ``1e30``."""

    text: str

    def __new__(cls, text: str) -> Written:
        """Keep the text beside the value."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def document_of(text: str | bytes) -> JSON:
    """Return the value of a JSON text; decimals and large integers in it remember their text.

    Raises SerializationError with line and column for whatever is not strict JSON.
    """
    try:
        value = parse(text)
    except ValueError as error:
        raise SerializationError(str(error)) from None
    has_bounds = b'"range"' in text if isinstance(text, bytes) else '"range"' in text
    if not has_bounds:
        return value
    # Only bounds need the texts. The strict reader has passed it, so this one finds no fault.
    read: JSON = json.loads(text, parse_float=Written, parse_int=_integer)
    return read


def _integer(text: str) -> int | Written:
    # Longer texts are not turned into integers: Python refuses very long ones.
    if len(text) <= 20 and _I64_MIN <= int(text) <= _U64_MAX:
        return int(text)
    return Written(text)


def number_text(value: int | float) -> str:
    """Return the text of a number, as it was written if that is known."""
    return value.text if isinstance(value, Written) else text_of(value)


def plain(value: JSON) -> JSON:
    """Return the value without the texts of its numbers."""
    if isinstance(value, Written):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def pointer(path: Path) -> str:
    """Return a path as a JSON Pointer."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def place(path: Path) -> str:
    """Return where something is, to be put behind a sentence."""
    return f" at {pointer(path)}" if path else ""


def fault(reason: str, path: Path) -> SerializationError:
    """Return the error for a value of a document that cannot be read."""
    return SerializationError(reason + place(path))


def kind_of(value: JSON) -> str:
    """Return what a value is, for messages: the value itself is never shown."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def expected(what: str, value: JSON, path: Path) -> SerializationError:
    """Return the error for a value of the wrong kind."""
    return fault(f"expected {what}, found {kind_of(value)}", path)


def object_of(value: JSON, path: Path) -> dict[str, JSON]:
    """Return an object; raise SerializationError for anything else."""
    if not isinstance(value, dict):
        raise expected("an object", value, path)
    return value


def string_of(value: JSON, path: Path) -> str:
    """Return a string; raise SerializationError for anything else."""
    if not isinstance(value, str):
        raise expected("a string", value, path)
    return value


def boolean_of(value: JSON, path: Path) -> bool:
    """Return a boolean; raise SerializationError for anything else."""
    if not isinstance(value, bool):
        raise expected("a boolean", value, path)
    return value


def count_of(value: JSON, path: Path) -> int:
    """Return an integer of 0 to 2^64-1; raise SerializationError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _U64_MAX:
        raise fault("expected a non-negative integer", path)
    return value


def strings_of(value: JSON, path: Path) -> list[str]:
    """Return an array of strings; raise SerializationError for anything else."""
    if not isinstance(value, list):
        raise expected("an array of strings", value, path)
    return [string_of(entry, (*path, str(at))) for at, entry in enumerate(value)]


def members_of(value: JSON, path: Path) -> Iterator[tuple[str, JSON, Path]]:
    """Yield the members of an object by ascending names, each with its path."""
    for name, inner in sorted(object_of(value, path).items()):
        yield name, inner, (*path, name)


class Members:
    """The members of one object; whoever reads it takes them one by one.

    A member is found by its name or by the camelCase form of it; the former wins. ``close``
    reports those that nobody took.
    """

    def __init__(self, value: JSON, path: Path, warnings: list[str]) -> None:
        self._left: dict[str, Any] = dict(object_of(value, path))
        self._path = path
        self._warnings = warnings

    def take(self, name: str) -> tuple[JSON, Path] | None:
        """Return a member and its path, None when there is none."""
        found: tuple[JSON, Path] | None = None
        for spelling in dict.fromkeys((name, _UNDERSCORE.sub(_capital, name))):
            if spelling not in self._left:
                continue
            value = self._left.pop(spelling)
            if found is None:
                found = value, (*self._path, spelling)
            else:
                self._warnings.append(f"`{spelling}` is ignored beside `{name}`{place(self._path)}")
        return found

    def take_some(self, name: str) -> tuple[JSON, Path] | None:
        """Return a member and its path, None when there is none or it is null."""
        found = self.take(name)
        return None if found is None or found[0] is None else found

    def need(self, name: str) -> tuple[JSON, Path]:
        """Return a member and its path; raise SerializationError when there is none."""
        found = self.take(name)
        if found is None:
            raise fault(f"missing key `{name}`", self._path)
        return found

    def close(self) -> None:
        """Report every member that was not taken."""
        for name in sorted(self._left):
            self._warnings.append(f"unknown key `{name}` is ignored{place(self._path)}")


def _capital(found: re.Match[str]) -> str:
    return found[1].upper()

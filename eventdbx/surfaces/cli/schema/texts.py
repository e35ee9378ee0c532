"""Texts that options of ``dbx schema`` take: JSON with exact numbers, lists of patterns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from eventdbx.domain.canonical import parse
from eventdbx.domain.schemas.members import Written, document_of
from eventdbx.errors import SerializationError
from eventdbx.surfaces.cli.failures import Failure

_CLOSERS = {"(": ")", "[": "]", "{": "}"}


def json_option(text: str, noun: str) -> Any:
    """Return the value of a JSON option: a text, ``@FILE``, or ``-`` for stdin. Raises Failure."""
    content = read_option(text, noun)
    try:
        return parse(content)
    except ValueError as error:
        raise unreadable(noun, text, str(error)) from None


def rules_option(text: str, noun: str) -> Any:
    """Return the value of a JSON option in which bounds keep their digits. Raises Failure."""
    content = read_option(text, noun)
    try:
        return with_number_texts(document_of(content))
    except SerializationError as error:
        raise unreadable(noun, text, error.detail) from None


def unreadable(noun: str, text: str, reason: str) -> Failure:
    """Return the failure for a JSON option that is not what it should be."""
    return Failure(f"failed to parse {noun} JSON: {text}", reason, code="serialization")


def read_option(text: str, noun: str) -> str:
    """Return the text that an option means. Raises Failure when it cannot be read."""
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    return read_file(text[1:], f"failed to read {noun} from {text[1:]}")


def read_file(path: str | Path, failing: str) -> str:
    """Return the text of a file. Raises Failure saying what it was for."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        cause = f"{error.strerror} (os error {error.errno})"
        raise Failure(failing, cause, code="io") from None
    except UnicodeDecodeError:
        raise Failure(failing, "it is not UTF-8 text", code="io") from None


def with_number_texts(value: Any) -> Any:
    """Return a document in which numbers that JSON would not keep to the digit are texts."""
    if isinstance(value, Written):
        return value.text
    if isinstance(value, dict):
        return {key: with_number_texts(one) for key, one in value.items()}
    if isinstance(value, list):
        return [with_number_texts(one) for one in value]
    return value


def split_list(text: str) -> list[str]:
    """Return the entries of a comma list; commas in brackets or behind a backslash are no ends.

    ``a{1,3},b`` has the entries ``a{1,3}`` and ``b``. A bracket that is never closed is a
    character like any other.
    """
    parts, start, place = [], 0, 0
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            place += 2
            continue
        if letter in _CLOSERS:
            place = _closed(text, place) or place
        elif letter == ",":
            parts.append(text[start:place])
            start = place + 1
        place += 1
    return [*parts, text[start:]]


def _closed(text: str, place: int) -> int | None:
    """Return where the bracket at a place is closed, None if it is not."""
    opener, closer, depth = text[place], _CLOSERS[text[place]], 0
    # The first member of a class may be its closer: []a] is one class.
    skipped = _class_start(text, place) if opener == "[" else place
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            place += 2
            continue
        if letter == opener:
            depth += 1
        elif letter == closer and place >= skipped:
            depth -= 1
            if depth == 0:
                return place
        elif letter == "[" and opener != "[":
            place = _closed(text, place) or place
        place += 1
    return None


def _class_start(text: str, place: int) -> int:
    """Return the first place at which a class of characters may be closed."""
    place += 1
    if text[place : place + 1] == "^":
        place += 1
    return place + 1 if text[place : place + 1] == "]" else place

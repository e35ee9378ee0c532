"""What a line of NDJSON asks for, and what a file may ask for at all.

Everything that can be known without looking at the aggregates is checked here: names, sizes, the
kinds of fields, and the schemas in force. Lines are what the documents of import describe, or the
events that ``dbx events -o ndjson`` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from eventdbx import limits
from eventdbx.application.drafting import draft_values
from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.commands import Write
from eventdbx.errors import EventDBXError, InvalidSchema, SchemaViolation
from eventdbx.surfaces.cli.importing.lines import Line, Lines, too_long

if TYPE_CHECKING:
    from eventdbx.domain.schemas.contract import Contract

FIELDS = frozenset(
    ("aggregate_type", "aggregate_id", "event_type", "payload", "metadata", "note",
     "expect_version", "idempotency_key")
)  # fmt: skip
"""The fields of a line."""

EVENT_FIELDS = frozenset(
    ("version", "hash", "merkle_root", "schema", "erased", "event_type_raw", "extensions",
     "position")
)  # fmt: skip
"""What events have besides; they get their own when they are written."""

_EVENT_METADATA = ("event_id", "created_at", "issued_by")
_LINE_DEPTH_MAX = limits.JSON_DEPTH_MAX + 1
REFUSED = (InvalidSchema, SchemaViolation)
"""What a line ends with that asks for something that cannot be."""


class Row(NamedTuple):
    """A write, the numbers of its first and last line, and the offset behind them."""

    line: int
    last: int
    end: int
    write: Write


class Bad(NamedTuple):
    """What cannot be written: its first and last line, the offset behind, why, and its text."""

    line: int
    last: int
    end: int
    error: EventDBXError
    text: bytes


class Asked(NamedTuple):
    """What a line asks for, read but not checked."""

    aggregate_type: str
    aggregate_id: str
    event_type: str
    payload: JSON
    metadata: dict[str, JSON] | None
    note: str | None
    expect_version: int | None
    idempotency_key: str | None


class Checks:
    """What is checked of each write, with the schemas that were in force at the beginning.

    Without ``contracts`` schemas are left to the server.
    """

    def __init__(self, contracts: Mapping[str, Contract] | None, restrict: str) -> None:
        self._contracts = contracts
        self._strict = restrict == "strict"
        self._off = restrict == "off"

    def write(self, asked: Asked) -> Write:
        """Return the write that is asked for. Raises InvalidSchema, SchemaViolation."""
        a_type, a_id, e_type, payload, metadata, note, expected, key = asked
        write = Write("append", a_type, a_id, e_type, None, None, note, (), expected, key)
        checked = draft_values(write, payload, metadata, None)
        draft = checked.draft
        if self._contracts is not None:
            self._fit(a_type, draft.event_type, payload)
        return Write(
            "append", a_type, a_id, e_type, draft.payload_json, draft.extensions_json, note, (),
            checked.expected_version, checked.idempotency_key,
        )  # fmt: skip

    def _fit(self, aggregate_type: str, event_type: str, payload: JSON) -> None:
        assert self._contracts is not None
        contract = self._contracts.get(aggregate_type)
        if contract is None:
            if self._strict:
                raise SchemaViolation(
                    f"aggregate {aggregate_type} requires a schema before events can be appended "
                    "when restrict=strict"
                )
            return
        message = contract.refuse(event_type, payload, off=self._off)
        if message is not None:
            raise SchemaViolation(message)


def ndjson_rows(lines: Lines, checks: Checks) -> Iterator[Row | Bad]:
    """Yield what each line that is not blank comes to."""
    for line in lines:
        number, end, text, whole = line
        if not text.strip():
            continue
        try:
            if not whole:
                raise too_long()
            yield Row(number, number, end, checks.write(_asked(line)))
        except REFUSED as error:
            yield Bad(number, number, end, error, text.rstrip() if whole else b"")


def _asked(line: Line) -> Asked:
    try:
        document = parse(line.text, depth_max=_LINE_DEPTH_MAX)
    except ValueError:
        raise InvalidSchema(_no_json(line.text.rstrip())) from None
    if type(document) is not dict:
        kind = "an array" if type(document) is list else "something else"
        raise InvalidSchema(f"each line must be a JSON object, this one is {kind}")
    if not FIELDS.issuperset(document):
        document = _event(document)
    return Asked(
        text_field(document, "aggregate_type"),
        text_field(document, "aggregate_id"),
        text_field(document, "event_type"),
        _payload(document),
        _metadata(document),
        optional_text(document, "note"),
        version_field(document),
        optional_text(document, "idempotency_key"),
    )


def _no_json(text: bytes) -> str:
    """Return what is wrong with a text that cannot be read."""
    try:
        text.decode()
        parse(text, depth_max=_LINE_DEPTH_MAX)
    except UnicodeDecodeError as error:
        return f"not UTF-8 text (byte {error.start + 1} of the line)"
    except ValueError as error:
        return f"no JSON: {error}".replace(" at line 1 column ", " at column ")
    return "no JSON"


def reason(error: EventDBXError) -> str:
    """Return what is wrong with a line, without the words that every such text begins with."""
    return error.detail if isinstance(error, REFUSED) else str(error)


def _event(document: dict[str, JSON]) -> dict[str, JSON]:
    """Return an event as a line that asks for it. Raises InvalidSchema for unknown fields."""
    unknown = sorted(document.keys() - FIELDS - EVENT_FIELDS)
    if unknown:
        raise InvalidSchema(f"field '{unknown[0]}' is unknown")
    if document.get("erased") is True:
        raise InvalidSchema("the event was erased: it has no content that could be written")
    asked = {key: value for key, value in document.items() if key in FIELDS}
    if type(document.get("event_type_raw")) is str:
        asked["event_type"] = document["event_type_raw"]
    found = document.get("metadata")
    metadata = dict(found) if type(found) is dict else {}
    note = metadata.pop("note", None)
    if note is not None:
        asked.setdefault("note", note)
    for name in _EVENT_METADATA:
        metadata.pop(name, None)
    extensions = document.get("extensions")
    if type(extensions) is dict:
        metadata |= extensions
    asked["metadata"] = metadata or None
    return asked


def text_field(document: Mapping[str, JSON], name: str) -> str:
    """Return a field that must be a text. Raises InvalidSchema."""
    value = document.get(name)
    if type(value) is str:
        return value
    if name not in document:
        raise InvalidSchema(f"field '{name}' is missing")
    raise InvalidSchema(f"field '{name}' must be a text")


def optional_text(document: Mapping[str, JSON], name: str) -> str | None:
    """Return a field that is a text, null or not there. Raises InvalidSchema."""
    value = document.get(name)
    if value is None or type(value) is str:
        return value
    raise InvalidSchema(f"field '{name}' must be a text")


def version_field(document: Mapping[str, JSON]) -> int | None:
    """Return the version that is expected, None for any. Raises InvalidSchema."""
    value = document.get("expect_version")
    if value is None or (type(value) is int and 0 <= value < 1 << 64):
        return value
    raise InvalidSchema("field 'expect_version' must be a number from 0 on")


def _payload(document: Mapping[str, JSON]) -> JSON:
    if "payload" not in document:
        raise InvalidSchema("field 'payload' is missing")
    return document["payload"]


def _metadata(document: Mapping[str, JSON]) -> dict[str, Any] | None:
    value = document.get("metadata")
    if value is None or type(value) is dict:
        return value
    raise InvalidSchema("field 'metadata' must be an object")

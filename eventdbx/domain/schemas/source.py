"""The schema language ``schema.dbx``: one text that describes all schemas of a domain.

Its form is read in ``source_scanning``; here is what blocks mean. It is written by people, so what
no event can satisfy is refused (``declaring``). Every error says where in the text its cause is.
The way back is ``source_writing``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from eventdbx.domain.canonical import JSON
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.declaring import column_complaints, complaints, event_complaints
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Column,
    ColumnType,
    EventRule,
    SchemaSet,
    Upcaster,
)
from eventdbx.domain.schemas.names import name_warnings
from eventdbx.domain.schemas.reading import (
    as_reference,
    read_rules,
    read_type,
    read_upcast,
    timed,
)
from eventdbx.domain.schemas.source_scanning import Block, Given, Scanner, scanner_of
from eventdbx.errors import SerializationError

_NO_SCHEMAS: SchemaSet = MappingProxyType({})
_TEXT = ColumnType("text")


class Compiled(NamedTuple):
    """What a text says, and what of it was ignored or can never match an event."""

    schemas: SchemaSet
    warnings: list[str]


def parse_source(text: str, *, now_ns: int, stored: SchemaSet = _NO_SCHEMAS) -> SchemaSet:
    """Return the schemas that a text describes; see :func:`compile_source`."""
    return compile_source(text, now_ns=now_ns, stored=stored).schemas


def compile_source(text: str, *, now_ns: int, stored: SchemaSet = _NO_SCHEMAS) -> Compiled:
    """Return the schemas that a text describes, and warnings.

    Each keeps the time of creation of the ``stored`` schema of its name, and the time of its last
    update unless it says something else; all other times are ``now_ns``. Raises InvalidSchema.
    """
    meaning = _Meaning(scanner_of(text))
    schemas: dict[str, AggregateSchema] = {}
    for block in meaning.scanner.document():
        if block.name in schemas:
            meaning.fail(block, f"aggregate {block.name} is defined more than once")
        schema = meaning.schema(block)
        old = stored.get(block.name)
        meaning.warnings += name_warnings(old, schema)
        schemas[block.name] = timed(schema, None, None, now_ns, old)
    return Compiled({name: schemas[name] for name in sorted(schemas)}, meaning.warnings)


class _Meaning:
    """Makes schemas of blocks."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.warnings: list[str] = []

    def fail(self, culprit: Block | Given, reason: str) -> NoReturn:
        self.scanner.fail_at(culprit.at, reason)

    def schema(self, block: Block) -> AggregateSchema:
        if not block.name.strip(WHITE_SPACE):
            self.fail(block, "aggregate name cannot be empty")
        if not block.events:
            self.fail(block, f"aggregate {block.name} must define at least one event")
        threshold = self._threshold(block)
        locked, hidden = self._flag(block, "locked"), self._flag(block, "hidden")
        hidden_fields = self._names(block, "hidden_fields", "hidden_fields")
        field_locks = self._names(block, "field_locks", "field_locks")
        columns: dict[str, Column] = {}
        for one in block.fields:
            if one.name in columns:
                self.fail(
                    one, f"field {one.name} is defined more than once in aggregate {block.name}"
                )
            if self._flag(one, "hidden", "field.hidden"):
                hidden_fields.add(one.name)
            if self._flag(one, "locked", "field.locked"):
                field_locks.add(one.name)
            columns[one.name] = self._column(one, block.name)
        schema = AggregateSchema(
            aggregate=block.name,
            snapshot_threshold=threshold,
            locked=locked,
            field_locks=tuple(sorted(field_locks)),
            hidden=hidden,
            hidden_fields=tuple(sorted(hidden_fields)),
            column_types={name: columns[name] for name in sorted(columns)},
            events=self._events(block),
        )
        self._refuse(block, complaints(schema))
        return schema

    def _refuse(self, block: Block, reasons: Iterable[str]) -> None:
        for reason in reasons:
            self.fail(block, reason)

    def _threshold(self, block: Block) -> int | None:
        given = block.given.get("snapshot_threshold")
        if given is None or given.value is None:
            return None
        number = given.value
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            self.fail(given, "snapshot_threshold must be a non-negative integer or null")
        return number

    def _flag(self, block: Block, name: str, title: str | None = None) -> bool:
        given = block.given.get(name)
        if given is None:
            return False
        if not isinstance(given.value, bool):
            self.fail(given, f"{title or name} must be a JSON boolean")
        return bool(given.value)

    def _names(self, block: Block, name: str, title: str) -> set[str]:
        """Return the trimmed entries of a list of names."""
        given = block.given.get(name)
        names: set[str] = set()
        if given is None:
            return names
        entries = given.value if isinstance(given.value, list) else [None]
        for entry in entries:
            if not isinstance(entry, str):
                self.fail(given, f"{title} must be a JSON array of strings")
        for entry in entries:
            trimmed = str(entry).strip(WHITE_SPACE)
            if not trimmed:
                self.fail(given, f"{title} entries cannot be empty")
            names.add(trimmed)
        return names

    def _column(self, block: Block, aggregate: str) -> Column:
        given = block.given.get("type")
        if given is None:
            self.fail(block, f"field {block.name} in aggregate {aggregate} must define type")
        text = given.value
        if not isinstance(text, str):
            self.fail(given, "field.type must be a JSON string")
        column = self._ruled(block)
        if not text.strip(WHITE_SPACE):
            self.fail(given, "field.type cannot be empty")
        try:
            kind, is_reference = read_type(text, ())
        except SerializationError as error:
            self.fail(given, error.detail)
        column = replace(column, type=kind)
        if is_reference or column.reference is not None:
            warnings: list[str] = []
            column = as_reference(column, (), warnings)
            self._warn("field", block, warnings)
        self._refuse(block, column_complaints(column, block.name))
        return column

    def _ruled(self, block: Block) -> Column:
        """Return the rules of a field, as those of a text column."""
        given = block.given.get("rules")
        if given is None:
            return Column(type=_TEXT)
        if not isinstance(given.value, dict):
            self.fail(given, "field.rules must be a JSON object")
        warnings: list[str] = []
        try:
            column = read_rules(given.value, _TEXT, (), warnings)
        except SerializationError as error:
            self.fail(given, f"failed to parse field.rules: {error.detail}")
        self._warn("field", block, warnings)
        return column

    def _warn(self, kind: str, block: Block, warnings: list[str]) -> None:
        place = self.scanner.place(block.at)
        self.warnings += [f"{kind} {block.name}: {warning}{place}" for warning in warnings]

    def _events(self, block: Block) -> dict[str, EventRule]:
        events: dict[str, EventRule] = {}
        for one in block.events:
            if one.name in events:
                self.fail(
                    one, f"event {one.name} is defined more than once in aggregate {block.name}"
                )
            rule = EventRule(
                fields=tuple(sorted(self._names(one, "fields", "event.fields"))),
                notes=self._note(one),
                upcast=self._upcast(one),
            )
            self._refuse(one, event_complaints(rule, one.name))
            events[one.name] = rule
        return {name: events[name] for name in sorted(events)}

    def _note(self, block: Block) -> str | None:
        given = block.given.get("note")
        note: JSON = None if given is None else given.value
        if given is not None and not (note is None or isinstance(note, str)):
            self.fail(given, "event.note must be a JSON string or null")
        return note if isinstance(note, str) else None

    def _upcast(self, block: Block) -> tuple[tuple[Upcaster, ...], ...]:
        given = block.given.get("upcast")
        if given is None or given.value is None:
            return ()
        warnings: list[str] = []
        try:
            upcast = read_upcast(given.value, (), warnings)
        except SerializationError as error:
            self.fail(given, f"failed to parse event.upcast: {error.detail}")
        self._warn("event", block, warnings)
        return upcast

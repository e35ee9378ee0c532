"""A schema made ready to check events: compiled once per version, asked at every append.

An event that breaks nothing is usually accepted by the quick functions of ``accepting``. Only
when they hesitate are the exact checks run, in the order of the control protocol
(docs/protocol.md); these alone say what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from hashlib import sha256
from itertools import islice

from eventdbx import limits
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.schemas.accepting import Accept, accepting, anything, certain_members, nothing
from eventdbx.domain.schemas.model import AggregateSchema, EventRule, Violation
from eventdbx.domain.schemas.patterns import patterns_weight
from eventdbx.domain.schemas.rules import ColumnCheck, declaration_fault, pointer_token
from eventdbx.domain.schemas.writing import schema_document, schema_text, without_times

DIGEST_BYTES = 16
MARK_BYTES = DIGEST_BYTES + 2

SCALAR_KEY = "_value"
"""Under this key a state keeps a payload that is no object."""

Known = Container[str] | None
"""The keys of the state that a patch builds on: they count as present."""

Quick = Callable[[JSON, Known], bool]


class Contract:
    """What the events of one aggregate type must be. Never changes.

    ``digest`` names the schema without its times; 16 bytes. ``patterns_weight`` is what its
    compiled patterns take, in bytes.
    """

    __slots__ = (
        "_checks",
        "_document",
        "_events",
        "_marks",
        "_quick",
        "_text",
        "digest",
        "patterns_weight",
        "schema",
    )

    def __init__(self, schema: AggregateSchema) -> None:
        self.schema = schema
        self.digest = schema_digest(schema)
        self._document: bytes | None = None
        self._text: bytes | None = None
        self._events: dict[str, EventRule] = {}
        for name, rule in schema.events.items():
            # Of two spellings of one event the first counts, as in AggregateSchema.event.
            self._events.setdefault(name.replace(".", "_"), rule)
        self._marks = {
            name: self.digest + rule.revision.to_bytes(2, "big")
            for name, rule in self._events.items()
        }
        columns = schema.column_types
        self._checks = [(name, ColumnCheck(columns[name])) for name in sorted(columns)]
        self._quick = _quick_checks(schema, self._events)
        self.patterns_weight = patterns_weight(columns, limits.PATTERNS_COMPILED_BYTES_MAX)

    @property
    def document(self) -> bytes:
        """The schema as compact JSON; written when first asked for."""
        if self._document is None:
            self._document = schema_document(self.schema)
        return self._document

    @property
    def text(self) -> bytes:
        """The schema as it stands in the text of a set."""
        if self._text is None:
            self._text = schema_text(self.schema)
        return self._text

    def mark(self, event_type: str) -> bytes:
        """Return what an event keeps of the schema that accepted it: digest and revision."""
        mark = self._marks.get(event_type)
        return mark if mark is not None else self.digest + b"\x00\x01"

    def refuse(
        self, event_type: str, payload: JSON, known: Known = None, *, off: bool = False
    ) -> str | None:
        """Return why an event is refused, in the first violation's words, or None.

        ``event_type`` is normalised. ``known`` is given for a patch: the state that it builds on,
        whose keys need not be in the payload. ``off`` leaves only locks in force.
        """
        if not off:
            accept = self._quick.get(event_type)
            if accept is not None and accept(payload, known):
                return None
        for violation in self._walk(event_type, payload, known, off):
            return violation.message
        return None

    def violations(
        self, event_type: str, payload: JSON, known: Known = None, *, off: bool = False
    ) -> list[Violation]:
        """Return everything for which an event is refused; :meth:`refuse` tells the first.

        At most VIOLATIONS_MAX: an event can have as many members as its payload has room for.
        """
        return list(islice(self._walk(event_type, payload, known, off), limits.VIOLATIONS_MAX))

    def _walk(self, event_type: str, payload: JSON, known: Known, off: bool) -> Iterator[Violation]:
        """Yield violations in the order in which they are looked for."""
        yield from self._lock_violations(payload)
        if off:
            return
        rule = self._events.get(event_type.replace(".", "_"))
        aggregate = self.schema.aggregate
        if rule is None:
            text = f"event {event_type} is not defined for aggregate {aggregate}"
            yield Violation("event", "", "event", text)
        elif rule.fields:
            yield from _list_violations(event_type, rule.fields, payload, known)
        if self._checks and type(payload) is not dict:
            text = f"aggregate {aggregate} expects object payload for validation"
            yield Violation("object", "", "object", text)
        elif type(payload) is dict:
            # With a list, what must be there is what it names; that has been looked at.
            yield from self._column_violations(payload, known, rule is not None and not rule.fields)

    def _lock_violations(self, payload: JSON) -> Iterator[Violation]:
        aggregate = self.schema.aggregate
        if self.schema.locked:
            yield Violation("lock", "", "lock", f"aggregate {aggregate} is locked for updates")
        for name in sorted(set(self.schema.field_locks).intersection(_keys(payload))):
            text = f"field {name} is locked for aggregate {aggregate}"
            yield Violation("field_lock", _pointer(payload, name), "field_lock", text)

    def _column_violations(
        self, payload: dict[str, JSON], known: Known, all_required: bool
    ) -> Iterator[Violation]:
        for name, check in self._checks:
            pointer = pointer_token(name)
            if name in payload:
                faults = check.faults(payload[name], name, pointer)
            else:
                required = all_required and check.column.required and not _known(known, name)
                faults = check.absence(name, pointer, required=required)
            for fault in faults:
                yield Violation("column", fault.pointer, fault.rule, fault.message)


def schema_digest(schema: AggregateSchema) -> bytes:
    """Return what names a schema, whenever it was made: DIGEST_BYTES of a hash."""
    return sha256(dump(without_times(schema))).digest()[:DIGEST_BYTES]


def compile_schema(schema: AggregateSchema) -> Contract:
    """Return the contract of a schema: done once per version, it makes appends cheap."""
    return Contract(schema)


def _keys(payload: JSON) -> tuple[str, ...]:
    if type(payload) is dict:
        return tuple(payload)
    return () if payload is None else (SCALAR_KEY,)


def _pointer(payload: JSON, name: str) -> str:
    return pointer_token(name) if type(payload) is dict else ""


def _known(known: Known, name: str) -> bool:
    return known is not None and name in known


def _list_violations(
    event_type: str, fields: tuple[str, ...], payload: JSON, known: Known
) -> Iterator[Violation]:
    """Yield in what the keys of a payload differ from an event's fields."""
    present = _keys(payload)
    for name in sorted(fields):
        if name not in present and not _known(known, name):
            text = f"missing required field {name} for event {event_type}"
            yield Violation("missing", pointer_token(name), "missing", text)
    for name in sorted(present):
        if name not in fields:
            text = f"field {name} is not permitted for event {event_type}"
            yield Violation("not_permitted", _pointer(payload, name), "not_permitted", text)


# --- the quick checks of whole payloads


def _quick_checks(schema: AggregateSchema, events: dict[str, EventRule]) -> dict[str, Quick]:
    """Return the quick check of each event; none where every append fails."""
    columns = schema.column_types
    if schema.locked or any(declaration_fault(one) is not None for one in columns.values()):
        return {}
    tests: dict[str, Accept] = {name: accepting(column) for name, column in columns.items()}
    tests |= dict.fromkeys(schema.field_locks, nothing)
    required = certain_members(columns)
    anyhow = _open_event(tests, required)
    return {
        name: _listed_event(tests, rule.fields) if rule.fields else anyhow
        for name, rule in events.items()
    }


def _open_event(tests: dict[str, Accept], required: tuple[str, ...]) -> Quick:
    def accept(payload: JSON, known: Known) -> bool:
        if type(payload) is not dict:
            return False
        for name, value in payload.items():
            test = tests.get(name)
            if test is not None and not test(value):
                return False
        for name in required:
            if name not in payload and not _known(known, name):
                return False
        return True

    return accept


def _listed_event(tests: dict[str, Accept], fields: tuple[str, ...]) -> Quick:
    listed = {name: tests.get(name, anything) for name in fields}
    count = len(listed)

    def accept(payload: JSON, known: Known) -> bool:
        if type(payload) is not dict:
            return False
        for name, value in payload.items():
            test = listed.get(name)
            if test is None or not test(value):
                return False
        # All keys are listed ones, so that as many are all of them.
        return len(payload) == count or all(
            name in payload or _known(known, name) for name in fields
        )

    return accept

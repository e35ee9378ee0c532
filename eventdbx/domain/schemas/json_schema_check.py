"""Checking payloads against the JSON Schema of their event, with the ``jsonschema`` package.

This is a second implementation of the rules, built on the documents of ``json_schema`` alone: it
shares with ``contract`` the meaning of types, formats and patterns, and none of its order of
checks. Tests hold the two against each other. Documents refer to nothing outside themselves, and
nothing is ever fetched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, cast

from jsonschema import Draft202012Validator, ValidationError, validators
from referencing import Registry

from eventdbx import limits
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.columns import (
    RANGED,
    bound_fault,
    bound_text,
    comparable,
    parse_base64,
    parse_bound,
    parse_type,
    type_fault,
)
from eventdbx.domain.schemas.contract import SCALAR_KEY, Contract
from eventdbx.domain.schemas.formats import format_fault
from eventdbx.domain.schemas.json_schema import Document, document
from eventdbx.domain.schemas.members import pointer
from eventdbx.domain.schemas.model import REFERENCE, ColumnType, Step, Violation
from eventdbx.domain.schemas.patterns import compile_pattern
from eventdbx.domain.schemas.references import notation_fault

_STEPS: tuple[Step, ...] = (
    "lock",
    "field_lock",
    "event",
    "missing",
    "not_permitted",
    "object",
    "column",
)

_Errors = Iterator[ValidationError]


class _Broken(ValidationError):  # type: ignore[misc]
    """An error with the step and the rule that it breaks.

    The message of a column begins behind ``field P``, for its path is known only when the error
    has arrived at the root.
    """

    def __init__(self, step: Step, rule: str, message: str, path: Iterable[str] = ()) -> None:
        super().__init__(message, path=path)
        self.step: Step = step
        self.rule = rule


class _Wrapped(dict[str, JSON]):
    """The object in which a payload that is none is checked."""


# --- keywords of the whole document; only its root has them


def _event(_validator: Any, event: Document, payload: dict[str, JSON], _schema: Any) -> _Errors:
    aggregate = event["aggregate"]
    if event["locked"]:
        yield _Broken("lock", "lock", f"aggregate {aggregate} is locked for updates")
    for name in sorted(event["field_locks"]):
        if name in payload:
            text = f"field {name} is locked for aggregate {aggregate}"
            yield _Broken("field_lock", "field_lock", text, (name,))
    if event.get("declared") is False:
        text = f"event {event['event']} is not defined for aggregate {aggregate}"
        yield _Broken("event", "event", text)


def _type(_validator: Any, _type: str, payload: JSON, schema: Document) -> _Errors:
    if isinstance(payload, _Wrapped) and schema["properties"]:
        aggregate = schema["x-dbx-event"]["aggregate"]
        text = f"aggregate {aggregate} expects object payload for validation"
        yield _Broken("object", "object", text)


def _required(
    _validator: Any, names: list[str], payload: dict[str, JSON], schema: Document
) -> _Errors:
    listed = "propertyNames" in schema
    for name in names:
        if name in payload:
            continue
        if listed:
            text = f"missing required field {name} for event {schema['x-dbx-event']['event']}"
            yield _Broken("missing", "missing", text, (name,))
        elif not isinstance(payload, _Wrapped):
            declared = _declared(schema["properties"][name]["x-dbx-column"])
            if _declaration_fault(declared) is None:
                yield _Broken("column", "required", "is required", (name,))


def _property_names(
    _validator: Any, names: Document, payload: dict[str, JSON], schema: Document
) -> _Errors:
    allowed = frozenset(names["enum"])
    for name in sorted(payload):
        if name not in allowed:
            text = f"field {name} is not permitted for event {schema['x-dbx-event']['event']}"
            yield _Broken("not_permitted", "not_permitted", text, (name,))


def _properties(
    validator: Any, columns: dict[str, Document], payload: dict[str, JSON], _schema: Any
) -> _Errors:
    if isinstance(payload, _Wrapped):
        return
    yield from _members(
        validator,
        {name: column["x-dbx-column"] for name, column in columns.items()},
        payload,
        ask_required=False,
    )


def _members(
    validator: Any, columns: dict[str, JSON], members: dict[str, JSON], *, ask_required: bool
) -> _Errors:
    """Yield the errors of columns that are there or must be; the root asks for these elsewhere."""
    for name, column in sorted(columns.items()):
        if name in members:
            yield from validator.descend(members[name], {"x-dbx-column": column}, path=name)
            continue
        declared = _declared(column)
        fault = _declaration_fault(declared)
        if fault is not None:
            yield _Broken("column", "reference", fault, (name,))
        elif ask_required and declared.get("required"):
            yield _Broken("column", "required", "is required", (name,))


# --- the keyword of a column


def _declared(column: JSON) -> Document:
    return {"type": column} if isinstance(column, str) else cast(Document, column)


def _declaration_fault(column: Document) -> str | None:
    if column.get("format") == REFERENCE:
        if parse_type(column["type"]).name == "text":
            return None
        return "uses reference format but must be a text column"
    return "specifies reference rules without reference format" if "reference" in column else None


def _column(validator: Any, column: JSON, value: JSON, _schema: Any) -> _Errors:
    declared = _declared(column)
    fault = _declaration_fault(declared)
    if fault is not None:
        yield _Broken("column", "reference", fault)
        return
    if value is None and declared.get("format") == REFERENCE and not declared.get("required"):
        return
    kind = parse_type(declared["type"])
    fault = type_fault(kind, value)
    if fault is not None:
        yield _Broken("column", "type", fault)
        return
    nested = declared.get("properties", {})
    if kind.name == "object":
        yield from _members(validator, nested, cast("dict[str, JSON]", value), ask_required=True)
    for rule, find in _RULES:
        if rule in declared:
            for words in find(kind, declared[rule], value):
                yield _Broken("column", rule, words)
    if nested and kind.name not in ("object", "json"):
        yield _Broken("column", "properties", "cannot define nested properties on non-object type")


def _contains(_kind: ColumnType, needles: list[str], text: str) -> Iterator[str]:
    return (f"must contain '{needle}'" for needle in needles if needle not in text)


def _does_not_contain(_kind: ColumnType, needles: list[str], text: str) -> Iterator[str]:
    return (f"must not contain '{needle}'" for needle in needles if needle in text)


def _regex(_kind: ColumnType, patterns: list[str], text: str) -> Iterator[str]:
    for pattern in patterns:
        try:
            if not compile_pattern(pattern).search(text):
                yield f"must match pattern {pattern}"
        except ValueError as error:
            yield f"has invalid regex '{pattern}': {error}"


def _format(_kind: ColumnType, name: str, text: str) -> Iterator[str]:
    fault = notation_fault(text) if name == REFERENCE else format_fault(name, text)
    if fault is not None:
        yield fault


def _length(kind: ColumnType, length: Document, text: str) -> Iterator[str]:
    if kind.name not in ("text", "binary"):
        yield "does not support length validation"
        return
    count = len(text) if kind.name == "text" else len(parse_base64(text) or b"")
    if length["min"] is not None and count < length["min"]:
        yield f"must have length >= {length['min']}"
    if length["max"] is not None and count > length["max"]:
        yield f"must have length <= {length['max']}"


def _range(kind: ColumnType, bounds: Document, value: JSON) -> Iterator[str]:
    if kind.name not in RANGED:
        yield "does not support range validation"
        return
    number = comparable(kind, value)
    for end, which, sign, word in (
        ("min", "minimum", ">=", "after"),
        ("max", "maximum", "<=", "before"),
    ):
        text = bounds[end]
        if text is None:
            continue
        bound = parse_bound(kind, text)
        if bound is None:
            yield bound_fault(kind, which, text)
        elif number < bound if end == "min" else number > bound:
            if kind.name == "date":
                yield f"must be on or {word} {text}"
            else:
                yield f"must be {sign} {bound_text(kind, text)}"


def _of_text(find: Callable[..., Iterator[str]]) -> Callable[[ColumnType, Any, Any], Iterator[str]]:
    """Return a rule of texts as one of any type: other values can never satisfy it."""

    def found(kind: ColumnType, rule: Any, value: Any) -> Iterator[str]:
        if kind.name == "timestamp" and rule == "iso8601":
            return iter(())
        return find(kind, rule, value) if kind.name == "text" else iter(("must be a string",))

    return found


_RULES: tuple[tuple[str, Callable[[ColumnType, Any, Any], Iterator[str]]], ...] = (
    ("contains", _of_text(_contains)),
    ("does_not_contain", _of_text(_does_not_contain)),
    ("regex", _of_text(_regex)),
    ("format", _of_text(_format)),
    ("length", _length),
    ("range", _range),
)


def _is_integer(_checker: Any, value: object) -> bool:
    return type(value) is int


_VALIDATOR = validators.extend(
    Draft202012Validator,
    {
        "type": _type,
        "properties": _properties,
        "required": _required,
        "propertyNames": _property_names,
        "x-dbx-event": _event,
        "x-dbx-column": _column,
    },
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


class DocumentCheck:
    """The check of one event's payloads, by the document that ``document`` makes of it."""

    __slots__ = ("_validator",)

    def __init__(self, schema: Document) -> None:
        # What "not" says of an event that is not declared, x-dbx-event says in our words.
        known = {key: value for key, value in schema.items() if key not in ("$id", "not")}
        self._validator = _VALIDATOR(known, registry=Registry())

    def violations(
        self, payload: JSON, known: Container[str] | None = None, *, off: bool = False
    ) -> list[Violation]:
        """Return everything that is wrong, in the order in which the server looks for it.

        ``known`` and ``off`` are those of :meth:`.contract.Contract.violations`.
        """
        instance = payload
        if type(payload) is not dict:
            instance = _Wrapped() if payload is None else _Wrapped({SCALAR_KEY: payload})
        errors = [
            error
            for error in self._validator.iter_errors(instance)
            if not (off and error.step not in ("lock", "field_lock"))
            and not (known is not None and _demands_known(error, known))
        ]
        errors.sort(key=_place)
        return [_violation(error, payload) for error in errors]


def _demands_known(error: _Broken, known: Container[str]) -> bool:
    """Say whether an error asks for a field that is known already."""
    path = error.absolute_path
    return error.rule in ("missing", "required") and len(path) == 1 and path[0] in known


def _place(error: _Broken) -> tuple[int, str]:
    # Errors of one column arrive in their order, which sorting keeps.
    column = str(error.absolute_path[0]) if error.step == "column" else ""
    return _STEPS.index(error.step), column


def _violation(error: _Broken, payload: JSON) -> Violation:
    path = tuple(map(str, error.absolute_path))
    message = error.message
    if error.step == "column":
        message = f"field {'.'.join(path)} {message}"
    # What is no object has no members to point to, but for those that it lacks.
    whole = type(payload) is not dict and error.step in ("field_lock", "not_permitted")
    return Violation(error.step, "" if whole else pointer(path), error.rule, message)


class DocumentChecks:
    """The checks made so far: one for each version of a schema and event, the latest kept."""

    def __init__(self, entries_max: int = limits.DOCUMENT_CHECKS_MAX) -> None:
        self._entries_max = entries_max
        self._checks: OrderedDict[tuple[bytes, str], DocumentCheck] = OrderedDict()

    def check(self, contract: Contract, event_type: str) -> DocumentCheck:
        """Return the check of an event under a contract."""
        key = contract.digest, event_type
        found = self._checks.get(key)
        if found is None:
            # The domain is in the document's name only, which takes no part.
            found = DocumentCheck(document(contract.schema, event_type, domain="-"))
            self._checks[key] = found
            if len(self._checks) > self._entries_max:
                self._checks.popitem(last=False)
        else:
            self._checks.move_to_end(key)
        return found

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._checks)

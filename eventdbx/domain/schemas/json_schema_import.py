"""Reading JSON Schema: the way back from ``json_schema``, and in from other tools' documents.

What our own documents say with ``x-dbx-…`` is taken as it stands, so that nothing is lost on the
way. Of others a subset is understood, and everything else is refused by name.
"""

from __future__ import annotations

from dataclasses import replace

from eventdbx import limits
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.json_schema_columns import (
    Fragment,
    Members,
    Properties,
    Source,
    Unsupported,
    is_ignored,
)
from eventdbx.domain.schemas.members import object_of, strings_of
from eventdbx.domain.schemas.model import AggregateSchema, Column, EventRule
from eventdbx.domain.schemas.reading import read_schema
from eventdbx.errors import InvalidSchema

_ROOT = frozenset("type properties required additionalProperties propertyNames allOf $ref".split())


def import_document(
    document: JSON,
    aggregate: str,
    *,
    now_ns: int,
    event: str | None = None,
    stored: AggregateSchema | None = None,
    lenient: bool = False,
    marks: bool = False,
) -> tuple[AggregateSchema, list[str]]:
    """Return the schema of an aggregate type that a document says, and what it could not keep.

    A document of one event adds that event to the ``stored`` schema and replaces its columns; so
    does one of another tool, for the event named by ``event``, and without a name only columns
    are replaced. ``lenient`` warns of what is not understood instead of refusing it; ``marks``
    makes field locks of ``readOnly`` and hidden fields of ``writeOnly``. Raises InvalidSchema, and
    SerializationError for documents that are no JSON Schema.
    """
    warnings: list[str] = []
    root = object_of(document, ())
    reading = _Reading(Source(root, warnings, lenient=lenient), aggregate, now_ns, stored)
    reading.root()
    if "x-dbx-aggregate" in root:
        whole = object_of(root["x-dbx-aggregate"], ("x-dbx-aggregate",))
        found = reading.own(whole, ("x-dbx-aggregate",))
    elif "x-dbx-event" in root:
        found = reading.own_event(root)
    else:
        found = reading.foreign(root, event)
    if marks and "x-dbx-aggregate" not in root and "x-dbx-event" not in root:
        found = reading.marked(found)
    if not found.events:
        raise InvalidSchema("the document names no event, and no schema has any yet: name one")
    return found, warnings


class _Reading:
    """One document on its way to a schema."""

    def __init__(
        self, source: Source, aggregate: str, now_ns: int, stored: AggregateSchema | None
    ) -> None:
        self._source = source
        self._aggregate = aggregate
        self._now_ns = now_ns
        self._stored = stored
        self._properties = Properties(source)
        self._closed = False
        self._names: set[str] | None = None

    def root(self) -> None:
        """Take the keywords of the document itself, those that it refers to included."""
        for members, part in self._source.parts(Fragment(self._source.root, ())):
            for keyword, value in members.items():
                if keyword in _ROOT:
                    self._root_keyword(keyword, value, part)
                # An event that is not declared takes nothing; our own documents say so with it.
                elif not is_ignored(keyword) and not (
                    keyword == "not" and "x-dbx-event" in members
                ):
                    self._unsupported(Unsupported(keyword, part.path))
            self._properties.add(members, part)

    def _unsupported(self, error: Unsupported) -> None:
        if not self._source.lenient:
            raise error
        self._source.warnings.append(f"{error.detail}; it is not checked")

    def _root_keyword(self, keyword: str, value: JSON, part: Fragment) -> None:
        path = part.path
        if keyword == "type" and value != "object" and value != ["object"]:
            raise Unsupported("type", path, "a payload is an object")
        if keyword == "additionalProperties":
            if value is False:
                self._closed = True
            elif value is not True and value != {}:
                self._unsupported(Unsupported(keyword, path))
        if keyword == "propertyNames":
            members = object_of(value, (*path, keyword))
            if set(members) != {"enum"}:
                self._unsupported(Unsupported(keyword, path))
                return
            names = set(strings_of(members["enum"], (*path, keyword, "enum")))
            self._names = names if self._names is None else self._names & names

    def _fields(self) -> tuple[str, ...]:
        """Return the list of an event: what alone is allowed."""
        allowed = self._names
        if self._closed:
            declared = set(self._properties.fragments)
            allowed = declared if allowed is None else allowed & declared
        return () if allowed is None else tuple(sorted(allowed))

    # --- our own documents

    def own(self, members: Members, path: tuple[str, ...]) -> AggregateSchema:
        """Return the schema of a document that says all of it."""
        schema = read_schema(
            {**members, "aggregate": self._aggregate},
            self._aggregate,
            now_ns=self._now_ns,
            stored=self._stored,
            path=path,
            warnings=self._source.warnings,
        )
        found = replace(schema, column_types=self._own_columns())
        if self._stored is not None:
            found = replace(found, created_at=self._stored.created_at)
        return found

    def own_event(self, root: Members) -> AggregateSchema:
        """Return the stored schema, or a new one, with the one event of a document."""
        path = ("x-dbx-event",)
        members = dict(object_of(root["x-dbx-event"], path))
        name = members.pop("event", None)
        if not isinstance(name, str):
            raise InvalidSchema("x-dbx-event names no event")
        if members.pop("declared", True) is False:
            raise InvalidSchema(f"event {name} is not declared")
        rule: Members = {"fields": list(self._fields())}
        if "description" in root:
            rule["notes"] = root["description"]
        if "upcast" in members:
            rule["upcast"] = members.pop("upcast")
        found = self.own({**members, "events": {name: rule}}, path)
        if self._stored is None:
            return found
        return replace(found, events=dict(sorted({**self._stored.events, **found.events}.items())))

    def _own_columns(self) -> dict[str, Column]:
        # A column that must be there says so itself; what events demand is theirs.
        self._properties.required.clear()
        return self._properties.columns()

    # --- other tools' documents

    def foreign(self, root: Members, event: str | None) -> AggregateSchema:
        """Return the stored schema, or a new one, with the columns of a document."""
        fields, description = self._fields(), root.get("description")
        base = self._stored
        if base is None:
            base = AggregateSchema(aggregate=self._aggregate, created_at=self._now_ns)
        events = dict(base.events)
        columns = self._properties.columns()
        if event is not None:
            notes = None
            if isinstance(description, str):
                if len(description) <= limits.NOTE_CHARACTERS_MAX:
                    notes = description
                else:
                    self._source.warn("description is too long for a note", ())
            old = events.get(event, EventRule())
            events[event] = replace(old, fields=fields, notes=notes or old.notes)
            self._warn_of_list(event, fields)
        elif fields or self._closed:
            self._source.warn("the list of fields is for an event: name one to keep it", ())
        return replace(
            base,
            column_types=columns,
            events=dict(sorted(events.items())),
            updated_at=self._now_ns,
        )

    def _warn_of_list(self, event: str, fields: tuple[str, ...]) -> None:
        optional = sorted(set(fields) - self._properties.required)
        if optional:
            text = f"event {event} requires every field of its list, also {', '.join(optional)},"
            self._source.warn(text, ())
        if self._closed and not fields:
            self._source.warn(f"event {event} takes any payload: a list cannot be empty", ())

    def marked(self, schema: AggregateSchema) -> AggregateSchema:
        """Return the schema with locks for ``readOnly`` and hiding for ``writeOnly``."""
        marks: dict[str, set[str]] = {"readOnly": set(), "writeOnly": set()}
        for name, fragments in self._properties.fragments.items():
            for fragment in fragments:
                for members, _part in self._source.parts(fragment):
                    for keyword, names in marks.items():
                        if members.get(keyword) is True:
                            names.add(name)
        return replace(
            schema,
            field_locks=tuple(sorted({*schema.field_locks, *marks["readOnly"]})),
            hidden_fields=tuple(sorted({*schema.hidden_fields, *marks["writeOnly"]})),
        )

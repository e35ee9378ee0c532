"""What an aggregate schema says, as immutable values.

Reading and writing its JSON is in ``reading`` and ``writing``, its source language in ``source``;
what may be declared is checked in ``declaring``, and whether an event fits in ``contract``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from eventdbx.domain.canonical import JSON

TypeName: TypeAlias = Literal[
    "integer",
    "float",
    "decimal",
    "boolean",
    "text",
    "timestamp",
    "date",
    "json",
    "binary",
    "object",
]
Integrity: TypeAlias = Literal["strong", "weak"]
Cascade: TypeAlias = Literal["none", "restrict", "nullify"]

REFERENCE = "reference"
"""The format whose texts name other aggregates."""

FORMATS = (
    "email",
    "url",
    "credit_card",
    "country_code",
    "iso8601",
    "wgs_84",
    "camel_case",
    "pascal_case",
    "snake_case",
    "kebab_case",
    "upper_case_snake_case",
    REFERENCE,
)
"""Every format, as JSON spells it."""


class ColumnType(NamedTuple):
    """The type of a column; only decimals have precision (digits in all) and scale."""

    name: TypeName
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        """Return the canonical spelling: ``text``, ``decimal(12,2)``."""
        if self.name == "decimal":
            return f"decimal({self.precision},{self.scale})"
        return self.name


class Length(NamedTuple):
    """Inclusive bounds of a length: characters of a text, bytes of a binary. None is open."""

    min: int | None = None
    max: int | None = None


class Bounds(NamedTuple):
    """Inclusive bounds of a value, as texts of the column's type. None is open."""

    min: str | None = None
    max: str | None = None


class ReferenceRule(NamedTuple):
    """What a column's references must name, and what becomes of them (docs/schemas.md)."""

    integrity: Integrity = "strong"
    tenant: str | None = None
    aggregate_type: str | None = None
    cascade: Cascade = "none"


_NOTHING: Mapping[str, Column] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its type and its rules. The defaults rule out nothing."""

    type: ColumnType
    required: bool = False
    contains: tuple[str, ...] = ()
    does_not_contain: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    length: Length | None = None
    range: Bounds | None = None
    format: str | None = None
    reference: ReferenceRule | None = None
    properties: Mapping[str, Column] = field(default_factory=lambda: _NOTHING)

    @property
    def has_rules(self) -> bool:
        """True unless the column says nothing but its type."""
        return self != Column(type=self.type)

    @property
    def reference_rule(self) -> ReferenceRule | None:
        """What the column demands of references; None for a column that holds none."""
        if self.format != REFERENCE:
            return None
        return self.reference or ReferenceRule()


class Rename(NamedTuple):
    """Upcaster: the member at ``source`` becomes that at ``target``, in the same object or not.

    Both are JSON Pointers into the payload (RFC 6901). Nothing happens without a source.
    """

    source: str
    target: str


class Default(NamedTuple):
    """Upcaster: the member at a pointer gets a value unless it is there."""

    path: str
    value: JSON


class MapValues(NamedTuple):
    """Upcaster: the text, number or boolean at a pointer is replaced by what a table says of it.

    Keys of the table are texts as :func:`eventdbx.domain.canonical.text_of` gives them. Values
    that the table lacks stay, unless ``has_otherwise``.
    """

    path: str
    table: Mapping[str, JSON]
    has_otherwise: bool = False
    otherwise: JSON = None


Upcaster: TypeAlias = Rename | Default | MapValues
"""One declarative step; ``rename`` and ``move`` of the JSON form are the same step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRule:
    """One declared event: its fields (none: anything goes), its note, its upcasters.

    ``upcast[k]`` lifts a payload of revision k + 1 to revision k + 2, so an event type without
    upcasters is at revision 1.
    """

    fields: tuple[str, ...] = ()
    notes: str | None = None
    upcast: tuple[tuple[Upcaster, ...], ...] = ()

    @property
    def revision(self) -> int:
        """The revision of payloads written now."""
        return len(self.upcast) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateSchema:
    """The contract of one aggregate type. Times are nanoseconds since the Unix epoch.

    Lists are sorted and without duplicates. ``events`` keeps declared spellings; an event is
    found by :meth:`event`, whatever separates its words.
    """

    aggregate: str
    snapshot_threshold: int | None = None
    locked: bool = False
    field_locks: tuple[str, ...] = ()
    hidden: bool = False
    hidden_fields: tuple[str, ...] = ()
    column_types: Mapping[str, Column] = field(default_factory=dict)
    events: Mapping[str, EventRule] = field(default_factory=dict)
    created_at: int = 0
    updated_at: int = 0

    def event(self, event_type: str) -> EventRule | None:
        """Return the rule of an event by its normalised type (underscores for dots)."""
        for name, rule in self.events.items():
            if name == event_type or name.replace(".", "_") == event_type:
                return rule
        return None


SchemaSet: TypeAlias = Mapping[str, AggregateSchema]
"""All schemas of a domain by aggregate type, keys sorted."""

Step: TypeAlias = Literal[
    "lock", "field_lock", "event", "missing", "not_permitted", "object", "column"
]


class Violation(NamedTuple):
    """One way in which an event breaks its schema.

    ``pointer`` is the JSON Pointer of the place in the payload (empty: the whole event), ``rule``
    the rule's name in the JSON model (``type``, ``required``, ``length`` …) or the step's name,
    ``message`` the text of the control protocol without its prefix. Never a payload's value.
    """

    step: Step
    pointer: str
    rule: str
    message: str

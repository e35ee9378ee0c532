"""What a change of schemas means for events, told from the two sets alone.

A set *accepts* an event if it could be appended under it. A change is *backward* compatible if
whatever the old set accepts the new one accepts, too: stored history and producers that know the
old set stay fine. It is *forward* compatible if whatever the new set accepts the old one accepts:
consumers that know the old set stay fine. *full* is both, *breaking* neither, or not provable:
nothing is claimed that does not hold for every possible event.

A set accepts what each of its demands accepts, so each change is judged alone, and all together
are as good as the worst of each direction. Columns are in ``comparing_columns``. Whether events
that are stored would be refused is asked of the events themselves: ``application.rehearsal``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from eventdbx.domain.canonical import dump
from eventdbx.domain.schemas.comparing_columns import (
    Aspect,
    Verdict,
    accepts_all,
    column_aspects,
    meet,
    verdict_of,
)
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Column,
    EventRule,
    SchemaSet,
    Upcaster,
)
from eventdbx.settings import Restrict

__all__ = ["Change", "Verdict", "compatibility", "fulfils", "same", "same_upcasters", "total"]

Upcasters: TypeAlias = tuple[tuple[Upcaster, ...], ...]

BOTH = (True, True)
BACKWARD = (True, False)
FORWARD = (False, True)
BREAKING = (False, False)


class Change(NamedTuple):
    """One difference between two sets: where, in a sentence, and what it means for events."""

    aggregate: str
    sentence: str
    verdict: Verdict


def same(one: AggregateSchema | SchemaSet, other: AggregateSchema | SchemaSet) -> bool:
    """Say whether two schemas, or two sets of them, differ in nothing but their times."""
    if isinstance(one, AggregateSchema) or isinstance(other, AggregateSchema):
        return (
            isinstance(one, AggregateSchema)
            and isinstance(other, AggregateSchema)
            and _timeless(one) == _timeless(other)
            and all(
                same_upcasters(rule.upcast, other.events[name].upcast)
                for name, rule in one.events.items()
            )
        )
    return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


def _timeless(schema: AggregateSchema) -> AggregateSchema:
    return replace(schema, created_at=0, updated_at=0)


def same_upcasters(one: Upcasters, other: Upcasters) -> bool:
    """Say whether two lists of upcasters are equal to the letter: 1 is not true, nor 1.0."""
    return one == other and _texts(one) == _texts(other)


def _texts(upcasters: Upcasters) -> list[bytes]:
    def plain(step: Upcaster) -> list[Any]:
        return [dict(one) if isinstance(one, Mapping) else one for one in step]

    return [dump([plain(step) for step in revision]) for revision in upcasters]


def total(changes: Iterable[Change]) -> Verdict:
    """Return the verdict of all changes together; ``full`` if there are none."""
    return meet(change.verdict for change in changes)


def fulfils(verdict: Verdict, demanded: Verdict) -> bool:
    """Say whether a verdict is at least as good as the one that is demanded."""
    return meet((verdict, demanded)) == demanded


def compatibility(
    old: SchemaSet, new: SchemaSet, *, restrict: Restrict = "default"
) -> list[Change]:
    """Return every difference with its verdict, in the order of aggregate types.

    ``restrict`` is the mode in which both sets are in force: in ``strict`` a type without schema
    accepts nothing, elsewhere everything; ``off`` looks at locks only.
    """
    return list(_changes(old, new, restrict))


def _changes(old: SchemaSet, new: SchemaSet, restrict: Restrict) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is not None and after is not None:
            aspects = _schema_aspects(before, after, off=restrict == "off")
        else:
            aspects = _presence_aspects(before, after, restrict)
        for aspect in aspects:
            yield Change(name, aspect.sentence, verdict_of(aspect))


def _presence_aspects(
    old: AggregateSchema | None, new: AggregateSchema | None, restrict: Restrict
) -> Iterator[Aspect]:
    one = old or new
    assert one is not None
    word = "has a schema now" if old is None else "has no schema any more"
    if restrict == "off" and not one.locked and not one.field_locks:
        yield Aspect(f"the aggregate {word}", *BOTH)
    elif (old is None) == (restrict == "strict"):
        yield Aspect(f"the aggregate {word}: more is accepted", *BACKWARD)
    else:
        yield Aspect(f"the aggregate {word}: less is accepted", *FORWARD)


def _schema_aspects(old: AggregateSchema, new: AggregateSchema, *, off: bool) -> Iterator[Aspect]:
    if old.locked != new.locked:
        word, flags = ("locked", FORWARD) if new.locked else ("unlocked", BACKWARD)
        yield Aspect(f"the aggregate is {word} now", *flags)
    for name in sorted({*new.field_locks} - {*old.field_locks}):
        yield Aspect(f"field {name} is locked now", *FORWARD)
    for name in sorted({*old.field_locks} - {*new.field_locks}):
        yield Aspect(f"field {name} is unlocked now", *BACKWARD)
    rules = (*_event_aspects(old, new), *_column_aspects(old, new), *_silent_aspects(old, new))
    for aspect in rules:
        keeps = off and not aspect.binding
        yield aspect._replace(wider=True, narrower=True) if keeps else aspect


def _by_type(events: Mapping[str, EventRule]) -> dict[str, tuple[str, EventRule]]:
    """Return declared name and rule by the type that events are stored under."""
    found: dict[str, tuple[str, EventRule]] = {}
    for name, rule in events.items():
        found.setdefault(name.replace(".", "_"), (name, rule))
    return found


def _event_aspects(old: AggregateSchema, new: AggregateSchema) -> Iterator[Aspect]:
    before, after = _by_type(old.events), _by_type(new.events)
    for kind in sorted({*before, *after}):
        if kind not in before:
            yield Aspect(f"event {after[kind][0]} is declared now", *BACKWARD)
        elif kind not in after:
            yield Aspect(f"event {before[kind][0]} is not declared any more", *FORWARD)
        else:
            (old_name, old_rule), (name, rule) = before[kind], after[kind]
            if old_name != name:
                yield Aspect(f"event {old_name} is spelled {name} now", *BOTH)
            if old_rule.fields != rule.fields:
                demanded = _required(old) if rule.fields else _required(new)
                yield _list_aspect(name, old_rule.fields, rule.fields, demanded)
            yield from _rule_aspects(name, old_rule, rule)


def _required(schema: AggregateSchema) -> set[str]:
    return {name for name, column in schema.column_types.items() if column.required}


def _list_aspect(
    name: str, old: tuple[str, ...], new: tuple[str, ...], demanded: set[str]
) -> Aspect:
    """Return what another list of fields means.

    A list says all that an event demands and allows; required columns count where there is none.
    ``demanded`` are those of the side that has none.
    """
    if not new:
        return Aspect(f"event {name} takes any fields now", demanded <= {*old}, False)
    if not old:
        words = f"event {name} takes exactly its listed fields now: {', '.join(new)}"
        return Aspect(words, False, demanded <= {*new})
    # Each listed field is demanded, and no other allowed: the two have nothing in common.
    added, gone = sorted({*new} - {*old}), sorted({*old} - {*new})
    said = [f"demands {', '.join(added)}"] if added else []
    said += [f"does not allow {', '.join(gone)} any more"] if gone else []
    return Aspect(f"event {name} {' and '.join(said)}", *BREAKING)


def _rule_aspects(name: str, old: EventRule, new: EventRule) -> Iterator[Aspect]:
    if not same_upcasters(old.upcast, new.upcast):
        kept = len(old.upcast)
        if same_upcasters(old.upcast, new.upcast[:kept]):
            revision = new.revision
            yield Aspect(
                f"event {name} is at revision {revision} now, older ones are upcast", *BOTH
            )
        else:
            # Stored events name revisions; these would mean something else from now on.
            yield Aspect(
                f"event {name} has changed or lost upcasters that stored events rely on",
                *BREAKING,
                binding=True,
            )
    if old.notes != new.notes:
        yield Aspect(f"event {name} has another note (no effect on events)", *BOTH)


def _column_aspects(old: AggregateSchema, new: AggregateSchema) -> Iterator[Aspect]:
    before, after = old.column_types, new.column_types
    for name in sorted({*before, *after}):
        if name not in before:
            # With the first column, payloads must be objects.
            free = accepts_all(after[name]) and bool(before)
            flags = BOTH if free else FORWARD
            yield Aspect(f"column {name} is declared now ({_said(after[name])})", *flags)
        elif name not in after:
            free = accepts_all(before[name]) and bool(after)
            flags = BOTH if free else BACKWARD
            yield Aspect(f"column {name} is not declared any more", *flags)
        else:
            for aspect in column_aspects(before[name], after[name], name):
                yield _with_lists(aspect, old, new) if aspect.about_presence else aspect


def _said(column: Column) -> str:
    return f"{column.type}, required" if column.required else str(column.type)


def _with_lists(aspect: Aspect, old: AggregateSchema, new: AggregateSchema) -> Aspect:
    """Return what it means that a column is required now, or not any more.

    Nothing, where every event lists its fields: then the list alone says what must be there.
    """
    return aspect._replace(
        wider=aspect.wider or _all_listed(new),
        narrower=aspect.narrower or _all_listed(old),
    )


def _all_listed(schema: AggregateSchema) -> bool:
    return all(rule.fields for _name, rule in _by_type(schema.events).values())


def _silent_aspects(old: AggregateSchema, new: AggregateSchema) -> Iterator[Aspect]:
    """Yield what differs without an effect on what is accepted."""
    if old.snapshot_threshold != new.snapshot_threshold:
        yield Aspect("the snapshot threshold differs (no effect on events)", *BOTH)
    if old.hidden != new.hidden:
        word = "hidden from reads" if new.hidden else "shown to reads"
        yield Aspect(f"the aggregate is {word} now (no effect on events)", *BOTH)
    for name in sorted({*new.hidden_fields} - {*old.hidden_fields}):
        yield Aspect(f"field {name} is hidden from reads now (no effect on events)", *BOTH)
    for name in sorted({*old.hidden_fields} - {*new.hidden_fields}):
        yield Aspect(f"field {name} is shown to reads now (no effect on events)", *BOTH)

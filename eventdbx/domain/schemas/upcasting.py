"""Upcasting: how a payload written at an earlier revision of its event reads at the current one.

Pure: what is stored never changes, and neither does the argument. A step that finds nothing to
work on does nothing, so upcasting never fails, whatever old payloads hold:

- pointers lead through objects only; an array or a scalar on the way ends them;
- a move takes the member away and puts it at its target, over what is there, making objects on
  the way where nothing is; where a scalar or an array bars the way, the member stays;
- a default neither replaces a null nor makes objects on the way;
- a map replaces texts, numbers and booleans; null, objects and arrays stay.

No step copies, so a payload grows by what its event declares. Where that could be much the
result is measured, and a payload that would outgrow the limits stays as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from eventdbx import limits
from eventdbx.domain.canonical import JSON, deeper_than, dump, text_of
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Default,
    EventRule,
    Rename,
    Upcaster,
)

FOLD_MARK_BYTES = 8

Path = tuple[str, ...]
Object = dict[str, JSON]


class _Missing:
    """What is at a pointer that leads nowhere."""


_MISSING = _Missing()


def pointer_path(pointer: str) -> Path | None:
    """Return the keys that a JSON Pointer (RFC 6901) names, None when it is none.

    The empty path is the payload itself.
    """
    if not pointer:
        return ()
    if pointer[0] != "/" or "~" in pointer.replace("~0", "").replace("~1", ""):
        return None
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


class _Move(NamedTuple):
    source: Path
    target: Path

    def apply(self, payload: Object) -> Object:
        value = _at(payload, self.source)
        if isinstance(value, _Missing):
            return payload
        return _with(_without(payload, self.source), self.target, value, make=True) or payload


class _Put(NamedTuple):
    path: Path
    value: JSON

    def apply(self, payload: Object) -> Object:
        if not isinstance(_at(payload, self.path), _Missing):
            return payload
        return _with(payload, self.path, self.value, make=False) or payload


class _Map(NamedTuple):
    path: Path
    table: Mapping[str, JSON]
    has_otherwise: bool
    otherwise: JSON

    def apply(self, payload: Object) -> Object:
        value = _at(payload, self.path)
        if value is None or isinstance(value, _Missing | list | dict):
            return payload
        text = text_of(value)
        if text in self.table:
            return _with(payload, self.path, self.table[text], make=False) or payload
        if self.has_otherwise:
            return _with(payload, self.path, self.otherwise, make=False) or payload
        return payload


_Step = _Move | _Put | _Map


def _at(payload: Object, path: Path) -> JSON | _Missing:
    value: JSON = payload
    for key in path:
        if type(value) is not dict or key not in value:
            return _MISSING
        value = value[key]
    return value


def _without(payload: Object, path: Path) -> Object:
    """Return the payload without the member at a path that is there."""
    copy = result = dict(payload)
    for key in path[:-1]:
        inner = copy[key]
        assert type(inner) is dict
        copy[key] = inner = dict(inner)
        copy = inner
    del copy[path[-1]]
    return result


def _with(payload: Object, path: Path, value: JSON, *, make: bool) -> Object | None:
    """Return the payload with a value at a path, None when the way to it is barred.

    Objects on the way are copied, and with ``make`` made.
    """
    copy = result = dict(payload)
    for key in path[:-1]:
        inner = copy.get(key, _MISSING)
        if type(inner) is dict:
            inner = dict(inner)
        elif make and isinstance(inner, _Missing):
            inner = {}
        else:
            return None
        copy[key] = inner
        copy = inner
    copy[path[-1]] = value
    return result


def _compiled(upcaster: Upcaster) -> _Step | None:
    """Return the step of an upcaster; None for pointers that can name no member."""
    if isinstance(upcaster, Rename):
        source, target = pointer_path(upcaster.source), pointer_path(upcaster.target)
        return _Move(source, target) if source and target else None
    path = pointer_path(upcaster.path)
    if not path:
        return None
    if isinstance(upcaster, Default):
        return _Put(path, upcaster.value)
    return _Map(path, upcaster.table, upcaster.has_otherwise, upcaster.otherwise)


def _growth(step: _Step) -> tuple[int, int]:
    """Return how many bytes and levels one step adds to a payload at most."""
    if isinstance(step, _Move):
        return sum(len(dump(key)) + 6 for key in step.target), len(step.target)
    if isinstance(step, _Put):
        return len(dump(step.path[-1])) + len(dump(step.value)) + 2, _levels(step.value)
    values = [*step.table.values(), step.otherwise]
    return max(len(dump(one)) for one in values), max(map(_levels, values))


def _levels(value: JSON) -> int:
    levels = 0
    while deeper_than(value, levels):
        levels += 1
    return levels


class Upcasting:
    """The upcasters of one event, ready for use."""

    __slots__ = ("_bytes", "_levels", "_revisions", "revision")

    def __init__(self, rule: EventRule) -> None:
        self.revision = rule.revision
        self._revisions = [
            [step for step in map(_compiled, steps) if step is not None] for steps in rule.upcast
        ]
        growths = [_growth(step) for steps in self._revisions for step in steps]
        self._bytes = sum(one for one, _ in growths)
        self._levels = sum(one for _, one in growths)

    def apply(self, revision: int, payload: JSON) -> JSON:
        """Return a payload of some revision as of the current one; itself if nothing changes."""
        if type(payload) is not dict or not 0 < revision < self.revision:
            return payload
        result = payload
        for steps in self._revisions[revision - 1 :]:
            for step in steps:
                result = step.apply(result)
        if result is not payload and not self._fits(result):
            return payload
        return result

    def _fits(self, result: Object) -> bool:
        levels_max = limits.JSON_DEPTH_MAX + limits.UPCAST_LEVELS_MAX
        if self._levels > limits.UPCAST_LEVELS_MAX and deeper_than(result, levels_max):
            return False
        bytes_max = limits.PAYLOAD_BYTES_MAX + limits.UPCAST_BYTES_MAX
        return self._bytes <= limits.UPCAST_BYTES_MAX or len(dump(result)) <= bytes_max

    def origins(self, fields: frozenset[str]) -> frozenset[str]:
        """Return the top-level keys that hold, at this or an earlier revision, what the given
        ones hold now: the keys themselves, and those that moves took their content from."""
        found = set(fields)
        for steps in reversed(self._revisions):
            for step in reversed(steps):
                if isinstance(step, _Move) and step.target[0] in found:
                    found.add(step.source[0])
        return frozenset(found)


def upcast_payload(rule: EventRule, revision: int, payload: JSON) -> JSON:
    """Return how a payload of a revision (1: the first) reads at the rule's current one.

    The argument is never changed, and shared where nothing changes. A revision beyond the current
    one, of a schema that was taken back, is left alone.
    """
    return Upcasting(rule).apply(revision, payload)


def touched_fields(upcaster: Upcaster) -> frozenset[str]:
    """Return the top-level keys that an upcaster reads or changes."""
    if isinstance(upcaster, Rename):
        pointers = [upcaster.source, upcaster.target]
    else:
        pointers = [upcaster.path]
    return frozenset(path[0] for path in map(pointer_path, pointers) if path)


def revision_of(mark: bytes | None) -> int:
    """Return the revision in an event's schema mark; events without one are of revision 1."""
    return 1 if mark is None else int.from_bytes(mark[-2:], "big")


def fold_mark(schema: AggregateSchema) -> bytes:
    """Return what tells apart states folded with different upcasters; empty when there are none."""
    upcasters = {
        name.replace(".", "_"): [[_identity(one) for one in steps] for steps in rule.upcast]
        for name, rule in schema.events.items()
        if rule.upcast
    }
    if not upcasters:
        return b""
    return sha256(b"fold 1 " + dump(upcasters)).digest()[:FOLD_MARK_BYTES]


def _identity(upcaster: Upcaster) -> list[JSON]:
    if isinstance(upcaster, Rename):
        return ["move", upcaster.source, upcaster.target]
    if isinstance(upcaster, Default):
        return ["default", upcaster.path, upcaster.value]
    return ["map", upcaster.path, dict(upcaster.table), upcaster.has_otherwise, upcaster.otherwise]

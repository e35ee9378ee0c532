"""Reading upcasters, as events of the JSON model and of the schema language have them."""

from __future__ import annotations

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.members import (
    Members,
    Path,
    expected,
    fault,
    members_of,
    plain,
    string_of,
)
from eventdbx.domain.schemas.model import Default, MapValues, Rename, Upcaster


def read_upcast(
    value: JSON, path: Path = (), warnings: list[str] | None = None
) -> tuple[tuple[Upcaster, ...], ...]:
    """Return the upcasters of an event: for each revision but the last, its steps in order."""
    warnings = [] if warnings is None else warnings
    return tuple(
        tuple(_upcaster(step, where, warnings) for step, where in _entries(steps, inner))
        for steps, inner in _entries(value, path)
    )


def _entries(value: JSON, path: Path) -> list[tuple[JSON, Path]]:
    if not isinstance(value, list):
        raise expected("an array", value, path)
    return [(entry, (*path, str(at))) for at, entry in enumerate(value)]


def _upcaster(value: JSON, path: Path, warnings: list[str]) -> Upcaster:
    members = Members(value, path, warnings)
    found, where = members.need("op")
    name = string_of(found, where)
    step: Upcaster
    if name in ("rename", "move"):
        step = Rename(string_of(*members.need("from")), string_of(*members.need("to")))
    elif name == "default":
        step = Default(string_of(*members.need("path")), plain(members.need("value")[0]))
    elif name == "map":
        target = string_of(*members.need("path"))
        table = {old: plain(new) for old, new, _ in members_of(*members.need("values"))}
        otherwise = members.take("otherwise")
        step = (
            MapValues(target, table)
            if otherwise is None
            else MapValues(target, table, True, plain(otherwise[0]))
        )
    else:
        raise fault(f"unknown op '{name}', expected one of rename, move, default, map", where)
    members.close()
    return step

"""Names that can be declared but never met: events are written in snake_case only."""

from __future__ import annotations

import re

from eventdbx.domain.schemas.model import AggregateSchema

_SNAKE = re.compile(r"[a-z][a-z0-9_]*")
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")


def snake_case(name: str) -> str | None:
    """Return a name as it would be written in snake_case: ``patient-added``: ``patient_added``.

    None if nothing is left that is a name.
    """
    spaced = _SEPARATORS.sub("_", _WORD_STARTS.sub("_", name)).strip("_").lower()
    return spaced if _SNAKE.fullmatch(spaced) else None


def matches_events(name: str, *, dots: bool) -> bool:
    """Say whether events can have this name; event types may have dots between words."""
    words = name.split(".") if dots else [name]
    return all(_SNAKE.fullmatch(word) for word in words)


def name_warnings(old: AggregateSchema | None, new: AggregateSchema) -> list[str]:
    """Return a sentence for each name that is new and that no event can have."""
    warnings = []
    if old is None and not matches_events(new.aggregate, dots=False):
        warnings.append(_sentence("aggregate", new.aggregate, "aggregate types"))
    known = () if old is None else old.events
    warnings += [
        _sentence("event", name, "event types")
        for name in new.events
        if name not in known and not matches_events(name, dots=True)
    ]
    return warnings


def _sentence(noun: str, name: str, plural: str) -> str:
    better = snake_case(name)
    advice = f"; call it '{better}'" if better else ""
    return f"{noun} '{name}' can never match an event: {plural} are snake_case{advice}"

"""Which name was meant: hints for failures about something that is not there.

Failures come in the words of whoever found out, a server among them, so it is by these words that
they are recognised here. A hint is for people and for errors as documents; it is looked for only
when it will be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import click

from eventdbx.surfaces.cli import documented
from eventdbx.surfaces.cli.completing.completion import position_of
from eventdbx.surfaces.cli.completing.names import Names
from eventdbx.surfaces.cli.failures import Failure

_NAMED = (
    (re.compile(r"no remote named '([^']+)'"), "remote"),
    (re.compile(r"no (?:[a-z]+ )?plugin named '([^']+)'"), "plugin"),
    (re.compile(r"no context named '([^']+)'"), "context"),
    (re.compile(r"(?i)(?:domain|tenant) '([^']+)' (?:does not exist|is not known)"), "domain"),
    (re.compile(r"(?:domain|tenant) '([^']+)' not found"), "domain"),
)
_EVENT = re.compile(r"event (?:type )?'?([^\s']+)'? is not defined for aggregate '?([^\s']+?)'?$")
_NO_AGGREGATE = re.compile(r"aggregate (?:not found|\S+::\S+ does not exist)|schema not found")

_NEAR = 0.6
_LETTERS_TRUSTED = 2
"""So many letters at the beginning of an id are taken to be right."""


def hint_for(context: click.Context, failure: Failure, args: Sequence[str]) -> str | None:
    """Return what was probably meant, in front of the hint that the failure has.

    ``context`` is that of the root, ``args`` the command line.
    """
    assert isinstance(context.command, click.Group)
    words = position_of(context.command, args).words
    meant = _meant(context, failure, args)
    if meant is None and failure.hint is None:
        return documented.hint_of(failure.message, args, words)
    if meant is None or meant in (failure.hint or ""):
        return failure.hint
    return f"{meant} {failure.hint}" if failure.hint else meant


def _meant(context: click.Context, failure: Failure, args: Sequence[str]) -> str | None:
    names = Names(context)
    texts = (failure.message, *failure.causes)
    for text in texts:
        for pattern, kind in _NAMED:
            found = pattern.search(text)
            if found is not None:
                return _nearest(found[1], names.of(kind))
        found = _EVENT.search(text)
        if found is not None:
            return _nearest(found[1], names.of("event", within=found[2]))
    assert isinstance(context.command, click.Group)
    place = position_of(context.command, args)
    if place.instead_of_command is not None:
        word, commands = place.instead_of_command
        hint = _nearest(word, commands)
        if hint is not None:
            return hint
    if any(_NO_AGGREGATE.search(text) for text in texts):
        return _aggregate(names, place.words)
    return None


def _aggregate(names: Names, words: Sequence[str]) -> str | None:
    """Return the type that was meant, or the id if there is such a type."""
    if not words:
        return None
    types = names.of("type")
    if words[0] not in types:
        return _nearest(words[0], types)
    if len(words) < 2:
        return None
    begin = words[1][:_LETTERS_TRUSTED]
    return _nearest(words[1], names.of("aggregate", within=words[0], begin=begin))


def _nearest(word: str, names: Iterable[str]) -> str | None:
    near = get_close_matches(word, [name for name in names if name != word], 1, _NEAR)
    return f"did you mean '{near[0]}'?" if near else None

"""Spellings that documents show, and that no program ever had: what they mean, or what to use.

Whoever copies a line of such a document gets what it was about, or the name of the command that
does it. Keys are the words behind ``dbx``, without options.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SPELLINGS: dict[str, str] = {
    "aggregate events": "events",
    "aggregate snapshot rebuild": "snapshots create",
    "aggregate snapshot show": "snapshots list",
    "integrity scan": "aggregate verify --all",
    "restrict set strict": "config --set restrict=strict",
    "restrict set default": "config --set restrict=default",
    "restrict set permissive": "config --set restrict=off",
    "restrict set off": "config --set restrict=off",
}
"""Command lines that mean others: the beginning of a line, and what stands in its place."""

NEEDED = {"aggregate snapshot rebuild": 2, "aggregate snapshot show": 2}
"""How many words must follow: ``aggregate snapshot rebuild 7`` is the snapshot of a ``rebuild``."""

INSTEAD: dict[str, str] = {
    "aggregate proof": "try `dbx proof aggregate`",
    "aggregate repair": "`dbx verify` finds what is damaged, `dbx restore` brings a backup back",
    "aggregate tombstone": "try `dbx aggregate archive`, or `dbx erase` for what events say",
    "integrity": "try `dbx verify`",
    "restrict": "try `dbx config --set restrict=strict`, or off, or default",
    "schema column": "try `dbx schema field`",
    "schema lint": "try `dbx schema compat`",
    "schema rule": "try `dbx schema field`",
    "snapshot": "try `dbx snapshots`",
    "snapshot export": "try `dbx snapshots list --json`",
    "snapshot prune": "snapshots are kept; try `dbx snapshots list`",
    "validator": "try `dbx schema validate`",
}
"""Words that are no commands, and the real command that comes nearest."""

INSTEAD_OF_OPTION: dict[tuple[str, str], str] = {
    ("backup", "--aggregates"): "an archive holds everything; single aggregates are written by "
    "`dbx aggregate export`",
}
"""The same for options: by command and flag, what to say."""


def meant_by(path: str, words: Sequence[str]) -> list[str] | None:
    """Return the words of a whole line in place of those that a group got, if it knows them."""
    for known, meant in SPELLINGS.items():
        own = known.removeprefix(f"{path} ").split() if path else known.split()
        if path and not known.startswith(f"{path} ") or list(words[: len(own)]) != own:
            continue
        rest = list(words[len(own) :])
        follow = [one for one in rest if not one.startswith("-")]
        if len(follow) >= NEEDED.get(known, 0):
            return [*meant.split(), *rest]
    return None


def instead_of(path: str, words: Sequence[str]) -> str | None:
    """Return what to try instead of a word that is no command, with its second word if known."""
    for count in (2, 1):
        found = INSTEAD.get(" ".join([*path.split(), *words[:count]]))
        if found is not None and len(words) >= count:
            return found
    return None


_EVENT_TYPE = "event_type must be lowercase snake_case"
_NOT_THERE = re.compile(r"^aggregate (\S+)::(\S+) does not exist$")
_NO_COLUMN = "has no column type; set --type before editing rules"


def hint_of(message: str, args: Sequence[str], positionals: Sequence[str]) -> str | None:
    """Return what helps against a refusal that documents lead into.

    ``positionals`` are the words of the line that are no options, behind those of the command.
    """
    if _EVENT_TYPE in message:
        event = _option(args, "--event") or (positionals[2] if len(positionals) > 2 else "")
        valid = re.sub(r"[^a-z0-9_.]+", "_", event.lower())
        return f"call it '{valid}'" if event.strip() else None
    found = _NOT_THERE.match(message)
    if found is not None:
        return f"create it with `dbx aggregate create {found[1]} {found[2]} --event EVENT`"
    if _NO_COLUMN in message:
        if _option(args, "--properties") is not None:
            return "add `--type object`"
        ranged = any(_option(args, flag) is not None for flag in ("--range-min", "--range-max"))
        return f"add `--type {'integer' if ranged else 'text'}`"
    return None


def _option(args: Sequence[str], flag: str) -> str | None:
    for place, word in enumerate(args):
        if word == flag and place + 1 < len(args):
            return args[place + 1]
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return None

"""What may come next on a command line: commands, options, their values, names that exist.

The line is read as :mod:`eventdbx.surfaces.cli.arguments` reads it, but nothing is checked: what
is not understood is passed over. How shells ask is in
:mod:`eventdbx.surfaces.cli.completing.command`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from eventdbx.surfaces.cli.arguments import Argument, takes_value
from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.completing.names import Names
from eventdbx.surfaces.cli.helptext import possible_values

FILES = "files"
FOLDERS = "folders"

_OF_FOLDERS = ("data_dir", "working_dir")
_FILES = ("FILE", "PATH", "CONFIG", "OUTPUT", "SOURCE", "INPUT", "SIZE|FILE", "SHARD_MAP_PATH")

_BY_PARAMETER = {
    "aggregate": "type",
    "aggregate_type": "type",
    "aggregates": "type",
    "reference_aggregate": "type",
    "target": "type",
    "aggregate_id": "aggregate",
    "event": "event",
    "events": "event",
    "plugin": "plugin",
    "publish": "plugin",
    "domain": "domain",
    "tenant": "domain",
    "tenants": "domain",
    "reference_tenant": "domain",
    "remote": "remote",
    "context": "context",
    "key": "key",
    "assigned": "key",
    "removed": "key",
}
"""What parameters stand for, by their names, wherever they are."""

_BY_COMMAND = {
    ("plugin", "name"): "plugin",
    ("plugin", "names"): "plugin",
    ("plugin", "other"): "plugin",
    ("queue", "name"): "plugin",
    ("remote", "name"): "remote",
    ("push", "name"): "remote",
    ("pull", "name"): "remote",
    ("context", "name"): "context",
    ("checkout", "name"): "domain",
    ("checkout", "named"): "domain",
    ("domain", "name"): "domain",
    ("schema show", "tenant"): "type",
    ("merge", "source"): "domain",
    ("merge", "target"): "domain",
    ("tenant", "tenant"): "domain",
    ("import", "event_type"): "event",
}
"""What parameters stand for below one command, or one subcommand."""

_FRESH = frozenset(
    (
        "plugin config", "plugin install", "plugin uninstall", "remote add", "context add",
        "domain create", "schema create",
    )
)  # fmt: skip
"""Commands that make what they name: names that exist are of no use there."""

_NOT_THESE = frozenset(
    (
        ("remote", "target"), ("checkout", "remote"), ("events", "event"),
    )
)  # fmt: skip


class Candidate(NamedTuple):
    """A word that may come next, with what it is for."""

    value: str
    about: str = ""


class Answer(NamedTuple):
    """What may come next; ``paths`` is FILES or FOLDERS where the shell knows better."""

    candidates: list[Candidate]
    paths: str | None = None


def complete(root: click.Group, words: Sequence[str], begun: str) -> Answer:
    """Return what may stand where ``begun`` is begun, after the words."""
    line = _Line(root)
    for word in words:
        line.take(word)
    answer = line.answer(begun)
    kept = {one.value: one for one in answer.candidates if one.value.startswith(begun)}
    return Answer(list(kept.values()), answer.paths)


class Position(NamedTuple):
    """Where a command line is: its positional words, and a word that took a subcommand's place,
    with the subcommands that there are."""

    words: list[str]
    instead_of_command: tuple[str, list[str]] | None


def position_of(root: click.Group, args: Sequence[str]) -> Position:
    """Return where a whole command line is."""
    line = _Line(root)
    for word in args:
        line.take(word)
    return Position(line.positionals, line.instead_of_command)


class _Line:
    """How far a command line was read."""

    def __init__(self, root: click.Group) -> None:
        self._root = click.Context(root, info_name="dbx")
        self._command: click.Command = root
        self._path: list[str] = []
        self._waiting: click.Parameter | None = None
        self._ended = False
        self.positionals: list[str] = []
        self.instead_of_command: tuple[str, list[str]] | None = None
        self._given: set[str] = set()

    def take(self, word: str) -> None:
        """Read one word."""
        if self._waiting is not None:
            self._keep(self._waiting, word)
            self._waiting = None
        elif self._ended or not word.startswith("-") or word == "-":
            self._positional(word)
        elif word == "--":
            self._ended = True
        else:
            self._option(word)

    def _option(self, word: str) -> None:
        flag, glued, value = word.partition("=")
        if not word.startswith("--"):
            flag, value = word[:2], word[2:].removeprefix("=")
            glued = value
        parameter = self._flags().get(flag)
        if parameter is None:
            return
        self._given.add(parameter.name or "")
        if not takes_value(parameter):
            return
        if glued:
            self._keep(parameter, value)
        else:
            self._waiting = parameter

    def _positional(self, word: str) -> None:
        command = self._command
        if not isinstance(command, click.Group):
            self.positionals.append(word)
            return
        found = command.get_command(self._root, getattr(command, "aliases", {}).get(word, word))
        if found is None and isinstance(command, DbxGroup):
            # A group may take the word for a name: `dbx schema order`.
            try:
                _name, found, _rest = command.resolve_command(self._root, [word])
            except Exception:  # Whatever the group says of it, there is nothing to complete.
                found = None
            if found is not None:
                self.positionals.append(word)
                self.instead_of_command = word, command.list_commands(self._root)
        if found is None:
            self._command = click.Command("unknown")
            return
        self._command = found
        self._path.append(word)

    def _keep(self, parameter: click.Parameter, value: str) -> None:
        """Keep what the options of the root say: names are looked up by it."""
        shared = any(parameter is one for one in self._root.command.params)
        if shared and parameter.name is not None and parameter.name != "token_stdin":
            self._root.params[parameter.name] = value
        elif isinstance(parameter, Argument):
            self.positionals.append(value)

    def _flags(self) -> dict[str, click.Parameter]:
        """Return the options that may be given here, by how they are written."""
        found: dict[str, click.Parameter] = {}
        for parameter in (*self._root.command.params, *self._command.params):
            if isinstance(parameter, Argument) and parameter.spelled is not None:
                found[parameter.spelled] = parameter
            elif isinstance(parameter, click.Option):
                found |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), parameter)
        return found

    def answer(self, begun: str) -> Answer:
        """Return what may come next."""
        if self._waiting is not None:
            return self._values(self._waiting, begun)
        if not self._ended and begun.startswith("-") and begun != "-":
            flag, glued, value = begun.partition("=")
            parameter = self._flags().get(flag)
            if glued and parameter is not None:
                found = self._values(parameter, value)
                lead = [Candidate(f"{flag}={one.value}", one.about) for one in found.candidates]
                return Answer(lead, found.paths)
            return Answer(list(self._options()))
        if isinstance(self._command, click.Group):
            return self._subcommands(begun)
        positionals = [one for one in self._command.params if isinstance(one, click.Argument)]
        place = min(len(self.positionals), len(positionals) - 1)
        if place < 0 or len(self.positionals) > place and positionals[place].nargs != -1:
            return Answer([])
        return self._values(positionals[place], begun)

    def _subcommands(self, begun: str) -> Answer:
        command = self._command
        assert isinstance(command, click.Group)
        rows = command.phrases(self._root) if isinstance(command, DbxGroup) else []
        found = [Candidate(name, phrase) for name, phrase in rows]
        if self._path == ["schema"]:
            found += [Candidate(name, "") for name in self._names("type", begun)]
        return Answer(found)

    def _options(self) -> Iterator[Candidate]:
        for flag, parameter in self._flags().items():
            if not flag.startswith("--") or isinstance(parameter, Argument):
                continue
            assert isinstance(parameter, click.Option)
            if parameter.hidden or (parameter.name in self._given and not parameter.multiple):
                continue
            yield Candidate(flag, parameter.help or "")
        yield Candidate("--help", "Print help")

    def _values(self, parameter: click.Parameter, begun: str) -> Answer:
        words = possible_values(parameter.type)
        if words:
            return Answer([Candidate(word) for word in words])
        if begun.startswith("@"):
            return Answer([], FILES)
        if parameter.name in _OF_FOLDERS or parameter.metavar == "DIR":
            return Answer([], FOLDERS)
        if parameter.metavar in _FILES or parameter.name in ("file", "path"):
            return Answer([], FILES)
        kind = self._kind(parameter)
        if kind is not None:
            end = "=" if parameter.name == "assigned" else ""
            return Answer([Candidate(name + end) for name in self._names(kind, begun)])
        return Answer([])

    def _kind(self, parameter: click.Parameter) -> str | None:
        command, name = self._path[0] if self._path else "", parameter.name or ""
        within = " ".join(self._path[:2])
        if any(" ".join(self._path[:count]) in _FRESH for count in (1, 2)):
            return _BY_PARAMETER.get(name) if isinstance(parameter, click.Option) else None
        if (command, name) in _NOT_THESE:
            return None
        special = _BY_COMMAND.get((within, name)) or _BY_COMMAND.get((command, name))
        return special or _BY_PARAMETER.get(name)

    def _names(self, kind: str, begun: str) -> list[str]:
        within = self.positionals[0] if self.positionals else None
        return Names(self._root).of(kind, within=within, begin=begun)

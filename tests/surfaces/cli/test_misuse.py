"""Every command, with everything that can be wrong about a command line, found by reflection.

Each wrong line ends with the status of wrong usage and one message that names what is wrong, and
leaves every file of the home as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import click

from eventdbx.surfaces.cli.arguments import spelling, takes_value
from eventdbx.surfaces.cli.root import OPTIONS
from eventdbx.surfaces.cli.values import KeyValue
from tests.examples.tree import commands
from tests.surfaces.command_line import CommandLineCase

NO_VALUE = "::::"
"""What no type of values takes that takes not every text."""

ANY_TEXT = (click.types.StringParamType, click.Path)
LAST = "For more information, try '--help'."


class Wrong(NamedTuple):
    """A wrong command line, and what its message must begin with."""

    words: tuple[str, ...]
    first: str


class Shape:
    """A command, and how a good line for it looks as far as usage goes."""

    def __init__(self, path: str, command: click.Command) -> None:
        self.words = tuple(path.split())
        self.command = command

    @cached_property
    def options(self) -> list[click.Option]:
        """Its visible options."""
        return [
            one for one in self.command.params if isinstance(one, click.Option) and not one.hidden
        ]

    @cached_property
    def required(self) -> list[click.Parameter]:
        """What must be given."""
        return [one for one in self.command.params if one.required]

    def filled(self, left_out: click.Parameter | None = None) -> list[str]:
        """Return the words of a line with all that is required, but for one parameter."""
        words = list(self.words)
        for one in self.required:
            if one is not left_out:
                words += [
                    *([flag_of(one)] if isinstance(one, click.Option) else []),
                    good_value(one),
                ]
        return words

    def wrong(self) -> Iterator[Wrong]:
        """Yield wrong lines of every kind that there is for this command."""
        yield Wrong((*self.filled(), "--no-such-option"), "unexpected argument '--no-such-option'")
        yield Wrong(
            (*self.filled(), "--no-such-option=1"), "unexpected argument '--no-such-option'"
        )
        yield Wrong((*self.filled(), "\udcff"), "invalid UTF-8 was detected")
        if isinstance(self.command, click.Group):
            if not self.command.invoke_without_command and self.words not in ((), ("schema",)):
                yield Wrong((*self.words, "no-such-command"), "unrecognized subcommand")
        elif not any(one.nargs == -1 for one in self.command.params):
            every = [
                good_value(one) for one in self.command.params if isinstance(one, click.Argument)
            ]
            options = self.filled(None)[len(self.words) :]
            given = [one for one in options if one.startswith("-")]
            if not given:
                line = (*self.words, *every, "surplus")
                yield Wrong(line, "unexpected argument 'surplus' found")
        if not isinstance(self.command, click.Group):
            for one in self.required:
                line = tuple(self.filled(left_out=one))
                if one.nargs != -1 or line == self.words:
                    yield Wrong(line, "the following required arguments were not provided")
        for option in self.options:
            yield from self.wrong_option(option)
        yield from self._combinations()

    def wrong_option(self, option: click.Option) -> Iterator[Wrong]:
        """Yield what can be wrong about one option."""
        flag, line = flag_of(option), self.filled(left_out=option)
        if not takes_value(option):
            yield Wrong((*line, f"{flag}=false"), "unexpected value 'false' for")
            if not option.count:
                again = f"the argument '{spelling(option)}' cannot be used multiple times"
                yield Wrong((*line, flag, flag), again)
            return
        if not getattr(option, "_flag_needs_value", False):
            yield Wrong((*line, flag), f"a value is required for '{spelling(option)}' but none")
        if not option.multiple:
            again = f"the argument '{spelling(option)}' cannot be used multiple times"
            yield Wrong((*line, f"{flag}=1", f"{flag}=2"), again)
        if not isinstance(option.type, ANY_TEXT):
            refused = f"invalid value '{NO_VALUE}' for '{spelling(option)}'"
            named = {one.name: one for one in self.options}
            for name in sorted(getattr(option, "requires", ())):
                line += _given(named[name])
            yield Wrong((*line, f"{flag}={NO_VALUE}"), refused)

    def _combinations(self) -> Iterator[Wrong]:
        named = {one.name: one for one in self.options}
        for one in self.options:
            for name in sorted(getattr(one, "conflicts", ()) & named.keys()):
                both = (*self.words, *_given(one), *_given(named[name]))
                yield Wrong(both, f"the argument '{spelling(one)}' cannot be used with")
            for _name in getattr(one, "requires", ()):
                alone = (*self.words, *_given(one))
                yield Wrong(alone, "the following required arguments were not provided")


def flag_of(option: click.Parameter) -> str:
    """Return the long spelling of an option."""
    return next((one for one in option.opts if one.startswith("--")), option.opts[0])


def _given(option: click.Option) -> list[str]:
    return [f"{flag_of(option)}={good_value(option)}" if takes_value(option) else flag_of(option)]


def good_value(parameter: click.Parameter) -> str:
    """Return a value that the type of a parameter takes."""
    kind: Any = parameter.type
    if isinstance(kind, click.Choice):
        return str(kind.choices[0])
    if isinstance(kind, KeyValue):
        return "a=1"
    return str(getattr(kind, "words", ("1",))[0])


def digests(home: Path) -> dict[str, str]:
    """Return what every file of a folder is, by name."""
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file() and not path.is_symlink()
        else path.lstat().st_mode.__format__("o")
        for path in sorted(home.rglob("*"))
    }


class Misused(CommandLineCase):
    """A home with some data."""

    def setUp(self) -> None:
        super().setUp()
        self.create("order", "o-1")
        self.dbx("config", "--list-page-size", "7")

    def refused(self, wrong: Wrong) -> str | None:
        """Run a wrong line; return what is the matter with how it ended."""
        ended = self.attempt(*wrong.words)
        lines = ended.stderr.splitlines()
        if ended.status != 2 or ended.stdout or not lines or lines[-1] != LAST:
            return f"{wrong.words}: {ended}"
        if not lines[0].startswith(f"error: {wrong.first}"):
            return f"{wrong.words}: {lines[0]!r} instead of {wrong.first!r}"
        if sum(line.startswith(("error: ", "Error: ")) for line in lines) != 1:
            return f"{wrong.words}: more than one message: {ended.stderr}"
        return None

    def test_everything(self) -> None:
        """Every kind of wrong line of every command."""
        before, count = digests(self.home), 0
        bad: list[str] = []
        for path, command in commands():
            for wrong in Shape(path, command).wrong():
                found = self.refused(wrong)
                count += 1
                if found is not None:
                    bad.append(found)
            self.assertEqual(digests(self.home), before, path)
        self.assertEqual(bad, [])
        self.assertGreater(count, 1000, "the reflection finds the commands")

    def test_shared_options(self) -> None:
        """The options of every command, behind one of them."""
        behind = Shape("aggregate list", click.Command("list", params=list(OPTIONS)))
        before = digests(self.home)
        bad = [
            found
            for option in behind.options
            if option.name not in ("verbose", "token_stdin")
            for wrong in behind.wrong_option(option)
            if (found := self.refused(wrong)) is not None
        ]
        self.assertEqual(bad, [])
        self.assertEqual(digests(self.home), before)

    def test_unknown_words(self) -> None:
        """Words that are no command, where they fail with status 1."""
        before = digests(self.home)
        for words in (("no-such-command",), ("no-such-command", "--json"), ("schema", "nothing"),
                      ("schema", "nothing", "at", "all")):  # fmt: skip
            said = self.failed(*words)
            self.assertEqual(said.count("Error: "), 1)
        self.assertEqual(digests(self.home), before)

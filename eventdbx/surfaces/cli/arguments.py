"""How a command line is read: options and positionals in any order, nothing guessed.

The rules are those that scripts know: long options are never abbreviated, flags take no value, a
value does not begin with ``-`` unless it is glued with ``=`` (``-`` alone is a value), an option
given twice is refused unless it is repeatable, ``--`` ends options. Values are converted and
checked by click's parameters, in :mod:`eventdbx.surfaces.cli.commands`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from eventdbx.surfaces.cli.documented import INSTEAD_OF_OPTION
from eventdbx.surfaces.cli.failures import UsageFailure


class Option(click.Option):
    """An option that says which others (by parameter name) it excludes, needs or replaces."""

    def __init__(
        self,
        *args: Any,
        conflicts: Iterable[str] = (),
        requires: Iterable[str] = (),
        replaces: Iterable[str] = (),
        dashed_value: bool = False,
        **kwargs: Any,
    ) -> None:
        self.conflicts = frozenset(conflicts)
        self.requires = frozenset(requires)
        self.replaces = frozenset(replaces)
        self.dashed_value = dashed_value
        super().__init__(*args, **kwargs)


class Argument(click.Argument):
    """A positional, which documents also spell as an option (``spelled``), and its help text."""

    def __init__(
        self, *args: Any, spelled: str | None = None, help: str = "", **kwargs: Any
    ) -> None:
        self.spelled = spelled
        super().__init__(*args, **kwargs)
        # After click's own, which knows a help of arguments in some versions.
        self.help = help


class HelpWanted(Exception):
    """``-h`` or ``--help`` was met; everything else on the line is ignored."""


class Scan:
    """What one command (or group) finds on its line.

    ``values`` maps parameter names to texts, tuples of texts (repeatable options) or what a flag
    stands for; ``given`` lists the options in the order of the line; ``rest`` is what a group
    leaves to its subcommand.
    """

    def __init__(
        self,
        own: Sequence[click.Parameter],
        shared: Sequence[click.Parameter],
        *,
        group: bool,
        usage: str,
        path: str = "",
    ) -> None:
        self.values: dict[str, Any] = {}
        self.shared_values: dict[str, Any] = {}
        self.given: list[click.Parameter] = []
        self.rest: list[str] = []
        self._group = group
        self._usage = usage
        self._path = path
        self._by_flag: dict[str, tuple[click.Parameter, bool]] = {}
        for parameter in shared:
            self._index(parameter, True)
        for parameter in own:
            self._index(parameter, False)
        self._positionals = [one for one in own if isinstance(one, click.Argument)]
        self._words: list[str] = []

    def _index(self, parameter: click.Parameter, shared: bool) -> None:
        if isinstance(parameter, Argument) and parameter.spelled is not None:
            self._by_flag.setdefault(parameter.spelled, (parameter, shared))
        if isinstance(parameter, click.Option):
            for flag in (*parameter.opts, *parameter.secondary_opts):
                self._by_flag[flag] = (parameter, shared)

    def read(self, args: Sequence[str]) -> None:
        """Read a whole line. Raises UsageFailure and HelpWanted."""
        rest = list(args)
        while rest:
            word = rest.pop(0)
            if word == "--":
                self._words += rest
                break
            if word.startswith("--"):
                self._long(word, rest)
            elif word.startswith("-") and word != "-":
                self._short(word, rest)
            elif self._group:
                self.rest = [word, *rest]
                return
            else:
                self._words.append(word)
        if self._group:
            self.rest = self._words
        else:
            self._place_words()

    def _place_words(self) -> None:
        words = self._words
        for parameter in self._positionals:
            assert parameter.name is not None
            if parameter.nargs == -1:
                if words:
                    self.values[parameter.name] = (*self.values.get(parameter.name, ()), *words)
                words = []
                continue
            if parameter.name in self.values:
                continue
            if words:
                self.values[parameter.name] = words.pop(0)
        if words:
            raise self.unexpected(words[0])

    def replaced(self) -> frozenset[str]:
        """Return the names of parameters that options on the line stand for.

        Raises UsageFailure when one of these is there as well.
        """
        found: set[str] = set()
        for one in self.given:
            for parameter in self._positionals:
                if parameter.name in self.values and parameter.name in _names(one, "replaces"):
                    raise UsageFailure(
                        f"the argument '{spelling(one)}' cannot be used with "
                        f"'{spelling(parameter)}'",
                        usage=self._usage,
                    )
            found |= _names(one, "replaces")
        return frozenset(found)

    def unexpected(self, word: str, tip: str | None = None) -> UsageFailure:
        """Return the failure for a word that has no place on this line."""
        return UsageFailure(f"unexpected argument '{word}' found", usage=self._usage, tip=tip)

    def _long(self, word: str, rest: list[str]) -> None:
        flag, glued, value = word.partition("=")
        found = self._by_flag.get(flag)
        if found is None:
            if flag == "--help":
                raise HelpWanted
            raise self.unexpected(flag, self._tip(flag))
        self._take(*found, flag, value if glued else None, rest)

    def _tip(self, flag: str) -> str | None:
        instead = INSTEAD_OF_OPTION.get((self._path, flag))
        if instead is not None:
            return instead
        from difflib import get_close_matches

        close = get_close_matches(flag, [one for one in self._by_flag if one.startswith("--")], 1)
        if close:
            return f"a similar argument exists: '{close[0]}'"
        return f"to pass '{flag}' as a value, use '-- {flag}'" if self._positionals else None

    def _short(self, word: str, rest: list[str]) -> None:
        letters = word[1:]
        while letters:
            flag, letters = "-" + letters[0], letters[1:]
            found = self._by_flag.get(flag)
            if found is None:
                if flag == "-h":
                    raise HelpWanted
                raise self.unexpected(flag)
            parameter, shared = found
            if letters and takes_value(parameter):
                self._take(parameter, shared, flag, letters.removeprefix("="), rest)
                return
            if letters.startswith("="):
                self._take(parameter, shared, flag, letters[1:], rest)
                return
            self._take(parameter, shared, flag, None, rest)

    def _take(
        self,
        parameter: click.Parameter,
        shared: bool,
        flag: str,
        glued: str | None,
        rest: list[str],
    ) -> None:
        values = self.shared_values if shared else self.values
        name = parameter.name
        assert name is not None
        if takes_value(parameter):
            value: Any = self._value(parameter, glued, rest)
        elif glued is not None:
            raise UsageFailure(
                f"unexpected value '{glued}' for '{flag}' found; no more were expected",
                usage=self._usage,
            )
        else:
            value = _flag_value(parameter, flag)
        if getattr(parameter, "count", False):
            value = values.get(name, 0) + 1
        elif parameter.multiple or parameter.nargs == -1:
            value = (*values.get(name, ()), value)
        elif name in values:
            raise UsageFailure(
                f"the argument '{spelling(parameter)}' cannot be used multiple times",
                usage=self._usage,
            )
        values[name] = value
        if parameter not in self.given:
            self.given.append(parameter)

    def _value(self, parameter: click.Parameter, glued: str | None, rest: list[str]) -> Any:
        if glued is not None:
            return glued
        dashed_value = getattr(parameter, "dashed_value", False)
        if rest and (dashed_value or not rest[0].startswith("-") or rest[0] == "-"):
            return rest.pop(0)
        if _value_optional(parameter):
            assert isinstance(parameter, click.Option)
            return parameter.flag_value
        if rest and rest[0] != "--" and rest[0].partition("=")[0] not in self._by_flag:
            raise self.unexpected(rest[0], f"to pass '{rest[0]}' as a value, use '-- {rest[0]}'")
        raise UsageFailure(f"a value is required for '{spelling(parameter)}' but none was supplied")

    def check_combinations(self) -> None:
        """Raise UsageFailure for options that exclude each other or lack their companion."""
        for place, one in enumerate(self.given):
            for other in self.given[place + 1 :]:
                excluded = other.name in _names(one, "conflicts")
                if excluded or one.name in _names(other, "conflicts"):
                    raise UsageFailure(
                        f"the argument '{spelling(one)}' cannot be used with '{spelling(other)}'",
                        usage=self._usage,
                    )
        given = {one.name for one in self.given}
        by_name = {one.name: one for one, _shared in self._by_flag.values()}
        missing = [
            by_name[name] for one in self.given for name in sorted(_names(one, "requires") - given)
        ]
        if missing:
            raise missing_arguments(missing, self._usage)


def missing_arguments(parameters: Sequence[click.Parameter], usage: str) -> UsageFailure:
    """Return the failure for arguments that had to be given."""
    lines = "".join(f"\n  {spelling(one)}" for one in parameters)
    return UsageFailure(f"the following required arguments were not provided:{lines}", usage=usage)


def takes_value(parameter: click.Parameter) -> bool:
    """Say whether a value follows; every positional that is spelled as an option takes one."""
    if isinstance(parameter, click.Option):
        return not parameter.is_flag and not parameter.count
    return True


def _value_optional(parameter: click.Parameter) -> bool:
    # click knows options whose value may be left out only by this attribute.
    return bool(getattr(parameter, "_flag_needs_value", False))


def _flag_value(parameter: click.Parameter, flag: str) -> Any:
    assert isinstance(parameter, click.Option)
    if flag in parameter.secondary_opts:
        return False
    return True if parameter.is_bool_flag or parameter.count else parameter.flag_value


def _names(parameter: click.Parameter, attribute: str) -> frozenset[str]:
    return getattr(parameter, attribute, None) or frozenset()


def value_name(parameter: click.Parameter) -> str:
    """Return what stands for the value in usage lines, without brackets."""
    name = parameter.metavar or (parameter.name or "").upper()
    return name.strip("<>")


def spelling(parameter: click.Parameter) -> str:
    """Return a parameter as messages name it: ``--take <TAKE>``, ``--json``, ``<EVENT>``."""
    if not isinstance(parameter, click.Option):
        dots = "..." if parameter.nargs == -1 else ""
        return f"<{value_name(parameter)}>{dots}"
    longs = [flag for flag in parameter.opts if flag.startswith("--")]
    flag = (longs or parameter.opts)[0]
    if not takes_value(parameter):
        return flag
    if _value_optional(parameter):
        return f"{flag} [<{value_name(parameter)}>]"
    return f"{flag} <{value_name(parameter)}>"

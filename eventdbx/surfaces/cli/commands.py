"""Commands and groups in click's frame with our own reading of the line, errors and help.

The reading itself is in :mod:`eventdbx.surfaces.cli.arguments`. Commands are declared with
click's decorators; ``examples`` is the one thing that each must say besides.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from eventdbx.surfaces.cli import documented
from eventdbx.surfaces.cli.arguments import (
    HelpWanted,
    Scan,
    missing_arguments,
    spelling,
    takes_value,
)
from eventdbx.surfaces.cli.failures import (
    EXIT_DONE,
    EXIT_USAGE,
    Failure,
    Stop,
    UsageFailure,
)
from eventdbx.surfaces.cli.helptext import help_page, possible_values, usage_line

_UNSET = getattr(click.core, "UNSET", None)
"""What newer versions of click keep for an option that was not given."""


class DbxCommand(click.Command):
    """A command without subcommands.

    ``columns`` are what a table or CSV shows of its documents, nested members as ``a.b``; without
    them it shows whatever is no object or list.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        columns: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        kwargs["add_help_option"] = False
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.columns = tuple(columns)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the line into ``ctx.params``. Raises UsageFailure, Stop after help."""
        _read_line(self, ctx, args, group=False)
        return []

    def get_help(self, ctx: click.Context) -> str:
        """Return the help page."""
        return help_page(ctx.command_path, self, examples=self.examples)


class DbxGroup(click.Group):
    """A command with subcommands. Without one it shows its help on stderr.

    ``modules`` maps a subcommand to the module that declares it and to its phrase. The module has
    ``register(group)``, which adds its commands, and is imported when one of them is called.
    """

    command_class = DbxCommand

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        aliases: dict[str, str] | None = None,
        modules: Mapping[str, tuple[str, str]] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs["add_help_option"] = False
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.aliases = aliases or {}
        self.modules = modules or {}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing its module the first time."""
        if cmd_name not in self.commands and cmd_name in self.modules:
            import_module(self.modules[cmd_name][0]).register(self)
        return self.commands.get(cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options in front of the subcommand. Raises UsageFailure, Stop after help."""
        rest = _read_line(self, ctx, args, group=True)
        if not rest and not self.invoke_without_command:
            sys.stderr.write(self.get_help(ctx))
            raise Stop(EXIT_USAGE)
        ctx.args = rest
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand that the line names."""
        result = click.Command.invoke(self, ctx)
        if not ctx.args:
            return result
        name, command, rest = self.resolve_command(ctx, ctx.args)
        assert command is not None
        ctx.invoked_subcommand = name
        with command.make_context(name, rest, parent=ctx) as inner:
            return inner.command.invoke(inner)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that the first word names; ``help`` is answered here."""
        path = command_words(ctx)
        meant = documented.meant_by(path, args)
        if meant is not None:
            return _called(ctx.find_root(), meant)
        name, rest = args[0], args[1:]
        if name == "help" and self.get_command(ctx, "help") is None:
            self._show_help_of(ctx, rest)
        return name, self._command(ctx, name, rest), rest

    def _command(self, ctx: click.Context, name: str, rest: Sequence[str]) -> click.Command:
        command = self.get_command(ctx, self.aliases.get(name, name))
        if command is None:
            failure = self.unknown(ctx, name)
            instead = documented.instead_of(command_words(ctx), [name, *rest])
            if instead is not None and isinstance(failure, UsageFailure):
                failure.tip = instead
            elif instead is not None and isinstance(failure, Failure):
                failure.hint = instead
            raise failure
        return command

    def unknown(self, ctx: click.Context, name: str) -> Exception:
        """Return what an unknown subcommand ends with."""
        close = alike(name, self.list_commands(ctx), 3, 0.7)
        tip = None
        if len(close) == 1:
            tip = f"a similar subcommand exists: '{close[0]}'"
        elif close:
            words = ", ".join(f"'{one}'" for one in close)
            tip = f"some similar subcommands exist: {words}"
        return UsageFailure(
            f"unrecognized subcommand '{name}'", usage=usage_line(ctx.command_path, self), tip=tip
        )

    def _show_help_of(self, ctx: click.Context, words: list[str]) -> None:
        command: click.Command = self
        for word in words:
            found = None
            if isinstance(command, DbxGroup):
                found = command.get_command(ctx, command.aliases.get(word, word))
                if found is None and word in ("help", "-h", "--help"):
                    break
            if found is None:
                raise UsageFailure(
                    f"unrecognized subcommand '{word}'",
                    usage=usage_line(ctx.command_path, command),
                )
            ctx = click.Context(found, info_name=word, parent=ctx)
            command = found
        sys.stdout.write(command.get_help(ctx))
        raise Stop(EXIT_DONE)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the visible subcommands: those declared beside the group, then the table."""
        declared = [
            name
            for name, command in self.commands.items()
            if not command.hidden and name not in self.modules
        ]
        return [*declared, *self.modules]

    def phrases(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return name and one-line phrase of each visible subcommand; nothing is imported."""
        return [
            (name, self.modules[name][1] if name in self.modules else phrase(self.commands[name]))
            for name in self.list_commands(ctx)
        ]

    def get_help(self, ctx: click.Context) -> str:
        """Return the help page."""
        rows = [*self.phrases(ctx), ("help", "Print this message or the help of a subcommand")]
        return help_page(ctx.command_path, self, commands=rows, examples=self.examples)


DbxGroup.group_class = DbxGroup


def command_words(ctx: click.Context) -> str:
    """Return the words that called a command, without the name of the program."""
    return ctx.command_path.partition(" ")[2]


def _called(root: click.Context, words: Sequence[str]) -> tuple[str, click.Command, list[str]]:
    """Return the command that a line names, and the words for it."""
    command = root.command
    for place, word in enumerate(words):
        inner = command.get_command(root, word) if isinstance(command, click.Group) else None
        if inner is None:
            return words[place - 1], command, list(words[place:])
        command = inner
    return words[-1], command, []


def phrase(command: click.Command) -> str:
    """Return the line of its help that says what a command is for."""
    return (command.help or "").strip().partition("\n")[0]


def alike(name: str, known: Sequence[str], most: int, likeness: float) -> list[str]:
    """Return the known names that a word may stand for, the likeliest first."""
    from difflib import get_close_matches

    return get_close_matches(name, known, most, likeness)


def _read_line(
    command: click.Command, ctx: click.Context, args: Sequence[str], *, group: bool
) -> list[str]:
    usage = usage_line(ctx.command_path, command)
    root = ctx.find_root()
    shared = [] if root is ctx else [one for one in root.command.params if one.expose_value]
    scan = Scan(command.params, shared, group=group, usage=usage, path=command_words(ctx))
    try:
        scan.read(args)
    except HelpWanted:
        sys.stdout.write(command.get_help(ctx))
        raise Stop(EXIT_DONE) from None
    for name, value in scan.shared_values.items():
        root.params[name] = _shared_value(root, name, value)
    scan.check_combinations()
    # A group without a subcommand shows its help, whatever else is missing.
    replaced = scan.replaced()
    missing = [
        one
        for one in command.params
        if one.required and one.name not in scan.values and one.name not in replaced
    ]
    if missing:
        missing.sort(key=lambda one: isinstance(one, click.Argument))
        raise missing_arguments(missing, usage)
    for parameter in command.params:
        if parameter.name not in replaced:
            _convert(parameter, ctx, scan.values)
    ctx.params.update(dict.fromkeys(replaced))
    for name, value in ctx.params.items():
        if value is _UNSET:
            ctx.params[name] = None
    return scan.rest


def _shared_value(root: click.Context, name: str, value: Any) -> Any:
    parameter = next(one for one in root.command.params if one.name == name)
    return _checked(parameter, lambda: parameter.process_value(root, value), value)


def _convert(parameter: click.Parameter, ctx: click.Context, values: dict[str, Any]) -> None:
    given = values.get(parameter.name or "")
    _checked(parameter, lambda: parameter.handle_parse_result(ctx, values, []), given)


def _checked(parameter: click.Parameter, convert: Any, given: Any) -> Any:
    try:
        return convert()
    except click.BadParameter as error:
        raise _invalid_value(parameter, given, error) from None
    except click.UsageError as error:
        raise UsageFailure(error.format_message()) from None


def _invalid_value(
    parameter: click.Parameter, given: Any, error: click.BadParameter
) -> UsageFailure:
    """Return the failure for a value that its type refused; it names value, place and reason."""
    reason = error.message
    value = given
    if isinstance(given, tuple):
        # Which one of several it was, the type says itself (see eventdbx.surfaces.cli.values).
        value = getattr(error, "value", given[-1] if given else "")
    words = possible_values(parameter.type)
    if words:
        return UsageFailure(
            f"invalid value '{value}' for '{spelling(parameter)}'\n"
            f"  [possible values: {', '.join(words)}]"
        )
    kind = parameter.type
    if isinstance(kind, click.types.IntParamType):
        reason = _integer_reason(str(value), kind)
    if not takes_value(parameter) and isinstance(parameter, click.Option):
        return UsageFailure(reason)
    return UsageFailure(f"invalid value '{value}' for '{spelling(parameter)}': {reason}")


def _integer_reason(text: str, kind: click.types.IntParamType) -> str:
    if not text:
        return "cannot parse integer from empty string"
    try:
        int(text)
    except ValueError:
        return "invalid digit found in string"
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    return f"{text} is not in {'' if low is None else low}..={'' if high is None else high}"

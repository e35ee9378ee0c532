"""Usage lines and help pages."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from typing import Any

import click

from eventdbx.surfaces.cli.arguments import Argument, spelling, value_name

WIDTH = 100


def usage_line(
    path: str, command: click.Command, *, positionals: Sequence[click.Parameter] | None = None
) -> str:
    """Return how a command is called, e.g. ``dbx aggregate get [OPTIONS] <AGGREGATE> …``."""
    parts = [path]
    options = [one for one in command.params if isinstance(one, click.Option)]
    required = [one for one in options if one.required]
    if any(not one.required and not one.hidden for one in options):
        parts.append("[OPTIONS]")
    parts += [spelling(one) for one in required]
    for one in command.params if positionals is None else positionals:
        if isinstance(one, click.Argument):
            parts.append(_positional(one))
    if isinstance(command, click.Group):
        parts.append("<COMMAND>")
    return " ".join(parts)


def _positional(argument: click.Argument) -> str:
    dots = "..." if argument.nargs == -1 else ""
    if argument.required:
        return f"<{value_name(argument)}>{dots}"
    return f"[{value_name(argument)}]{dots}"


def help_page(
    path: str,
    command: click.Command,
    *,
    commands: Sequence[tuple[str, str]] = (),
    examples: Sequence[str] = (),
) -> str:
    """Return the whole help of a command; ``commands`` are its subcommands with their phrases."""
    about = inspect.cleandoc(command.help or "").strip()
    parts = [about] if about else []
    parts.append(f"Usage: {usage_line(path, command)}")
    if commands:
        parts.append("Commands:\n" + _columns(list(commands)))
    arguments = argument_rows(command)
    if arguments:
        parts.append("Arguments:\n" + _columns(arguments))
    parts.append("Options:\n" + _columns([*option_rows(command), ("-h, --help", "Print help")]))
    if examples:
        parts.append("Examples:\n" + "\n".join(f"  {one}" for one in examples))
    if command.epilog:
        parts.append(textwrap.dedent(command.epilog).strip())
    return "\n\n".join(parts) + "\n"


def argument_rows(command: click.Command) -> list[tuple[str, str]]:
    """Return the positionals of a command as usage lines show them, each with its help."""
    return [
        (_positional(one), (one.help or "") if isinstance(one, Argument) else "")
        for one in command.params
        if isinstance(one, click.Argument)
    ]


def option_rows(command: click.Command) -> list[tuple[str, str]]:
    """Return the visible options of a command in all their spellings, each with its help."""
    return [
        (_option_spelling(one), _option_text(one))
        for one in command.params
        if isinstance(one, click.Option) and not one.hidden
    ]


def _option_spelling(option: click.Option) -> str:
    flags = [one for one in option.opts if not one.startswith("--")]
    lead = f"{flags[0]}, " if flags else "    "
    tail = spelling(option) if any(one.startswith("--") for one in option.opts) else ""
    others = [one for one in option.opts if one.startswith("--")][1:]
    tail += "".join(f", {one}" for one in others)
    second = "".join(f" / {flag}" for flag in option.secondary_opts)
    dots = "..." if option.multiple else ""
    return f"{lead}{tail}{dots}{second}"


def _option_text(option: click.Option) -> str:
    text = option.help or ""
    words = possible_values(option.type)
    if words:
        text += f" [possible values: {', '.join(words)}]"
    if option.show_default and option.default is not None and not callable(option.default):
        text += f" [default: {option.default}]"
    return text.strip()


def possible_values(kind: Any) -> list[str]:
    """Return the words that a type of values takes, if they are few (its ``words`` say so)."""
    if isinstance(kind, click.Choice):
        return [str(one) for one in kind.choices]
    return list(getattr(kind, "words", ()))


def _columns(rows: list[tuple[str, str]]) -> str:
    """Return two aligned columns; a long first column puts its text on the next line."""
    width = min(max(len(left) for left, _text in rows), 32)
    lines = []
    for left, text in rows:
        wrapped = textwrap.wrap(text, WIDTH - width - 4, break_on_hyphens=False) or [""]
        if len(left) > width:
            lines.append(f"  {left}")
        else:
            lines.append(f"  {left:<{width}}  {wrapped.pop(0)}".rstrip())
        lines += [" " * (width + 4) + line for line in wrapped if line]
    return "\n".join(lines)

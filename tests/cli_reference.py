"""The reference of the command line, as a page and as a manual page, made from the commands.

``PYTHONPATH=. python -m tests.cli_reference`` writes ``docs/cli.md`` and ``docs/dbx.1``; a test
holds both equal to what the commands say of themselves.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import NamedTuple

from eventdbx.surfaces.cli.commands import phrase
from eventdbx.surfaces.cli.helptext import argument_rows, option_rows, usage_line
from eventdbx.surfaces.cli.main import EPILOG
from tests.daemon import ROOT
from tests.examples.tree import commands

PAGE = ROOT / "docs" / "cli.md"
MANUAL = ROOT / "docs" / "dbx.1"

Rows = list[tuple[str, str]]

LINES = """\
Long options are written in full, as `--take 5` or `--take=5`; short ones as `-o json`, `-ojson` or
`-o=json`. Options and arguments come in any order. A value does not begin with `-` unless it is
attached with `=`; `-` alone is a value. `--` ends the options. Where an option may be repeated,
`...` says so; where a list is taken, its parts are separated by commas, and blanks around them do
not count. A flag takes no value. `@FILE` in the place of JSON reads a file, `-` reads stdin.

Without a subcommand, a group prints its help on stderr and ends with 2. `dbx help <COMMAND>` is the
help of a command, as `dbx <COMMAND> --help` is. Results go to stdout, everything else to stderr.
Commands that remove something ask for a word, which is read from stdin, or take `--yes`."""

STATUS: Rows = [
    ("0", "done, also when there was nothing to do, and when a question was not answered"),
    ("1", "any failure; with EVENTDBX_EXIT_CODES=fine, what is none of the following"),
    ("2", "wrong usage"),
    ("3", "the server is not reachable (fine), or `status --check` found none"),
    ("4", "not found (fine)"),
    ("5", "conflict, or already exists (fine)"),
    ("6", "not allowed (fine)"),
    ("7", "invalid input (fine)"),
    ("130", "interrupted"),
]

ENVIRONMENT: Rows = [
    ("HOME", "Where .eventdbx is looked for, after the nearest .dbx upward"),
    ("EVENTDBX_AUTO_INIT", "Make a workspace in the working folder where there is none: 1"),
    ("EVENTDBX_DATA_DIR", "Data directory of a configuration that is made now"),
    ("EVENTDBX_CONTEXT", "The server to talk to, as --context"),
    ("EVENTDBX_TOKEN", "The token to show to a server"),
    ("EVENTDBX_TOKEN_FILE", "A file with that token"),
    ("EVENTDBX_EXIT_CODES", "fine: tell failures apart by exit status"),
    ("EVENTDBX_LOG_DIR", "Where a server writes its log files"),
    ("EVENTDBX_LOG, RUST_LOG", "How much a server logs: error, warn, info, debug"),
    ("NO_COLOR", "Anything: no colours, unless --color asks for them"),
    ("PAGER", "The program that shows what is longer than the screen"),
    ("DBX_NO_UPGRADE_CHECK", "Anything: never ask for newer versions"),
    ("EVENTDBX_...", "Keys of the configuration, as docs/configuration.md names them"),
]


class Described(NamedTuple):
    """What a command says of itself."""

    path: str
    phrase: str
    more: str
    usage: str
    subcommands: Rows
    arguments: Rows
    options: Rows
    columns: tuple[str, ...]
    examples: tuple[str, ...]
    epilog: str

    @property
    def name(self) -> str:
        """The words that call it."""
        return f"dbx {self.path}".strip()


def described() -> Iterator[Described]:
    """Yield every visible command, the root first, in the order of the help."""
    known = list(commands())
    for path, command in known:
        yield Described(
            path=path,
            phrase=phrase(command),
            more=inspect.cleandoc(command.help or "").partition("\n")[2].strip(),
            usage=usage_line(f"dbx {path}".strip(), command),
            subcommands=[
                (other, phrase(inner))
                for other, inner in known
                if other and other.rpartition(" ")[0] == path
            ],
            arguments=argument_rows(command),
            options=option_rows(command),
            columns=tuple(getattr(command, "columns", ())),
            examples=tuple(getattr(command, "examples", ())),
            epilog="" if command.epilog in (None, EPILOG) else inspect.cleandoc(command.epilog),
        )


def page() -> str:
    """Return the page for ``docs/``."""
    root, *others = described()
    parts = [
        "# Command line",
        "Every command of `dbx`, printed from the definitions that the program itself is made of "
        "(`python -m tests.cli_reference`, a test holds them equal). The same is in `man dbx`.",
        "## How a line is read",
        LINES,
        "## Exit status",
        _table("status", STATUS),
        "## Environment",
        _table("variable", ENVIRONMENT),
        "## Options of every command",
        "They stand anywhere on the line. Where a command has an option of the same name, that "
        "one wins.",
        _table("option", root.options),
        "## Commands",
        _links(root.subcommands),
        "```bash\n" + "\n".join(root.examples) + "\n```",
    ]
    for one in others:
        parts += _section(one)
    return "\n\n".join(parts) + "\n"


def _section(one: Described) -> Iterator[str]:
    yield f"{'##' if ' ' not in one.path else '###'} {one.name}"
    yield one.phrase + (f"\n\n{one.more}" if one.more else "")
    yield f"```text\n{one.usage}\n```"
    if one.subcommands:
        yield _links(one.subcommands)
    if one.arguments:
        yield _table("argument", one.arguments)
    if one.options:
        yield _table("option", one.options)
    if one.columns:
        yield "Columns of tables and CSV: " + ", ".join(f"`{name}`" for name in one.columns) + "."
    if one.epilog:
        yield one.epilog
    if one.examples:
        yield "```bash\n" + "\n".join(one.examples) + "\n```"


def _links(rows: Rows) -> str:
    return "\n".join(f"- [{name}](#{_anchor(f'dbx {name}')}): {text}" for name, text in rows)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _table(head: str, rows: Rows) -> str:
    lines = [f"| {head} | |", "|---|---|"]
    lines += [f"| `{_cell(left)}` | {_cell(text)} |" for left, text in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|")


def manual() -> str:
    """Return the manual page, in the language of man(7)."""
    root, *others = described()
    lines = [
        '.\\" Written by tests.cli_reference from the definitions of the commands.',
        ".TH DBX 1",
        ".ad l",
        ".SH NAME",
        "dbx \\- " + _roff(root.phrase),
        ".SH SYNOPSIS",
        _roff(root.usage),
        ".SH DESCRIPTION",
        *_paragraphs(LINES),
        ".SH OPTIONS",
        "Taken by every command, anywhere on the line. Where a command has an option of the same",
        "name, that one wins.",
        *_terms(root.options),
        ".SH COMMANDS",
        *_terms(root.subcommands),
    ]
    for one in others:
        lines += _manual_section(one)
    lines += [".SH EXIT STATUS", *_terms(STATUS), ".SH ENVIRONMENT", *_terms(ENVIRONMENT)]
    lines += [".SH EXAMPLES", *_example(root.examples)]
    return "\n".join(lines) + "\n"


def _manual_section(one: Described) -> Iterator[str]:
    yield f".SS {_roff(one.name)}"
    yield _roff(one.phrase)
    if one.more:
        yield ".PP"
        yield from _paragraphs(one.more)
    yield ".PP"
    yield f"\\fB{_roff(one.usage)}\\fR"
    yield from _terms([*one.arguments, *one.options])
    if one.columns:
        yield ".PP"
        yield _roff("Columns: " + ", ".join(one.columns))
    if one.epilog:
        yield ".PP"
        yield from _paragraphs(one.epilog)
    yield from _example(one.examples)


def _paragraphs(text: str) -> Iterator[str]:
    for line in text.replace("`", "").splitlines():
        yield _roff(line) if line.strip() else ".PP"


def _terms(rows: Rows) -> Iterator[str]:
    for left, text in rows:
        yield ".TP"
        yield f"\\fB{_roff(left)}\\fR"
        yield _roff(text.replace("`", ""))


def _example(examples: tuple[str, ...]) -> Iterator[str]:
    if examples:
        yield from (".PP", ".RS 4", ".nf")
        yield from map(_roff, examples)
        yield from (".fi", ".RE")


def _roff(text: str) -> str:
    escaped = text.strip().replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) or not escaped else escaped


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    MANUAL.write_text(manual(), encoding="utf-8")

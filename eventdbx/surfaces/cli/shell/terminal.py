"""The shell at a terminal: a prompt, a history, completion by tab.

The standard library's readline does the editing; where Python was built without it, lines can
still be typed.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from types import ModuleType

import click

from eventdbx.surfaces.cli.completing.completion import FILES, FOLDERS, complete
from eventdbx.surfaces.cli.shell.command import OWN_WORDS, place_of, run_line
from eventdbx.surfaces.cli.shell.history import FILE_NAME, History, may_be_kept

_SPLITS = " \t\n"


def converse(root: click.Context, options: list[str], *, stop_on_error: bool) -> int:
    """Read lines and run them, until somebody ends it; return the exit status."""
    from eventdbx import __version__
    from eventdbx.services.workspace import HOME_NAME, home

    history = History(home(os.environ) / HOME_NAME / FILE_NAME)
    editing = _editing(options, history)
    print(f"dbx {__version__}: `help` lists the commands, `exit` or ^D ends")
    while True:
        try:
            line = input(f"{place_of(root)}=> ")
        except EOFError:
            print()
            return 0
        except KeyboardInterrupt:
            print("^C")
            continue
        _remember(line, history, editing)
        status = run_line(line, options)
        with suppress(BrokenPipeError):
            sys.stdout.flush()
        if status is None:
            return 0
        if status and stop_on_error:
            return status


def _editing(options: list[str], history: History) -> ModuleType | None:
    try:
        import readline
    except ImportError:
        return None
    readline.set_auto_history(False)
    for line in history.lines():
        readline.add_history(line)
    readline.set_completer(Completer(options, readline))
    readline.set_completer_delims(_SPLITS)
    by_tab = "bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete"
    readline.parse_and_bind(by_tab)
    return readline


def _remember(line: str, history: History, editing: ModuleType | None) -> None:
    """Keep a line for the arrow keys and for next time; a secret is in neither."""
    if may_be_kept(line):
        if editing is not None:
            editing.add_history(line)
        history.add(line)


class Completer:
    """What readline asks: the words that may stand where one is begun, one at a time."""

    def __init__(self, options: list[str], editing: ModuleType) -> None:
        self._options = options
        self._editing = editing
        self._found: list[str] = []

    def __call__(self, begun: str, number: int) -> str | None:
        """Return the candidate of that number, None after the last."""
        if number == 0:
            line = self._editing.get_line_buffer()
            self._found = self._candidates(line[: self._editing.get_begidx()], begun)
        return self._found[number] if number < len(self._found) else None

    def _candidates(self, before: str, begun: str) -> list[str]:
        from eventdbx.surfaces.cli.main import EPILOG, MODULES
        from eventdbx.surfaces.cli.root import root_command

        try:
            words = shlex.split(before)
        except ValueError:
            words = before.split()
        if words[:1] in (["dbx"], ["help"]):
            words = words[1:]
        answer = complete(root_command(MODULES, EPILOG), [*self._options, *words], begun)
        found = [one.value for one in answer.candidates]
        if not words:
            found += [word for word in OWN_WORDS if word.startswith(begun)]
        if answer.paths is not None:
            found += _paths(begun, folders=answer.paths == FOLDERS)
        assert answer.paths in (None, FILES, FOLDERS)
        return [one if one.endswith(("=", "/")) else f"{one} " for one in found]


def _paths(begun: str, *, folders: bool) -> list[str]:
    """Return the paths that begin so; a value may be glued to its option, or follow ``@``."""
    lead = ""
    for mark in ("=", "@"):
        head, found, rest = begun.partition(mark)
        if found and (mark == "=" or not head):
            lead, begun = lead + head + found, rest
    folder, _slash, name = begun.rpartition("/")
    try:
        entries = list(os.scandir(os.path.expanduser(folder + "/") if _slash else "."))
    except OSError:
        return []
    kept = [one for one in entries if one.name.startswith(name)]
    kept = [one for one in kept if name.startswith(".") or not one.name.startswith(".")]
    return sorted(
        f"{lead}{folder}{_slash}{one.name}{'/' if one.is_dir() else ''}"
        for one in kept
        if one.is_dir() or not folders
    )

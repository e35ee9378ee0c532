"""``dbx shell``: one command a line, with history and completion at a terminal.

Commands run in this process, so that they need not be loaded again and again. Those that become a
server run in one of their own.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import click

from eventdbx.surfaces.cli.failures import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    Failure,
    UsageFailure,
)
from eventdbx.surfaces.cli.options import option
from eventdbx.surfaces.cli.output import note

ENDS = ("exit", "quit")
OWN_WORDS = (*ENDS, "help")

_BEGINS_A_SERVER = ("start", "restart")


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "shell", examples=("dbx shell", "dbx shell --stop-on-error", "dbx --context local shell")
    )
    @option("--stop-on-error", is_flag=True, help="End with the first line that fails")
    @click.pass_context
    def shell(context: click.Context, stop_on_error: bool) -> int:
        """Work with commands in an interactive shell

        Each line is a command as after `dbx`; options given to the shell hold for every line.
        `help` lists the commands, `help COMMAND` explains one, `exit` or ^D ends, ^C abandons a
        line. The history is kept in ~/.eventdbx/shell_history, without lines that have tokens or
        other secrets, or that begin with a blank.

        Without a terminal the lines of stdin are carried out; `#` begins a comment. The exit status
        is then that of the last line that failed.
        """
        options = _inherited(context.find_root())
        if sys.stdin.isatty() and sys.stdout.isatty():
            from eventdbx.surfaces.cli.shell.terminal import converse

            return converse(context.find_root(), options, stop_on_error=stop_on_error)
        return _carry_out(options, stop_on_error=stop_on_error)


def _inherited(root: click.Context) -> list[str]:
    """Return the options of the root as they were given, for every line."""
    found: list[str] = []
    for parameter in root.command.params:
        value = root.params.get(parameter.name or "")
        if not isinstance(parameter, click.Option) or not parameter.expose_value or not value:
            continue
        flag = parameter.opts[-1] if len(parameter.opts) > 1 else parameter.opts[0]
        if parameter.count:
            found += [flag] * value
        elif parameter.is_flag:
            found.append(flag)
        else:
            found.append(f"{flag}={value}")
    return found


def _carry_out(options: list[str], *, stop_on_error: bool) -> int:
    """Run the lines of stdin; what a command reads of it, the shell does not."""
    ended = EXIT_DONE
    while True:
        line = sys.stdin.readline()
        if not line:
            return ended
        status = run_line(line, options)
        sys.stdout.flush()
        if status is None:
            return ended
        ended = status or ended
        if status and stop_on_error:
            return status


def run_line(line: str, options: list[str]) -> int | None:
    """Run one line; return its exit status, or None if it ends the shell."""
    words = _words(line)
    if words is None:
        return EXIT_USAGE
    if words[:1] == ["dbx"]:
        words = words[1:]
    if not words:
        return EXIT_DONE
    if words[0] in ENDS and len(words) == 1:
        return None
    if words[0] == "help":
        words = [*words[1:], "--help"]
    if words[0] == "shell":
        note("Error: this is a shell already")
        return EXIT_USAGE
    if _is_start(words):
        return _run_aside([*options, *words])
    from eventdbx.surfaces.cli.main import answer

    try:
        return answer([*options, *words])
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _words(line: str) -> list[str] | None:
    """Return the words of a line, None (having said why) if its quotes do not match."""
    try:
        return shlex.split(line, comments=line.lstrip().startswith("#"))
    except ValueError as error:
        reason = str(error)
        sys.stderr.write(f"error: {reason[:1].lower()}{reason[1:]}\n")
        return None


def _is_start(words: list[str]) -> bool:
    return words[0] in _BEGINS_A_SERVER or (
        words[0] == "serve" and len(words) > 1 and words[1] in _BEGINS_A_SERVER
    )


def _run_aside(words: list[str]) -> int:
    """Run a command in a process of its own; return its exit status."""
    import subprocess

    program = [sys.executable, "-m", "eventdbx.surfaces.cli.main", *words]
    sys.stdout.flush()
    running = subprocess.Popen(program, stdin=subprocess.DEVNULL)
    while True:
        try:
            return running.wait()
        except KeyboardInterrupt:
            continue  # It has the signal, too, and ends as it sees fit.


def place_of(root: click.Context, environ: Mapping[str, str] = os.environ) -> str:
    """Return where lines work just now, for the prompt: the server's name and the domain."""
    from eventdbx.errors import EventDBXError
    from eventdbx.services.workspace import open_workspace
    from eventdbx.surfaces.cli.contexts import looked_up

    params: Mapping[str, Any] = root.params
    domain: str | None = params.get("domain")
    if params.get("socket"):
        return f"{params['socket']}:{domain}" if domain else str(params["socket"])
    try:
        chosen = looked_up(params)
        if chosen is not None:
            domain = domain or chosen.domain
            return f"{chosen.name}:{domain}" if domain else chosen.name
        if domain:
            return domain
        shared = {} if not params.get("data_dir") else {"data_dir": params["data_dir"]}
        place = open_workspace(
            params.get("config"), environ=environ, create=False, overrides=shared
        )
        return place.config.domain
    except (EventDBXError, Failure, UsageFailure):
        return "dbx"

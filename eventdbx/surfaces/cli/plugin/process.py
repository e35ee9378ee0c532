"""``dbx plugin start``, ``stop``, ``status`` and ``logs``: the children of process plugins."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import (
    documents_wanted,
    print_array,
    print_line,
    print_more,
    print_result,
)
from eventdbx.surfaces.cli.plugin.calls import Document, asking, key_of, one_line, unknown
from eventdbx.surfaces.cli.plugin.listing import runtime_of
from eventdbx.surfaces.cli.session import opened
from eventdbx.surfaces.cli.values import U32

PROCESS = argument("name", help="Name of the plugin, or of its program when it has no name")
NOUN = "process plugin"
FOLLOW_S = 0.2

_ON_PURPOSE = ("was stopped", "disabled")
"""Reasons of a child that is down which its state says already."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def register(group: click.Group) -> None:
    """Add the commands to the group."""
    _register_start(group)
    _register_stop(group)
    _register_status(group)
    _register_logs(group)


def process_entry(entries: list[Document], name: str) -> Document:
    """Return the process plugin of a name, else one without a name whose program is called so.

    Raises Failure.
    """
    processes = [one for one in entries if (one.get("config") or {}).get("type") == "process"]
    for one in processes:
        if one["name"] == name:
            return one
    for one in processes:
        if one["name"] is None and name in (one["config"].get("name"), "process"):
            return one
    raise unknown(name, NOUN)


def instance(entry: Document) -> str:
    """Return what a process plugin is called."""
    called: str = entry["name"] or entry["config"]["name"]
    return called


def _register_start(group: click.Group) -> None:
    @group.command("start", examples=("dbx plugin start view",))
    @PROCESS
    @option("--foreground", is_flag=True, help="Without a server: stay, and show its output")
    @DOCUMENT
    @click.pass_context
    def start(context: click.Context, name: str, foreground: bool) -> None:
        """Start a managed process plugin worker

        The server starts the programs of enabled plugins by itself; this starts one again that was
        stopped, or that ended too often.
        """
        with asking(context) as plugins:
            entry = process_entry(plugins.entries(), name)
            called = instance(entry)
            if not entry["enabled"]:
                raise Failure(
                    f"process plugin '{called}' is disabled; enable it before starting the worker"
                )
            if plugins.alone:
                raise Failure(
                    f"no server is running, which would own the worker of '{called}'",
                    hint="start one with `dbx start`; it starts the worker, too",
                )
            if foreground:
                raise Failure(
                    "--foreground cannot be used while a server runs, which owns the worker",
                    hint=f"`dbx plugin logs {called} --follow` shows its output",
                )
            answer = plugins.do({"do": "start", "name": key_of(entry)})
        said = "worker is already running" if answer["already"] else "worker started"
        print_result(
            {"plugin": called, "pid": answer["pid"], "started": not answer["already"]},
            f"Process plugin '{called}' {said} (pid {answer['pid']})",
        )


def _register_stop(group: click.Group) -> None:
    @group.command("stop", examples=("dbx plugin stop view",))
    @PROCESS
    @DOCUMENT
    @click.pass_context
    def stop(context: click.Context, name: str) -> None:
        """Stop a managed process plugin worker

        It stays down, and its events wait, until `plugin start` or the next start of the server.
        """
        with asking(context) as plugins:
            entry = process_entry(plugins.entries(), name)
            pid = None
            if not plugins.alone:
                pid = plugins.do({"do": "stop", "name": key_of(entry)})["pid"]
        called = instance(entry)
        said = f"Stopped process plugin '{called}' worker (pid {pid})"
        if pid is None:
            said = f"Process plugin '{called}' worker is not running"
        print_result({"plugin": called, "pid": pid, "stopped": pid is not None}, said)


def _register_status(group: click.Group) -> None:
    @group.command("status", examples=("dbx plugin status", "dbx plugin status view"))
    @argument("name", required=False, help="Only this plugin")
    @DOCUMENT
    @click.pass_context
    def status(context: click.Context, name: str | None) -> None:
        """Show the status of a managed process plugin worker"""
        with asking(context) as plugins:
            entries = plugins.entries()
        found = [one for one in entries if (one.get("config") or {}).get("type") == "process"]
        if name is not None:
            found = [process_entry(entries, name)]
        if documents_wanted():
            print_array(_status_document(context, one) for one in found)
            return
        if not found:
            print_line("(no process plugins configured)")
            return
        print_line("\n\n".join(_status_block(context, one) for one in found))


def _status_document(context: click.Context, entry: Document) -> Document:
    process = entry.get("process") or {}
    folder = opened(context).workspace.data_dir / "plugins" / "run"
    return {
        "plugin": instance(entry),
        "enabled": entry["enabled"],
        "emit_events": entry["emit_events"],
        **runtime_of(entry.get("process")),
        "worker_pid": _live_pid(folder / f"{file_name(context, entry)}.worker"),
        "restarts": process.get("restarts", 0),
        "reason": process.get("reason") or None,
    }


def _status_block(context: click.Context, entry: Document) -> str:
    process = entry.get("process")
    runtime = runtime_of(process)
    shown: str = runtime["state"]
    if "pid" in runtime:
        shown += f" (pid {runtime['pid']})"
    path = opened(context).workspace.data_dir / "plugins" / "run" / file_name(context, entry)
    worker = path.with_name(f"{path.name}.worker")
    pid = _live_pid(worker)
    lines = [
        f"Process plugin: {instance(entry)}",
        f"  enabled: {_flag(entry['enabled'])}",
        f"  emit events: {_flag(entry['emit_events'])}",
        f"  status: {shown}",
        f"  runtime pid file: {path}.pid",
        f"  worker pid file: {worker}" + ("" if pid is None else f" (pid {pid})"),
    ]
    if process is not None:
        lines += [f"  restarts: {process['restarts']}"] if process["restarts"] else []
        if process["reason"] not in (None, "", *_ON_PURPOSE):
            lines.append(f"  reason: {one_line(process['reason'])}")
    return "\n".join(lines)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def file_name(context: click.Context, entry: Document) -> str:
    """Return the name of a process plugin in names of files, without what comes after a dot."""
    name = _UNSAFE.sub("_", instance(entry))
    domain = opened(context).config.domain
    return name if domain == "default" else f"{_UNSAFE.sub('_', domain)}.{name}"


def _live_pid(path: Path) -> int | None:
    try:
        pid = int(path.read_text()[:32])
        os.kill(pid, 0)
    except (OSError, ValueError, OverflowError):
        return None
    return pid if pid > 0 else None


def _register_logs(group: click.Group) -> None:
    @group.command(
        "logs", examples=("dbx plugin logs view --lines 100", "dbx plugin logs view --follow")
    )
    @PROCESS
    @option(
        "--lines", type=U32, default="50", show_default=True, metavar="N", help="The last N lines"
    )
    @option("-f", "--follow", is_flag=True, help="Go on with what is written from now on")
    @DOCUMENT
    @click.pass_context
    def logs(context: click.Context, name: str, lines: int, follow: bool) -> None:
        """Show what the program of a process plugin has written"""
        with asking(context) as plugins:
            entry = process_entry(plugins.entries(), name)
        folder = opened(context).workspace.log_dir / "plugins"
        path = folder / f"{file_name(context, entry)}.log"
        file = _opened(path)
        last = last_lines(path, file, lines)
        _print_lines(last, first=True)
        if follow:
            for line in following(path, file):
                _print_lines([line], first=not last)
                last = [line]


def _print_lines(lines: list[str], *, first: bool) -> None:
    if documents_wanted():
        print_more([{"line": line} for line in lines], first=first)
    else:
        for line in lines:
            print_line(line)
    sys.stdout.flush()


def last_lines(path: Path, file: BinaryIO | None, count: int) -> list[str]:
    """Return the last lines of a file that is rotated, going back to the one before it.

    ``file`` is it, opened, if it is there; it is read to its end.
    """
    before = _opened(path.with_name(f"{path.name}.1"))
    kept: deque[str] = deque(maxlen=count)
    for one in (before, file):
        if one is not None:
            kept.extend(_text(line) for line in one)
    if before is not None:
        before.close()
    return list(kept)


def following(path: Path, file: BinaryIO | None) -> Iterator[str]:
    """Yield lines as they are written to a file that is rotated, for ever.

    ``file`` is it, opened and read so far; None if it was not there.
    """
    begun = b""
    while True:
        while file is not None and (piece := file.readline()):
            begun += piece
            if begun.endswith(b"\n"):
                yield _text(begun)
                begun = b""
        if _inode(path) == (None if file is None else os.fstat(file.fileno()).st_ino):
            time.sleep(FOLLOW_S)
            continue
        if file is not None:
            file.close()
        file, begun = _opened(path), b""


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", "replace")

"""The server's life: ``start``, ``stop``, ``status``, ``restart``, and the same under ``serve``.

Removing everything is in :mod:`eventdbx.surfaces.cli.destroying`. Only ``start`` and ``restart``
import Twisted, and without ``--foreground`` only in the new process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from eventdbx.domain.timestamps import format_ns, format_offset
from eventdbx.errors import EventDBXError, IoError
from eventdbx.services.bootstrap import ensure_cli_token
from eventdbx.services.pidfile import AlreadyRunning, ServerRecord, remove_stale
from eventdbx.services.workspace import Opened
from eventdbx.settings import RESTRICT_MODES
from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.destroying import register_destroy
from eventdbx.surfaces.cli.failures import Failure, Stop
from eventdbx.surfaces.cli.live_status import begin_anew, live_lines, live_status
from eventdbx.surfaces.cli.options import AS_JSON, DOCUMENT, all_of, option
from eventdbx.surfaces.cli.output import (
    documents_wanted,
    note,
    note_on_terminal,
    print_json,
    print_line,
    print_result,
)
from eventdbx.surfaces.cli.places import opened, opened_anyway, server_record
from eventdbx.surfaces.cli.values import U16, WrongValue

KILL_WAIT_S = 2.0
"""A killed process is gone at once, unless it hangs in the kernel."""

STOP_MARGIN_S = 5.0
"""Beyond the time that requests in flight have: closing the store, a sync of the disk."""

POLL_S = 0.02
STATUS_DOWN = 3


class RestrictMode(click.ParamType):  # type: ignore[type-arg]
    """A schema mode in any of its spellings."""

    name = "mode"
    words = ("off", "default", "strict")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return off, default or strict; raises WrongValue."""
        if value not in RESTRICT_MODES:
            raise WrongValue("", value)
        return RESTRICT_MODES[value]


START_OPTIONS = all_of(
    option("--port", type=U16, metavar="PORT", help="Port for health and metrics (saved)"),
    option("--data-dir", metavar="DATA_DIR", help="Directory of the data (saved)"),
    option("--foreground", is_flag=True, help="Stay in this terminal, log to stderr"),
    option(
        "--restrict",
        type=RestrictMode(),
        is_flag=False,
        flag_value="default",
        metavar="RESTRICT",
        help="Schema mode: off, default or strict (saved; omitted: as configured)",
    ),
)


WATCH = option(
    "--watch",
    "pause_s",
    type=U16,
    is_flag=False,
    flag_value="2",
    metavar="SECONDS",
    conflicts=("check",),
    help="Show it again and again, every 2 or so many seconds, until ^C",
)


def register(root: click.Group) -> None:
    """Add the commands to the root, and the group ``serve`` with the same ones."""
    _register_in(root, path="dbx", create=True)

    @root.group("serve", cls=DbxGroup, examples=("dbx serve start", "dbx serve status"))
    def serve() -> None:
        """Manage EventDBX server lifecycle"""

    _register_in(serve, path="dbx serve", create=False)


def _register_in(group: click.Group, *, path: str, create: bool) -> None:
    @group.command(
        "start", examples=(f"{path} start", f"{path} start --foreground --restrict strict")
    )
    @START_OPTIONS
    @DOCUMENT
    @click.pass_context
    def start(context: click.Context, /, **given: Any) -> int:
        """Start the EventDBX server

        Returns when the server answers, or says why it does not.
        """
        return _start(context, given, path=path, create=create)

    @group.command("stop", examples=(f"{path} stop",))
    @DOCUMENT
    @click.pass_context
    def stop(context: click.Context) -> None:
        """Stop the EventDBX server

        Requests in flight are answered first.
        """
        place = opened_anyway(context, create=create)
        record = server_record(place)
        said = stop_server(place)
        alive = record is not None and record.serves
        done = {"stopped": alive, "pid": record.pid if record and alive else None}
        print_result({**done, "message": said}, said)

    @group.command("status", examples=(f"{path} status", f"{path} status --check"))
    @option("--check", is_flag=True, help="Exit with 3 if no server runs")
    @WATCH
    @AS_JSON
    @click.pass_context
    def status(context: click.Context, check: bool, pause_s: int | None, as_json: bool) -> None:
        """Display EventDBX server status"""
        while True:
            place = opened_anyway(context, create=create)
            if pause_s is not None:
                begin_anew(as_json=as_json)
            alive = _show_status(context, place, as_json=as_json, with_domain=create)
            if check and not alive:
                raise Stop(STATUS_DOWN)
            if pause_s is None:
                return
            sys.stdout.flush()
            time.sleep(max(pause_s, 1))

    @group.command("restart", examples=(f"{path} restart",))
    @START_OPTIONS
    @DOCUMENT
    @click.pass_context
    def restart(context: click.Context, /, **given: Any) -> int:
        """Restart the EventDBX server"""
        try:
            said = stop_server(opened(context, create=create))
            if not documents_wanted():
                print_line(said)
        except (Failure, EventDBXError) as failure:
            note(f"warning: {failure}")
        return _start(context, given, path=path, create=create)

    register_destroy(group, path=path, workspace_only=not create, stop_server=stop_server)


def _start(context: click.Context, given: dict[str, Any], *, path: str, create: bool) -> int:
    changes = {
        key: given[key] for key in ("port", "data_dir", "restrict") if given[key] is not None
    }
    if "data_dir" in changes:
        changes["data_dir"] = os.path.abspath(changes["data_dir"])
    place = opened(context, create=create, overrides=changes)
    record = server_record(place)
    if record is not None and record.alive:
        raise Failure(AlreadyRunning(record.pid, record.doing).detail)
    ensure_cli_token(place)

    def started() -> None:
        """Save what was given, now that it works: later commands find the same server."""
        if not changes:
            return
        try:
            place.workspace.save(changes)
        except EventDBXError as error:
            note(f"warning: the server runs, but its options are not saved: {error}")

    if given["foreground"]:
        return _run_here(place, started)
    _run_detached(place, path, started)
    return 0


def _run_here(place: Opened, started: Callable[[], None]) -> int:
    note(f"configuration loaded; starting server (pid={os.getpid()})")

    from eventdbx.services.running import run

    reasons: list[str] = []

    def told(reason: str | None) -> None:
        if reason is not None:
            reasons.append(reason)
        else:
            started()

    status = run(place.config, place.workspace, foreground=True, on_ready=told)
    if reasons:
        raise Failure(reasons[0])
    return status


def _run_detached(place: Opened, path: str, started: Callable[[], None]) -> None:
    from eventdbx.services.detaching import start_daemon

    def body(tell: Callable[[str | None], None]) -> int:
        from eventdbx.services.running import run

        return run(place.config, place.workspace, foreground=False, on_ready=tell)

    outcome = start_daemon(body)
    if outcome.reason is not None:
        raise Failure(
            "EventDBX server failed to start (process exited with status 1). "
            f"Re-run with `{path} start --foreground` for details.",
            outcome.reason,
        )
    started()
    record = server_record(place)
    began = None if record is None else record.started_at
    since = "" if began is None else f" since {format_offset(began)}"
    print_result(
        {
            "running": True,
            "pid": outcome.pid,
            "started_at": None if began is None else format_ns(began),
            "bind_addr": place.config.socket.bind_addr,
            "restrict": place.config.restrict,
        },
        f"EventDBX server is running on port {place.config.socket.port} (pid {outcome.pid})"
        f"{since} (restrict={place.config.restrict})",
    )


def stop_server(place: Opened) -> str:
    """Stop the server of a data directory; return the line that says what was done.

    Waits for requests in flight, then kills. Raises Failure if the process cannot be stopped.
    """
    path = place.workspace.pid_path
    record = server_record(place)
    if record is None:
        return "No running EventDBX server found."
    if not record.alive:
        remove_stale(path)
        return "Removed stale EventDBX server pid file."
    if not record.serves:
        raise Failure(AlreadyRunning(record.pid, record.doing).detail)
    patience_s = place.config.limits.drain_timeout_secs + STOP_MARGIN_S
    _signal(record.pid, signal.SIGTERM)
    if not _gone(place, record, patience_s):
        _signal(record.pid, signal.SIGKILL)
        if not _gone(place, record, KILL_WAIT_S):
            raise Failure(
                f"failed to stop EventDBX server (pid {record.pid}); process is still running"
            )
        remove_stale(path)
    stopped = f"EventDBX server stopped (pid {record.pid})"
    if record.started_at is None:
        return stopped
    up = uptime(time.time_ns() - record.started_at)
    return f"{stopped} after {up} (started {format_offset(record.started_at)})"


def _signal(pid: int, number: int) -> None:
    if pid <= 0:
        raise Failure("a server is running, but its pid file does not say which process it is")
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise IoError(f"not allowed to stop process {pid}") from None


def _gone(place: Opened, record: ServerRecord, patience_s: float) -> bool:
    """Wait for the lock to be given up: the last thing a server does, however it ends."""
    until = time.monotonic() + patience_s
    while True:
        now = server_record(place)
        if now is None or not now.alive or now.pid != record.pid:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)


def _show_status(
    context: click.Context, place: Opened, *, as_json: bool, with_domain: bool
) -> bool:
    """Print whether a server runs, and return it. What it says of itself counts, not the file."""
    config = place.config
    record = server_record(place)
    alive = record is not None and record.serves
    stale = record is not None and not alive and remove_stale(place.workspace.pid_path)
    live = live_status(context, place) if alive else None
    restrict = str(config.restrict if live is None else live["restrict"])
    if as_json:
        print_json(
            {
                "running": alive,
                "pid": record.pid if record is not None and alive else None,
                "started_at": _time(record) if alive else None,
                "bind_addr": config.socket.bind_addr,
                "restrict": restrict,
                "domain": config.domain,
                "data_dir": str(place.workspace.data_dir),
                "live": live,
            }
        )
    elif record is not None and alive:
        print_line(_status_line(place, record, restrict, with_domain=with_domain))
        if live is not None and with_domain:
            for line in live_lines(live):
                note_on_terminal(line)
    else:
        tail = " (removed stale pid file)" if stale else ""
        print_line(f"EventDBX server is not running{tail}.")
        if with_domain:
            print_line(f"Active domain: {config.domain}")
    return alive


def _status_line(place: Opened, record: ServerRecord, restrict: str, *, with_domain: bool) -> str:
    config = place.config
    parts = [
        f"EventDBX server is running on port {config.socket.port} (pid {record.pid})",
        f"restrict={restrict}",
    ]
    if with_domain:
        parts.append(f"domain={config.domain}")
    if record.started_at is not None:
        up = uptime(time.time_ns() - record.started_at)
        parts.append(f"up for {up} (since {format_offset(record.started_at)})")
    return " — ".join(parts)


def _time(record: ServerRecord | None) -> str | None:
    if record is None or record.started_at is None:
        return None
    return format_ns(record.started_at)


def uptime(elapsed_ns: int) -> str:
    """Return a duration as ``1d 2h 5m``: no zero units, seconds only beside less than three."""
    if elapsed_ns < 0:
        return "unknown duration"
    rest = elapsed_ns // 1_000_000_000
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count and (unit != "s" or len(parts) < 3):
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "under 1s"

"""The program ``dbx``: its commands, its options for all of them, and how it ends.

Commands are imported when they are called. Nothing here imports Twisted, the store or the wire,
so that ``dbx --version`` and help answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eventdbx.surfaces.cli import streams
from eventdbx.surfaces.cli.failures import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    INTERNAL,
    Failure,
    Stop,
    UsageFailure,
    errors_as_json,
    exit_status,
    failure_line,
    failure_of,
    failure_text,
)

if TYPE_CHECKING:
    from click import Context

_HERE = "eventdbx.surfaces.cli."

MODULES: dict[str, tuple[str, str]] = {
    "start": (_HERE + "lifecycle", "Start the EventDBX server"),
    "stop": (_HERE + "lifecycle", "Stop the EventDBX server"),
    "status": (_HERE + "lifecycle", "Display EventDBX server status"),
    "restart": (_HERE + "lifecycle", "Restart the EventDBX server"),
    "destroy": (_HERE + "lifecycle", "Destroy all EventDBX data and configuration"),
    "serve": (_HERE + "lifecycle", "Manage EventDBX server lifecycle"),
    "init": (_HERE + "init_command", "Initialize a local EventDBX workspace"),
    "config": (_HERE + "config_command", "Update system configuration"),
    "token": (_HERE + "token.commands", "Manage access tokens"),
    "schema": (_HERE + "schema.commands", "Manage schemas"),
    "aggregate": (_HERE + "aggregate.commands", "Manage aggregates"),
    "events": (
        _HERE + "event_commands",
        "List events in the store or inspect a specific event",
    ),
    "import": (_HERE + "importing.command", "Import events from NDJSON or CSV"),
    "plugin": (_HERE + "plugin.commands", "Manage plugins"),
    "queue": (_HERE + "queue.commands", "Show or manage the plugin retry queue"),
    "snapshots": (_HERE + "snapshot_commands", "Manage snapshots"),
    "list": (_HERE + "domain_commands", "List domains with aggregate and event counts"),
    "checkout": (_HERE + "domain_commands", "Switch the active domain context"),
    "merge": (_HERE + "merge_command", "Merge data from one domain into another"),
    "domain": (_HERE + "domain_commands", "List and create domains"),
    "tenant": (_HERE + "tenant.commands", "Manage tenant shard assignments"),
    "remote": (_HERE + "remote_commands", "Manage replication remotes"),
    "proof": (_HERE + "proof.commands", "Prove history to others, offline, and check such proofs"),
    "checkpoint": (
        _HERE + "checkpoint_command",
        "Show the newest signed checkpoint of the log, or sign one",
    ),
    "head-map": (
        _HERE + "headmap_command",
        "Show how far along the log the map of all aggregates is",
    ),
    "keys": (
        _HERE + "keys_command",
        "Look after the keys that the stores are encrypted with",
    ),
    "erase": (
        _HERE + "erase_command",
        "Erase the content of events for good, the history stays",
    ),
    "scrub": (
        _HERE + "scrub_command",
        "Check all records in the background, and show what was found",
    ),
    "upgrade": (_HERE + "upgrade.command", "Upgrade or switch the EventDBX CLI binary"),
    "audit": (
        _HERE + "audit_command",
        "Show who administered what, and export evidence of events",
    ),
    "context": (
        _HERE + "context_commands",
        "Manage named servers, and choose where commands work",
    ),
    "backup": (
        _HERE + "backup_commands",
        "Create a backup archive containing all EventDBX data",
    ),
    "restore": (_HERE + "restore_command", "Restore EventDBX data from a backup archive"),
    "completion": (
        _HERE + "completing.command",
        "Print the script that completes dbx in a shell",
    ),
    "shell": (_HERE + "shell.command", "Work with commands in an interactive shell"),
    "doctor": (
        _HERE + "doctor_command",
        "Check the installation, and say what to do about each finding",
    ),
    "verify": (_HERE + "verify_command", "Recompute every hash of the store, or of one aggregate"),
}
"""Every command with the module that registers it and its phrase, in the order of the help."""

EPILOG = """
Exit status: 0 done, also when there was nothing to do; 1 any failure; 2 wrong usage.
With EVENTDBX_EXIT_CODES=fine a failure is told apart: 3 server not reachable, 4 not found,
5 conflict or already exists, 6 not allowed, 7 invalid input, 1 everything else.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process) and return the exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    streams.prepare()
    _use_utf8()
    try:
        status = answer(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        streams.lose(sys.stdout)
        return EXIT_DONE
    except OSError as error:
        # What was printed has not arrived.
        streams.lose(sys.stdout)
        _report(_failure_of_system(error), args)
        return EXIT_FAILED


def answer(args: list[str]) -> int:
    """Carry out one command line; say on stderr why it fails, and return its exit status."""
    if args in (["--version"], ["-V"], ["version"]):
        from eventdbx import __version__

        print(f"eventdbx version {__version__}")
        return EXIT_DONE
    if args[:1] == ["__complete"]:
        from eventdbx.surfaces.cli.completing.command import answer_shell

        return answer_shell(args[1:])
    try:
        return _run(args)
    except Stop as stop:
        return stop.status
    except UsageFailure as failure:
        sys.stderr.write(failure_line(failure) if errors_as_json(args) else failure.text())
        return EXIT_USAGE
    except Failure as failure:
        _report(failure, args)
        return exit_status(failure, os.environ)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        return _mistake_of_ours(error, args)


def _mistake_of_ours(error: Exception, args: list[str]) -> int:
    """Even a bug ends with one line; ``-v`` shows where it is."""
    if "-v" in args or "--verbose" in args:
        import traceback

        traceback.print_exception(error)
    _report(Failure(f"internal error: {type(error).__name__}: {error}", code=INTERNAL), args)
    return EXIT_FAILED


def _report(failure: Failure, args: list[str]) -> None:
    if errors_as_json(args):
        sys.stderr.write(failure_line(failure))
    else:
        sys.stderr.write(failure_text(failure, hints=sys.stderr.isatty()))


def _run(args: list[str]) -> int:
    import click

    from eventdbx.errors import EventDBXError
    from eventdbx.surfaces.cli.root import root_command

    if not all(_is_text(one) for one in args):
        raise UsageFailure("invalid UTF-8 was detected in one or more arguments")
    root = root_command(MODULES, EPILOG)
    try:
        with root.make_context("dbx", args) as context:
            status = _invoked(context, args)
        return status if isinstance(status, int) else EXIT_DONE
    except EventDBXError as error:
        raise failure_of(error) from None
    except click.UsageError as error:
        raise UsageFailure(error.format_message()) from None
    except click.ClickException as error:
        raise Failure(error.format_message()) from None
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _failure_of_system(error) from None


def _failure_of_system(error: OSError) -> Failure:
    where = f"{error.filename}: " if error.filename else ""
    return Failure(f"{where}{error.strerror or error}", code="io")


def _invoked(context: Context, args: list[str]) -> Any:
    """Run the command. What is only for somebody who reads it is looked for only then."""
    from eventdbx.errors import EventDBXError

    try:
        status = context.command.invoke(context)
    except (Failure, EventDBXError) as error:
        failure = error if isinstance(error, Failure) else failure_of(error)
        if sys.stderr.isatty() or errors_as_json(args):
            from eventdbx.surfaces.cli.suggestions import hint_for

            failure.hint = hint_for(context, failure, args)
        raise failure from None
    if sys.stderr.isatty():
        from eventdbx.surfaces.cli.upgrade.reminder import remind

        remind(context, args, os.environ)
    return status


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _use_utf8() -> None:
    """Input and results are UTF-8 whatever the locale says; streams of tests stay as they are."""
    for stream, errors in (
        (sys.stdin, "surrogateescape"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and (stream.encoding or "").lower() != "utf-8":
            reconfigure(encoding="utf-8", errors=errors)


if __name__ == "__main__":
    raise SystemExit(main())

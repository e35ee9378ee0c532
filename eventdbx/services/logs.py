"""Where the server's log goes and what a line of it looks like.

What is logged is decided where it happens; the file is in :mod:`eventdbx.services.logfile`.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

from eventdbx.domain.timestamps import format_ns

PLUGIN_NAMES = frozenset(("eventdbx.plugin", "eventdbx.plugin.log"))

_ORDER = ("trace", "debug", "info", "warn", "error", "critical")
_COLOURS = {"warn": "33", "error": "31", "critical": "31"}


def write_to_terminal(stream: TextIO) -> Callable[[str], None]:
    """Return a writer to a stream that may have been closed by whoever read it."""

    def write(line: str) -> None:
        try:
            stream.write(line)
            stream.flush()
        except (OSError, ValueError):
            pass

    return write


def start_logging(
    write: Callable[[str], None], *, level: str, style: str, colour: bool = False
) -> Callable[[str], None]:
    """Send everything that is logged to ``write``, a line at a time; return what sets the level.

    ``level`` is ``off`` or the least level that counts, ``style`` ``text`` or ``json``. The
    framework's own news appear on level ``debug`` and below only.
    """
    least = _least(level)
    line_of = json_line if style == "json" else text_line

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        rank = _rank(event)
        if rank >= least:
            line = line_of(event)
            name = _ORDER[rank]
            if colour and style == "text" and name in _COLOURS:
                line = f"\x1b[{_COLOURS[name]}m{line[:-1]}\x1b[0m\n"
            write(line)

    def set_level(level: str) -> None:
        nonlocal least
        least = _least(level)

    globalLogBeginner.beginLoggingTo([observe], redirectStandardIO=False)
    return set_level


def _least(level: str) -> int:
    return len(_ORDER) if level == "off" else _ORDER.index(level)


def _rank(event: LogEvent) -> int:
    level = event.get("log_level", LogLevel.info)
    rank = _ORDER.index(level.name)
    if rank == _ORDER.index("info") and not _ours(event):
        return _ORDER.index("debug")
    return rank


def _ours(event: LogEvent) -> bool:
    return str(event.get("log_namespace", "")).startswith("eventdbx")


def text_line(event: LogEvent) -> str:
    """Return ``time level target: message``, with the traceback of a failure indented below."""
    level = event.get("log_level", LogLevel.info).name.upper()
    message = formatEvent(event).replace("\n", "\n    ")
    return f"{_time(event)} {level:>5} {_target(event)}: {message}{_traceback(event)}\n"


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if failure is None:
        return ""
    text = io.StringIO()
    failure.printTraceback(file=text)
    return "\n    " + text.getvalue().rstrip().replace("\n", "\n    ")


def json_line(event: LogEvent) -> str:
    """Return one JSON object: time, level, target, message, then the fields of the event."""
    fields = {name: value for name, value in event.items() if not name.startswith("log_")}
    document: dict[str, Any] = {
        "time": _time(event),
        "level": event.get("log_level", LogLevel.info).name,
        "target": _target(event),
        "message": formatEvent(event),
    }
    if event.get("log_failure") is not None:
        document["traceback"] = _traceback(event).strip()
    for name in fields.keys() - document.keys() - {"time", "message", "system", "isError"}:
        value = fields[name]
        document[name] = value if isinstance(value, bool | int | float | None) else str(value)
    return json.dumps(document, ensure_ascii=False) + "\n"


def _time(event: LogEvent) -> str:
    seconds = event.get("log_time", time.time())
    return format_ns(int(seconds * 1_000_000) * 1000)


def _target(event: LogEvent) -> str:
    name = str(event.get("log_namespace", "-"))
    # The lines of plugins have always been known by these names, unlike those of modules.
    return name if name in PLUGIN_NAMES else name.replace(".", "::")


def terminal_colour() -> bool:
    """Tell whether the error stream is a terminal whose owner wants colour."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")

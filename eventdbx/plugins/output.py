"""What children write to their outputs, as lines: cut, counted, kept in a file and in the log.

Nothing here waits for a child, and nothing grows with what it writes. Answers in acknowledged mode
are no lines; they are read in :mod:`eventdbx.plugins.process`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.logger import Logger

from eventdbx import limits
from eventdbx.domain.timestamps import format_ns
from eventdbx.plugins.rotating import RotatingFile

_log = Logger(namespace="eventdbx.plugin")

_LAST_CHARACTERS = 300
_CUT = b" ... (cut)"


class Lines:
    """Cuts bytes into lines; the rest of a line that is too long is dropped."""

    def __init__(self, bytes_max: int = limits.PLUGIN_LINE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._begun = b""
        self._dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, without blank ones."""
        *complete, rest = data.split(b"\n")
        found = []
        for piece in complete:
            if not self._dropping:
                found.append(self._shown(self._begun + piece))
            self._begun, self._dropping = b"", False
        if not self._dropping:
            self._begun += rest
            if len(self._begun) > self._bytes_max:
                found.append(self._shown(self._begun))
                self._begun, self._dropping = b"", True
        return [line for line in found if line.strip()]

    def _shown(self, line: bytes) -> bytes:
        if len(line) > self._bytes_max:
            return line[: self._bytes_max] + _CUT
        return line.rstrip(b"\r")

    def rest(self) -> list[bytes]:
        """Return the line that was begun and never ended."""
        line, self._begun = self._begun, b""
        return [line] if line.strip() else []


class ChildLog:
    """Where the lines of one child go: its own file, all of them; the server's log, some."""

    def __init__(self, reactor: Any, identifier: str, path: Path) -> None:
        self._reactor = reactor
        self._identifier = identifier
        self._file = RotatingFile(path)
        self._failed = False
        self._window = 0
        self._repeated = 0
        self._lines: dict[str, Lines] = {}
        self.last_error_line = ""

    def received(self, stream: str, data: bytes) -> None:
        """Take bytes that the child wrote to ``stdout`` or ``stderr``."""
        self._take(stream, self._lines.setdefault(stream, Lines()).feed(data))

    def ended(self) -> None:
        """Take what was begun as lines: the child is gone."""
        for stream, lines in self._lines.items():
            self._take(stream, lines.rest())
        self._lines.clear()

    def note(self, text: str) -> None:
        """Write what the server says of the child to the child's file."""
        self._keep([b"%b server: %b\n" % (self._moment(), text.encode("utf-8", "replace"))])

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _take(self, stream: str, lines: list[bytes]) -> None:
        if not lines:
            return
        moment, name = self._moment(), stream.encode()
        self._keep([b"%b %b: %b\n" % (moment, name, line) for line in lines])
        if stream == "stderr":
            self.last_error_line = _text(lines[-1])[:_LAST_CHARACTERS]
        for line in lines:
            if self._may_repeat():
                _log.info(
                    "{identifier} {stream}: {line}",
                    identifier=self._identifier,
                    stream=stream,
                    line=_text(line),
                )

    def _moment(self) -> bytes:
        return format_ns(int(self._reactor.seconds() * 1_000_000) * 1000).encode()

    def _keep(self, lines: list[bytes]) -> None:
        try:
            self._file.append(b"".join(lines))
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.warn(
                    "output of {identifier} cannot be kept: {reason}",
                    identifier=self._identifier,
                    reason=str(error),
                )
            self._failed = True

    def _may_repeat(self) -> bool:
        window = int(self._reactor.seconds())
        if window != self._window:
            self._window, self._repeated = window, 0
        self._repeated += 1
        if self._repeated == limits.PLUGIN_LINES_PER_S + 1:
            _log.warn(
                "{identifier} writes too many lines; the rest of this second is in {path} only",
                identifier=self._identifier,
                path=str(self._file.path),
            )
        return self._repeated <= limits.PLUGIN_LINES_PER_S


def _text(line: bytes) -> str:
    """Return a line for logs: readable, without control characters."""
    text = line.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\t" else "\ufffd" for one in text)

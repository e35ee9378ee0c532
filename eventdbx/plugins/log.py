"""Delivery as lines: in the server's log, or as JSON lines in a file of the plugin's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from eventdbx.domain.aggregate import state_document
from eventdbx.domain.delivery.entries import LogConfig, PluginEntry
from eventdbx.domain.delivery.envelopes import json_body
from eventdbx.domain.delivery.parts import Item, Parts, Purpose
from eventdbx.errors import ConfigError, IoError
from eventdbx.plugins.interfaces import DeliveryFailed, IDelivery
from eventdbx.plugins.rotating import RotatingFile
from eventdbx.plugins.surroundings import Surroundings

_log = Logger(namespace="eventdbx.plugin.log")

LEVELS = {
    # The framework's log knows nothing below debug.
    "trace": LogLevel.debug,
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}

TIMEOUT_S = 5.0


@implementer(IDelivery)
class LogDelivery:
    """What one ``log`` plugin gets."""

    def __init__(self, entry: PluginEntry, surroundings: Surroundings) -> None:
        assert isinstance(entry.config, LogConfig)
        self._config = entry.config
        self._reactor = surroundings.reactor
        self._timeout_s = entry.timeout_s or TIMEOUT_S
        self._file: RotatingFile | None = None
        if self._config.path is not None:
            self._file = RotatingFile(Path(surroundings.data_root, self._config.path))

    def encode(self, parts: Parts) -> bytes:
        """Return the lines of an event, each with its end."""
        if parts.is_empty:
            return b""
        if self._file is not None:
            return json_body(parts) + b"\n"
        return b"".join(line.encode() + b"\n" for line in self._lines(parts))

    def deliver(self, items: Sequence[Item], *, attempt: int, purpose: Purpose) -> Deferred[None]:
        """Write the lines of all items."""
        level = LEVELS.get(self._config.level.lower())
        if level is None:
            return fail(DeliveryFailed(self._unsupported()))
        lines = b"".join([item.content for item in items])
        if not lines:
            return fail(DeliveryFailed("plugin job contained no data"))
        if self._file is not None:
            return self._append(self._file, lines)
        for line in lines.decode().split("\n")[:-1]:
            _log.emit(level, "{line}", line=line)
        return succeed(None)

    def check(self) -> Deferred[None]:
        """Check the level; a file is opened with its first line."""
        if self._config.level.lower() not in LEVELS:
            return fail(DeliveryFailed(self._unsupported()))
        return succeed(None)

    def close(self) -> Deferred[None]:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        return succeed(None)

    def _unsupported(self) -> str:
        return str(ConfigError(f"unsupported log level '{self._config.level}'"))

    def _append(self, file: RotatingFile, lines: bytes) -> Deferred[None]:
        """Write on a thread: a slow disk must not hold up the server."""
        written: Deferred[None] = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), file.append, lines
        )

        def failed(failure: Failure) -> None:
            cause = _cause(failure.value)
            if failure.check(TimeoutError):
                cause = f"not written within {self._timeout_s:g} s"
            reason = str(IoError(f"{file.path}: {cause}"))
            raise DeliveryFailed(reason, unavailable=True)

        written.addTimeout(self._timeout_s, self._reactor)
        return written.addErrback(failed)

    def _lines(self, parts: Parts) -> list[str]:
        """Return one line for each part; the template is for the event's only."""
        kind, name = parts.aggregate_type, parts.aggregate_id
        full = self._config.detail == "full"
        found = []
        if parts.record is not None:
            found.append(self._event_line(parts, (parts.record.payload or b"null").decode()))
        if parts.head is not None:
            state = state_document(parts.head.state).decode() if full else "present"
            found.append(f"aggregate={kind} id={name} state={state}")
        if parts.schema is not None:
            schema = f" payload={parts.schema.decode()}" if full else ""
            found.append(f"schema={kind}{schema}")
        return found

    def _event_line(self, parts: Parts, payload: str) -> str:
        kind, name, event = parts.aggregate_type, parts.aggregate_id, parts.event_type
        template = self._config.template
        if template is None:
            line = f"aggregate={kind} id={name} event={event}"
            return f"{line} payload={payload}" if self._config.detail == "full" else line
        for place, text in (("{aggregate}", kind), ("{id}", name), ("{event}", event)):
            template = template.replace(place, text)
        return template


def _cause(error: BaseException | None) -> str:
    return str(getattr(error, "strerror", None) or error)

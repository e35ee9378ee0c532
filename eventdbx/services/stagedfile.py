"""The file in which older programs keep what is staged: taken over once, then out of the way.

It is an array of ``{"aggregate", "aggregate_id", "event", "event_raw"?, "payload", "metadata",
"issued_by", "note"}``. Its events are put into the store in one commit, together with the digest of
the file: whoever is killed before the file is out of the way finds that it is taken over already.
Then it gets another name; beside a store that is sealed it is removed, for it is readable.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from eventdbx.application.domains import Domain
from eventdbx.domain.commands import Write
from eventdbx.domain.events import Actor
from eventdbx.errors import EventDBXError, InvalidSchema, IoError

STAGED_NAME = "staged_events.json"
TAKEN_OVER = "staged_events.json.taken-over"

log = Logger()


def take_over_staged(domain: Domain, folder: Path) -> Deferred[None]:
    """Move what an older program has staged into the store of the domain in a folder.

    What cannot be read stays where it is, with a line in the log; never fails.
    """
    path = folder / STAGED_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return domain.staging.forget_mark()
    except OSError as error:
        log.error("{path} cannot be read: {reason}", path=path, reason=error.strerror)
        return succeed(None)
    try:
        writes = read_staged(text)
    except EventDBXError as error:
        log.error("{path} is not taken over: {reason}", path=path, reason=error)
        return succeed(None)

    def taken(count: int) -> Deferred[None]:
        if domain.data_keys.slots is None:
            os.replace(path, folder / TAKEN_OVER)
        else:
            path.unlink()
        if count:
            log.info("{count} staged events of {path} were taken over", count=count, path=path)
        return domain.staging.forget_mark()

    def failed(failure: Any) -> None:
        log.error("{path} is not taken over: {reason}", path=path, reason=failure.value)

    taking: Deferred[Any] = domain.staging.adopt(writes, sha256(text).digest())
    return taking.addCallback(taken).addErrback(failed)


def forget_taken_over(folder: Path) -> None:
    """Remove the file that was taken over, with what of it is erased now."""
    try:
        (folder / TAKEN_OVER).unlink(missing_ok=True)
    except OSError as error:
        raise IoError(f"cannot remove {error.filename}: {error.strerror}") from None


def read_staged(text: bytes) -> list[tuple[Write, Actor | None]]:
    """Return the writes of such a file, each with who issued it. Raises InvalidSchema."""
    try:
        listed = orjson.loads(text)
        if type(listed) is not list:
            raise TypeError("it is no array")
        return [_write(one) for one in listed]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidSchema(f"it is no list of staged events: {error!r}") from None


def _write(one: dict[str, Any]) -> tuple[Write, Actor | None]:
    issued = one.get("issued_by")
    metadata = one.get("metadata")
    raw = one.get("event_raw")
    write = Write(
        "apply",
        str(one["aggregate"]),
        str(one["aggregate_id"]),
        str(raw if raw else one["event"]),
        orjson.dumps(one.get("payload")),
        None if metadata is None else orjson.dumps(metadata),
        one.get("note"),
    )
    return write, None if not issued else Actor(str(issued["group"]), str(issued["user"]))

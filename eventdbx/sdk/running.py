"""A plugin as a program: beside a server on its pipes, or alone on events from a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import orjson

from eventdbx.errors import SerializationError
from eventdbx.sdk.conversation import Conversation
from eventdbx.sdk.events import Event
from eventdbx.sdk.projections import Checkpoint, Projection
from eventdbx.wire.pointers import MalformedMessage

_CHUNK = 1 << 18
_USAGE = """\
This program is a plugin of EventDBX, which starts it. To install it:
  dbx plugin install NAME VERSION --source {program}
To try it on events of your own, one JSON document a line:
  dbx events --json | {program} --events - [--dry-run]
"""


def run(projection: Projection) -> None:
    """Serve events until the server has no more; then return.

    The rest of the program may print: standard output belongs to the server while this runs, and
    what is printed goes to standard error, which the server keeps (``dbx plugin logs``). With
    ``--events FILE`` among the arguments, events come from a file (``-`` for standard input), and
    the program ends: with status 1 if one was refused.
    """
    arguments = sys.argv[1:]
    if "--events" in arguments:
        at = arguments.index("--events") + 1
        source = arguments[at] if at < len(arguments) else "-"
        sys.exit(_feed(projection, source, dry="--dry-run" in arguments))
    if os.isatty(0):
        sys.exit(_USAGE.format(program=sys.argv[0]))
    acknowledged = "EVENTDBX_PLUGIN_ACK" in os.environ or "EVENTDBX_PLUGIN_NAME" not in os.environ
    reading = os.dup(0)
    writing = _take_output() if acknowledged else -1
    # Neither the projection's own children nor its input() get what is the server's.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _serve(projection, reading, writing)


def _take_output() -> int:
    """Return standard output, with standard error in its place for everybody else."""
    sys.stdout.flush()
    writing = os.dup(1)
    os.dup2(2, 1)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)
    return writing


def _serve(projection: Projection, reading: int, writing: int) -> None:
    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(writing, view) :]

    conversation = Conversation(projection, write if writing >= 0 else None, _report)
    try:
        while data := os.read(reading, _CHUNK):
            conversation.receive(data)
    except BrokenPipeError:
        _say("the server is gone")
    except (MalformedMessage, SerializationError) as error:
        _fail(f"standard input holds something else than messages of a server: {error}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _report(line: str) -> None:
    import traceback  # Slow to import, and rarely needed.

    _say(line)
    traceback.print_exc()


def _fail(line: str) -> NoReturn:
    _say(line)
    sys.exit(2)


class _Undone:
    """A checkpoint of which nothing stays: everything is one transaction, rolled back."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._begun = False
        self.is_new = checkpoint.is_new
        self.note = checkpoint.note

    def begin(self) -> None:
        """Begin, once."""
        if not self._begun:
            self._checkpoint.begin()
            self._begun = True

    def commit(self) -> None:
        """Commit nothing."""

    def rollback(self) -> None:
        """Forget everything."""
        self._checkpoint.rollback()
        self._begun = False


def _feed(projection: Projection, source: str, *, dry: bool) -> int:
    """Apply events from a file; return the exit status."""
    undone: _Undone | None = None
    if dry:
        if projection.checkpoint is None:
            _fail("--dry-run needs a projection with a checkpoint: nothing else can be undone")
        projection.checkpoint = undone = _Undone(projection.checkpoint)
    fed = 0
    group: list[Event] = []
    try:
        for event in _documents(source):
            group.append(event)
            if len(group) == projection.size:
                fed += _apply(projection, group)
        while group:
            fed += _apply(projection, group)
    except ValueError as error:
        _fail(f"{source}: {error}")
    except _Stopped as stopped:
        _report(f"after {fed} events {stopped.event!r} was refused: {stopped.__cause__!r}")
        return 1
    finally:
        if undone is not None:
            undone.rollback()
    _say(f"{fed} events applied" + (", and undone" if dry else ""))
    return 0


class _Stopped(Exception):
    """An event that was refused; events before it are applied."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


def _apply(projection: Projection, group: list[Event]) -> int:
    """Apply events of a file and take them off the list; return how many."""
    try:
        taken = projection.apply(group)
    except Exception as error:
        raise _Stopped(group[0]) from error
    del group[:taken]
    return taken


def _documents(source: str) -> Iterator[Event]:
    """Yield the events of a file: a JSON document a line, or one array."""
    try:
        with open(0 if source == "-" else source, "rb") as reading:
            first = reading.read(1)
            while first.isspace():
                first = reading.read(1)
            if first == b"[":
                documents: list[Any] = orjson.loads(first + reading.read())
                for document in documents:
                    yield Event.from_document(document)
                return
            line, number = first + reading.readline(), 1
            while line:
                if line.strip():
                    yield _event(line, number)
                line, number = reading.readline(), number + 1
    except OSError as error:
        raise ValueError(error.strerror) from None


def _event(line: bytes, number: int) -> Event:
    try:
        return Event.from_document(orjson.loads(line))
    except (AttributeError, ValueError) as error:
        raise ValueError(f"line {number}: {error}") from None

"""The server's process: what it tells at the start, and how it ends."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import IoError, StorageError
from eventdbx.services.detaching import Body, Outcome, start_daemon
from eventdbx.services.logs import json_line, text_line
from eventdbx.services.running import Run


class RecordedTree:
    """A tree that notes what is done to it in a list shared with the test."""

    def __init__(self, done: list[str], breaks: Exception | None = None) -> None:
        self.ready: Deferred[None] = Deferred()
        self.failed: Deferred[Failure] = Deferred()
        self.stopping: Deferred[None] = Deferred()
        self._done = done
        self._breaks = breaks

    def startService(self) -> None:
        self._done.append("start")
        if self._breaks is not None:
            raise self._breaks

    def stopService(self) -> Deferred[None]:
        self._done.append("stop")
        return self.stopping


class RecordedReactor(MemoryReactorClock):
    """A reactor that only notes that it was stopped."""

    def __init__(self, done: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._done = done

    def stop(self) -> None:
        self._done.append("reactor stopped")


class Process(SynchronousTestCase):
    """A run from start to end."""

    def setUp(self) -> None:
        self.done: list[str] = []

    def begin(self, breaks: Exception | None = None) -> tuple[RecordedTree, Run]:
        tree = RecordedTree(self.done, breaks)
        run = Run(
            tree,
            RecordedReactor(self.done),
            on_ready=lambda reason: self.done.append(f"told {reason}"),
        )
        run.start()
        return tree, run

    def test_good_life(self) -> None:
        """Readiness is told once; a signal stops the tree first, then the reactor; status 0."""
        tree, run = self.begin()
        tree.ready.callback(None)
        self.assertTrue(run.signalled(signal.SIGTERM))
        self.assertFalse(run.signalled(signal.SIGTERM))
        self.assertEqual(self.done, ["start", "told None", "stop"])
        tree.stopping.callback(None)
        self.assertEqual(self.done[-1], "reactor stopped")
        self.assertEqual(run.status, 0)

    def test_start_fails(self) -> None:
        """The reason of a failed start is told, and the process ends with 1."""
        tree, run = self.begin()
        tree.ready.errback(IoError("cannot listen"))
        tree.stopping.callback(None)
        expected = ["start", "told io error: cannot listen", "stop", "reactor stopped"]
        self.assertEqual((self.done, run.status), (expected, 1))

    def test_start_breaks(self) -> None:
        """A fault in the program at the start is logged, told, and ends with 1."""
        _tree, run = self.begin(ValueError("odd"))
        self.assertEqual(self.done[:2], ["start", "told odd"])
        self.assertEqual(run.status, 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_store_fails(self) -> None:
        """When the store fails the process stops by itself, with status 1."""
        tree, run = self.begin()
        tree.ready.callback(None)
        tree.failed.callback(Failure(StorageError("disk full")))
        tree.stopping.callback(None)
        self.assertEqual((self.done[-2:], run.status), (["stop", "reactor stopped"], 1))

    def test_stop_fails(self) -> None:
        """A tree that cannot be stopped cleanly ends with 1, not never."""
        tree, run = self.begin()
        run.signalled(signal.SIGINT)
        tree.stopping.errback(StorageError("cannot sync"))
        self.assertEqual((self.done[-1], run.status), ("reactor stopped", 1))
        self.assertEqual(len(self.flushLoggedErrors(StorageError)), 1)


class Daemons(SynchronousTestCase):
    """What the command that starts a daemon learns."""

    def outcome(self, body: Body) -> Outcome:
        return start_daemon(body)

    def test_ready(self) -> None:
        """The command goes on when the daemon says so, and knows its process."""

        def body(tell: object) -> int:
            assert callable(tell)
            tell(None)
            return 0

        outcome = self.outcome(body)
        self.assertIsNone(outcome.reason)
        self.assertNotIn(outcome.pid, (0, os.getpid()))

    def test_reasons(self) -> None:
        """A reason, an exception and a silent end are all told."""

        def refuses(tell: object) -> int:
            assert callable(tell)
            tell("port in use\nreally")
            return 1

        def breaks(_tell: object) -> int:
            raise ValueError("odd")

        for body, reason in (
            (refuses, "port in use\nreally"),
            (breaks, "ValueError: odd"),
            (lambda _tell: 3, "process terminated unexpectedly"),
        ):
            self.assertEqual(self.outcome(body).reason, reason)


class Lines(SynchronousTestCase):
    """What the log looks like."""

    EVENT = {
        "log_time": 1_767_323_045.678901,
        "log_level": LogLevel.warn,
        "log_namespace": "eventdbx.services.tree",
        "log_format": "store at {path} is slow",
        "path": Path("data"),
        "count": 3,
    }

    def test_text(self) -> None:
        """A line has time, level, target and message; its fields cannot start another line."""
        self.assertEqual(
            text_line(self.EVENT),
            "2026-01-02T03:04:05.678901Z  WARN eventdbx::services::tree: store at data is slow\n",
        )
        self.assertEqual(text_line({**self.EVENT, "path": "a\nb"}).count("\n    b"), 1)

    def test_json(self) -> None:
        """A document has the same, and each field by its name."""
        self.assertEqual(
            json.loads(json_line(self.EVENT)),
            {
                "time": "2026-01-02T03:04:05.678901Z",
                "level": "warn",
                "target": "eventdbx::services::tree",
                "message": "store at data is slow",
                "path": "data",
                "count": 3,
            },
        )

    def test_failure(self) -> None:
        """A failure is logged with its traceback, in one document or indented below the line."""
        event = {**self.EVENT, "log_failure": Failure(ValueError("odd"))}
        self.assertIn("\n    ", text_line(event))
        self.assertIn("ValueError", json.loads(json_line(event))["traceback"])

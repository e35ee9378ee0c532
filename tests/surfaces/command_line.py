"""The command line in this process: one call, what it printed, and how it ended."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.surfaces.cli.main import main


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)


class CommandLineCase(SynchronousTestCase):
    """A home of its own for each test, without a server."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir(parents=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("EVENTDBX")}
        environment = {**kept, "HOME": str(self.home), "USER": "kim"}
        self.patch(os, "environ", environment)

    @property
    def store(self) -> Path:
        """Where the default domain keeps its events."""
        return self.home / ".eventdbx" / "event_store"

    def attempt(self, *arguments: str, stdin: str = "") -> Ended:
        """Run one command line."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdin", io.StringIO(stdin))
        with redirect_stdout(out), redirect_stderr(err):
            status = main(arguments)
        return Ended(status, out.getvalue(), err.getvalue())

    def dbx(self, *arguments: str, stdin: str = "") -> Ended:
        """Run one command line that must succeed and say nothing on stderr."""
        ended = self.attempt(*arguments, stdin=stdin)
        self.assertEqual((ended.status, ended.stderr), (0, ""))
        return ended

    def failed(self, *arguments: str, stdin: str = "") -> str:
        """Run one command line that must fail with status 1; return what it said."""
        ended = self.attempt(*arguments, stdin=stdin)
        self.assertEqual((ended.status, ended.stdout), (1, ""), ended)
        return ended.stderr

    def misused(self, *arguments: str) -> str:
        """Run one command line that must be refused as wrong usage; return what it said."""
        ended = self.attempt(*arguments)
        self.assertEqual((ended.status, ended.stdout), (2, ""), ended)
        return ended.stderr

    def create(self, aggregate_type: str, aggregate_id: str, *options: str) -> Ended:
        """Create an aggregate with an event named after its type."""
        return self.dbx(
            "aggregate", "create", aggregate_type, aggregate_id,
            "--event", f"{aggregate_type}_created", *options,
        )  # fmt: skip

    def apply(self, aggregate_type: str, aggregate_id: str, event: str, *options: str) -> Ended:
        """Apply an event."""
        return self.dbx("aggregate", "apply", aggregate_type, aggregate_id, event, *options)

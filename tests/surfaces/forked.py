"""The command line in a process of its own for each call: what delivers runs the reactor."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.recordings.command_lines_forks import forks
from tests.surfaces.command_line import CommandLineCase, Ended
from tests.surfaces.sinks import HttpSink


class ForkedCase(CommandLineCase):
    """A home of its own for each test, without a server."""

    def attempt(self, *arguments: str, stdin: str = "") -> Ended:
        """Run one command line."""
        streams = [self.home.parent / f"{self.home.name}.{number}" for number in range(3)]
        for stream, text in zip(streams, (stdin, "", ""), strict=True):
            stream.write_text(text, encoding="utf-8")
        status = forks().run(
            arguments, folder=self.home, environment=dict(os.environ), streams=streams
        )
        return Ended(status, *(one.read_text("utf-8") for one in streams[1:]))

    def told(self, *arguments: str, stdin: str = "") -> str:
        """Return what a command prints that must succeed and say nothing else."""
        return self.dbx(*arguments, stdin=stdin).stdout

    def listed(self) -> list[dict[str, Any]]:
        """Return what is configured."""
        entries: list[dict[str, Any]] = json.loads(self.told("plugin", "list", "--json"))
        return entries

    @property
    def file(self) -> Path:
        """The file of plugins."""
        return self.home / ".eventdbx" / "plugins.json"

    def sink(self, *, status: int = 200) -> HttpSink:
        """Return a target that is closed after the test."""
        sink = HttpSink(status=status)
        self.addCleanup(sink.close)
        return sink

    def hook(self, sink: HttpSink, *options: str, name: str = "hook") -> None:
        """Configure a plugin that posts to a target."""
        self.dbx("plugin", "config", "http", "--name", name, "--endpoint", sink.url, *options)

    def orders(self, *names: str) -> None:
        """Create aggregates."""
        for name in names:
            self.create("order", name)

"""Programs of process plugins on the command line, and everything beside a running server."""

from __future__ import annotations

import os
import re
from pathlib import Path

from eventdbx.services.bundles import this_target
from eventdbx.surfaces.cli.plugin.process import following, last_lines
from tests.daemon import Workspace
from tests.surfaces.forked import ForkedCase
from tests.surfaces.sinks import HttpSink
from tests.surfaces.test_cli_beside_server import ServedCase, steady

PROGRAM = """#!/bin/sh
echo "started with $1"
exec cat > /dev/null
"""


class Installing(ForkedCase):
    """``dbx plugin install``, ``uninstall`` and ``config process``."""

    def setUp(self) -> None:
        super().setUp()
        (self.home / "worker.sh").write_text(PROGRAM)

    def install(self, version: str, *options: str) -> str:
        """Install the program."""
        return self.told("plugin", "install", "worker", version, "--source", "worker.sh", *options)

    def test_versions(self) -> None:
        """The latest one is configured unless another one is named; what is used stays."""
        place = f"{self.home}/.eventdbx/plugins/worker/1.2.0/{this_target()}/worker"
        said = self.install("1.2.0")
        self.assertEqual(said, f"installed plugin 'worker' v1.2.0 for {this_target()} at {place}\n")
        self.install("1.10.0")
        self.install("1.10.0", "--force")
        said = self.failed("plugin", "install", "worker", "1.10.0", "--source", "worker.sh")
        self.assertIn("is already installed; rerun with --force to overwrite", said)
        config = ("plugin", "config", "process", "worker")
        self.assertEqual(self.told(*config), "Process plugin 'worker' configured\n")
        self.dbx(*config, "--name", "old", "--version", "1.2.0", "--arg", "--x", "--env", "A=1",
                 "--ack", "--max-in-flight", "2", "--memory-mb", "64", "--disable")  # fmt: skip
        configs = [entry["config"] for entry in self.listed()]
        self.assertEqual([one["version"] for one in configs], ["1.10.0", "1.2.0"])
        self.assertEqual(
            configs[1],
            {
                "type": "process", "name": "worker", "version": "1.2.0", "args": ["--x"],
                "env": {"A": "1"}, "working_dir": None, "ack": True, "max_in_flight": 2,
                "memory_mb": 64,
            },
        )  # fmt: skip
        said = self.told("plugin", "list", "--available")
        self.assertEqual(
            said.splitlines()[:3],
            [
                "Available plugins:",
                "  - worker (latest 1.10.0, installed 1.2.0, 1.10.0)",
                "",
            ],
        )
        self.assertIn("configured", self.failed("plugin", "uninstall", "worker"))
        self.dbx("plugin", "remove", "old")
        said = self.told("plugin", "uninstall", "worker", "1.2.0")
        self.assertEqual(said, "uninstalled plugin 'worker' v1.2.0\n")

    def test_refusals(self) -> None:
        """What is missing or contradicts itself is said before anything is written."""
        config = ("plugin", "config", "process")
        for line, said in (
            (config, "plugin identifier is required"),
            ((*config, "a", "--plugin", "b"),
             "conflicting plugin identifiers provided (flag vs positional)"),
            ((*config, " "), "plugin identifier cannot be empty"),
            ((*config, "a", "--name", ""), "plugin name cannot be empty"),
            ((*config, "a"), f"plugin 'a' is not installed for target {this_target()}; "
             "run `dbx plugin install` first"),
            (("plugin", "install", "a", "--source", "worker.sh"),
             "plugin version must be specified when installing from a custom source"),
        ):  # fmt: skip
            self.assertEqual(self.failed(*line), f"Error: {said}\n")
        said = self.failed("plugin", "install", "a", "1", "--source", "none")
        self.assertIn("Error: failed to open plugin bundle at ", said)
        self.assertIn("\n\nCaused by:\n    No such file or directory", said)
        self.assertFalse(self.file.exists())

    def test_without_a_server(self) -> None:
        """The server owns the programs: without one nothing runs, and starting says so."""
        self.install("1.0.0")
        self.dbx("plugin", "config", "process", "worker", "--name", "w.1", "--disable")
        said = self.failed("plugin", "start", "w.1")
        self.assertEqual(
            said, "Error: process plugin 'w.1' is disabled; enable it before starting the worker\n"
        )
        self.dbx("plugin", "enable", "w.1")
        said = self.failed("plugin", "start", "w.1")
        self.assertEqual(said, "Error: no server is running, which would own the worker of 'w.1'\n")
        self.assertEqual(
            self.told("plugin", "stop", "w.1"), "Process plugin 'w.1' worker is not running\n"
        )
        run = f"{self.home}/.eventdbx/plugins/run"
        self.assertEqual(
            self.told("plugin", "status").splitlines(),
            [
                "Process plugin: w.1",
                "  enabled: true",
                "  emit events: true",
                "  status: stopped",
                f"  runtime pid file: {run}/w_1.pid",
                f"  worker pid file: {run}/w_1.worker",
            ],
        )
        self.assertEqual(self.listed()[0]["runtime"], {"state": "stopped"})
        self.assertEqual(self.told("plugin", "logs", "w.1"), "")


class Beside(ForkedCase, ServedCase):
    """The same beside a server."""

    def answer(self, place: Workspace, *arguments: str) -> str:
        """Return what a command prints that must succeed."""
        ended = self.at(place, *arguments)
        self.assertEqual((ended.status, ended.stderr), (0, ""), arguments)
        return ended.stdout

    def test_a_child(self) -> None:
        """It is started and stopped, its pid is that of the system, and its lines are kept."""
        os.environ["EVENTDBX_LOG_DIR"] = ""
        place = self.workspace(served=True)
        os.environ["EVENTDBX_LOG_DIR"] = str(place.folder / "logs")
        program = place.folder / "worker.sh"
        program.write_text(PROGRAM)
        self.answer(place, "plugin", "install", "worker", "1", "--source", str(program))
        self.answer(place, "plugin", "config", "process", "worker", "--name", "w", "--arg", "eggs")
        said = self.answer(place, "plugin", "start", "w")
        found = re.fullmatch(r"Process plugin 'w' worker .*\(pid (\d+)\)\n", said)
        assert found is not None, said
        pid = int(found[1])
        os.kill(pid, 0)
        again = f"Process plugin 'w' worker is already running (pid {pid})\n"
        self.assertEqual(self.answer(place, "plugin", "start", "w"), again)
        self.assertIn(f"; process running (pid {pid})", self.answer(place, "plugin", "list"))
        status = self.answer(place, "plugin", "status", "w")
        self.assertIn(f"  status: running (pid {pid})\n", status)
        self.assertRegex(status, r"worker pid file: \S+/w\.worker \(pid \d+\)\n")
        said = self.failed("--config", str(place.folder / ".dbx" / "config.toml"),
                           "plugin", "start", "w", "--foreground")  # fmt: skip
        self.assertIn("--foreground cannot be used while a server runs", said)
        stopped = f"Stopped process plugin 'w' worker (pid {pid})\n"
        self.assertEqual(self.answer(place, "plugin", "stop", "w"), stopped)
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)
        off = "Process plugin 'w' worker is not running\n"
        self.assertEqual(self.answer(place, "plugin", "stop", "w"), off)
        lines = self.answer(place, "plugin", "status").splitlines()
        self.assertEqual((lines[3], len(lines)), ("  status: stopped", 6))
        self.assertIn("stdout: started with eggs\n", self.answer(place, "plugin", "logs", "w"))
        self.assertEqual(self.answer(place, "plugin", "logs", "w", "--lines", "0"), "")

    def test_same_output(self) -> None:
        """Whether a server runs cannot be seen in what commands print."""
        sink = HttpSink()
        self.addCleanup(sink.close)
        alone, served = self.workspace(served=False), self.workspace(served=True)
        order = ("aggregate", "create", "order", "--event", "order_created")
        for line in (
            ("plugin", "list"),
            ("queue",),
            ("plugin", "lag"),
            ("plugin", "test"),
            ("plugin", "config", "http", "--name", "hook", "--endpoint", sink.url),
            ("plugin", "config", "log", "--name", "l", "--path", "l.ndjson"),
            ("plugin", "config", "log", "--name", "hook"),
            ("plugin", "pause", "hook"),
            (*order, "o-1"),
            ("plugin", "wait", "l"),
            ("queue",),
            ("queue", "--json"),
            ("plugin", "lag", "hook"),
            ("plugin", "list", "--json"),
            ("plugin", "resume", "hook"),
            ("plugin", "wait", "hook"),
            ("plugin", "test", "hook"),
            ("plugin", "replay", "hook", "order"),
            ("plugin", "replay", "hook", "order", "o-9"),
            ("plugin", "seek", "hook", "end", "--yes"),
            ("plugin", "rebuild", "hook", "--yes"),
            ("plugin", "rename", "hook", "h"),
            ("plugin", "set", "h", "--max-attempts", "1"),
            ("plugin", "set", "h", "x=1"),
            ("queue", "show", "5"),
            ("queue", "drop", "5", "--yes"),
            ("queue", "retry"),
            ("queue", "clear"),
            ("queue", "clear-done", "--yes"),
            ("plugin", "disable", "h"),
            ("plugin", "enable", "h"),
            ("plugin", "enable", "none"),
            ("plugin", "switch", "l", "--with", "h"),
            ("plugin", "remove", "l"),
            ("plugin", "remove", "l", "--disable"),
        ):
            self.assertEqual(steady(self.at(served, *line)), steady(self.at(alone, *line)), line)


class Lines(ForkedCase):
    """What a child has written."""

    def test_following(self) -> None:
        """The last lines, then what comes, also when the file is put aside."""
        path = Path(self.home, "w.log")
        path.with_name("w.log.1").write_text("one\ntwo\n")
        path.write_text("three\nfo")
        with path.open("rb") as file:
            self.assertEqual(last_lines(path, None, 9), ["one", "two"])
            self.assertEqual(last_lines(path, file, 2), ["three", "fo"])
        file = path.open("rb")
        self.assertEqual(file.read(), b"three\nfo")
        lines = following(path, file)
        with path.open("a") as writing:
            writing.write("ur\nfive\n")
        self.assertEqual([next(lines), next(lines)], ["ur", "five"])
        path.replace(path.with_name("w.log.1"))
        path.write_bytes(b"six\xff\n")
        self.assertEqual(next(lines), "six\ufffd")
        self.assertTrue(file.closed)

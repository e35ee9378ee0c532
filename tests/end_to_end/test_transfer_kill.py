"""Imports and exports that are killed: nothing is written twice, no file is half there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import CHECKOUT_DBX, Workspace

EVENTS = 4_000
BATCH = 50
STEP = 12
"""Batches that each life of an import may write before it is killed."""

POLL_S = 0.001


class TransferKill(SynchronousTestCase):
    """A file of events with every aggregate twice."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(self.space.stop, signal.SIGKILL)
        self.file = self.space.folder / "events.ndjson"
        with self.file.open("w") as file:
            for number in range(EVENTS):
                name = f"o-{number % (EVENTS // 2):05}"
                file.write(
                    f'{{"aggregate_type":"order","aggregate_id":"{name}",'
                    f'"event_type":"changed","payload":{{"n{number % 3}":{number}}}}}\n'
                )

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command; it is killed at the end of the test at the latest."""
        process = self.space.spawn(*CHECKOUT_DBX, *words)

        def end() -> None:
            process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def written(self) -> int:
        """Return how many batches the state beside the file tells of, -1 without one."""
        try:
            document: dict[str, Any] = json.loads(
                self.file.with_name("events.ndjson.import-state").read_text()
            )
        except FileNotFoundError:
            return -1
        return int(document["number"])

    def import_in_lives(self, *options: str) -> int:
        """Import the file, killed again and again; return how many lives it took."""
        lives = 1
        resume: tuple[str, ...] = ()
        while True:
            process = self.spawn("import", str(self.file), "--batch-size", str(BATCH),
                                 *options, *resume)  # fmt: skip
            # The first life ends before its first batch is noted, if that can be caught.
            until = self.written() + (1 if lives == 1 else STEP)
            while process.poll() is None and self.written() < until:
                self.paused(process)
            process.kill()
            _out, said = process.communicate()
            if process.returncode == 0:
                return lives
            self.assertEqual(process.returncode, -signal.SIGKILL, said)
            lives += 1
            resume = ("--resume",) if self.written() >= 0 else ()

    def paused(self, process: subprocess.Popen[str]) -> None:
        """Let a moment pass, or the process end."""
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            pass

    def assert_each_once(self) -> None:
        """Every event of the file is in the store, once, in the order of the file."""
        path = self.space.folder / "found.ndjson"
        self.space.run("aggregate", "export", "order", "--format", "ndjson", "--output", str(path))
        found = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual(len(found), EVENTS // 2)
        report = json.loads(self.space.run("verify", "--json"))
        self.assertEqual((report["aggregates"], report["events"]), (EVENTS // 2, EVENTS))
        for number, one in enumerate(found):
            second = number + EVENTS // 2
            self.assertEqual(one[f"n{second % 3}"], str(second))

    def test_import_beside_server(self) -> None:
        """An import through a server that is killed often goes on and writes each line once."""
        self.space.start()
        self.assertGreater(self.import_in_lives(), 2)
        self.assert_each_once()

    def test_import_without_server(self) -> None:
        """So does one that writes the store itself."""
        self.assertGreater(self.import_in_lives("--no-check"), 2)
        self.assert_each_once()

    def test_server_is_killed(self) -> None:
        """An import whose server dies says so, and goes on beside the next one."""
        self.space.start()
        process = self.spawn("import", str(self.file), "--batch-size", str(BATCH))
        while process.poll() is None and self.written() < STEP:
            self.paused(process)
        self.space.stop(signal.SIGKILL)
        _out, said = process.communicate()
        self.assertEqual(process.returncode, 1, said)
        self.assertIn("--resume goes on there", said)
        self.space.start()
        self.space.run("import", str(self.file), "--resume")
        self.assert_each_once()

    def test_from_one_to_another(self) -> None:
        """What one database prints another one reads from stdin, and has the same states then."""
        self.space.run("import", str(self.file))
        other = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(other.stop, signal.SIGKILL)
        other.start()
        printing = self.spawn("events", "--all", "-o", "ndjson")
        reading = other.spawn(*CHECKOUT_DBX, "import", "-", stdin=printing.stdout)
        said, _err = reading.communicate()
        printing.communicate()
        self.assertEqual(said, f"Imported {EVENTS} event(s) from stdin\n")
        export = ("aggregate", "export", "order", "--output", "-")
        self.assertEqual(other.run(*export), self.space.run(*export))

    def test_export(self) -> None:
        """An export that is killed leaves the old file, the next one removes what it left."""
        self.space.run("import", str(self.file))
        folder = self.space.folder / "exported"
        folder.mkdir()
        path = folder / "order.csv"
        path.write_text("old")
        for options in ((), ("--format", "json"), ("--zip",)):
            target = path if not options else folder / f"order.{options[-1].strip('-')}"
            target.write_text("old")
            process = self.spawn("aggregate", "export", "order", "--output", str(target), *options)
            while process.poll() is None and not list(folder.glob(".*.part")):
                self.paused(process)
            process.kill()
            process.communicate()
            self.assertEqual(process.returncode, -signal.SIGKILL)
            self.assertEqual(target.read_text(), "old")
            self.assertTrue(list(folder.glob(".*.part")))
            self.space.run("aggregate", "export", "order", "--output", str(target), *options)
            self.assertEqual(list(folder.glob(".*.part")), [])
            self.assertNotEqual(target.read_bytes(), b"old")
        self.assertEqual(sorted(os.listdir(folder)), ["order.csv", "order.json", "order.zip"])

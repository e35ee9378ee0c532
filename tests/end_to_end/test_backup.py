"""Backups beside a server that is written to, and restores that are killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.surfaces.control.calls import Calls
from tests.daemon import CHECKOUT_DBX, Workspace

WRITERS = 2
BEFORE = 60
"""Events that are there before the backup begins."""

KILLS = 8


class Writing:
    """Clients that append until they are told to stop; each numbers its events."""

    def __init__(self, space: Workspace) -> None:
        self._space = space
        self._over = threading.Event()
        self._enough = threading.Semaphore(0)
        self.acknowledged = [0] * WRITERS
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _write(self, number: int) -> None:
        with BlockingClient("127.0.0.1", self._space.port, self._space.token) as it:
            while not self._over.is_set():
                count = self.acknowledged[number] + 1
                it.append("order", f"o-{number}-{count % 7}", "counted", {"n": count})
                self.acknowledged[number] = count
                self._enough.release()

    def wait_for(self, count: int) -> None:
        """Return when so many more events are acknowledged."""
        for _ in range(count):
            if not self._enough.acquire(timeout=60):
                raise AssertionError("the writers stand still")

    def stop(self) -> None:
        """Let the clients end."""
        self._over.set()
        for thread in self._threads:
            thread.join()


class BackupUnderWrites(SynchronousTestCase):
    """A server that is written to all the time."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(self.space.stop, signal.SIGKILL)
        self.space.start()

    def counted(self) -> list[list[int]]:
        """Return the numbers of each writer's events, in the order of the commits."""
        found: list[list[int]] = [[] for _ in range(WRITERS)]
        lines = json.loads(self.space.run("events", "--json", "--take", "1000000"))
        for one in sorted(lines, key=lambda one: int(one["metadata"]["event_id"])):
            if one["aggregate_type"] == "order":
                writer = int(one["aggregate_id"].split("-")[1])
                found[writer].append(one["payload"]["n"])
        return found

    def test_a_prefix(self) -> None:
        """What comes back is all that was acknowledged before the backup, and nothing between is
        missing."""
        writing = Writing(self.space)
        self.addCleanup(writing.stop)
        writing.wait_for(BEFORE)
        before = list(writing.acknowledged)
        made = json.loads(self.space.run("backup", "--output", "b.tar.gz", "--json"))
        after = list(writing.acknowledged)
        writing.wait_for(BEFORE)
        writing.stop()
        self.assertEqual(list((self.space.folder / ".dbx").glob(".backup-*")), [])
        self.assertEqual(self.space.stop(), 0)
        shutil.rmtree(self.space.folder / ".dbx")
        self.space.run("restore", "--input", "b.tar.gz")
        config = self.space.folder / ".eventdbx" / "config.toml"
        self.assertTrue(config.exists())
        self.assertEqual(made["domains"], ["default"])
        self.space.run("verify")
        for number, found in enumerate(self.counted()):
            self.assertEqual(found, list(range(1, len(found) + 1)))
            self.assertGreaterEqual(len(found), before[number])
            self.assertLessEqual(len(found), after[number] + 1)

    def test_client_vanishes(self) -> None:
        """A copy whose command was killed is taken away when the server stops, at the latest."""
        client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        asked = Calls(self.space.token).administer({"do": "backup_begin", "keys": True})
        folder = Path(client.call(asked)["path"])
        self.assertTrue((folder / "data" / "event_store" / "CURRENT").exists())
        client.close()
        self.assertEqual(self.space.stop(signal.SIGKILL), -signal.SIGKILL)
        self.assertTrue(folder.exists())
        self.space.start()
        self.assertFalse(folder.exists())


class RestoreKilled(SynchronousTestCase):
    """A store that is there, and the archive of another one."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.space.run("aggregate", "create", "order", "o-old", "--event", "made")
        self.space.run("backup", "--output", "old.tar.gz")
        self.space.run("aggregate", "create", "order", "o-new", "--event", "made")
        self.space.run("backup", "--output", "new.tar.gz")

    def killed(self, *words: str, after_s: float) -> int:
        """Run a command that is killed after a while; return how it ended."""
        process = self.space.spawn(*CHECKOUT_DBX, *words)
        try:
            process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode

    def test_old_or_new(self) -> None:
        """Killed at any moment, a restore leaves the old data or the new, whole."""
        random, ended = Random(7), set()
        for turn in range(KILLS):
            source = ("old.tar.gz", "new.tar.gz")[turn % 2]
            status = self.killed("restore", "--input", source, "--force",
                                 after_s=random.uniform(0.1, 1.0))  # fmt: skip
            ended.add(status)
            self.space.run("verify")
            found = json.loads(self.space.run("aggregate", "list", "--json"))["items"]
            names = sorted(one["aggregate_id"] for one in found)
            self.assertIn(names, [["o-old"], ["o-new", "o-old"]])
        self.assertIn(-signal.SIGKILL, ended)
        self.space.run("restore", "--input", "old.tar.gz", "--force")
        left = [one.name for one in self.space.folder.iterdir() if one.name.startswith(".dbx")]
        left += [one.name for one in self.space.folder.glob("..dbx.*")]
        self.assertEqual(left, [".dbx"])

    def test_backup_killed(self) -> None:
        """A backup that was killed leaves nothing under its name, nor in the way of the next."""
        random = Random(11)
        for _ in range(4):
            path = self.space.folder / "killed.tar.gz"
            status = self.killed("backup", "--output", path.name,
                                 after_s=random.uniform(0.2, 0.7))  # fmt: skip
            if path.exists():
                self.space.run("backup", "verify", path.name)
                path.unlink()
            else:
                self.assertEqual(status, -signal.SIGKILL)
        self.space.run("backup", "--output", "killed.tar.gz")
        left = sorted(one.name for one in self.space.folder.glob(".killed.tar.gz.*"))
        self.assertEqual(left, [])
        self.assertEqual(list((self.space.folder / ".dbx").glob(".backup-*")), [])

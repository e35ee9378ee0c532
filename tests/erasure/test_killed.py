"""Processes that are killed while they erase, at every single thing that they do to the disk."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import Deferred

from eventdbx.application.authorising import allow_all
from eventdbx.domain.commands import Write
from eventdbx.storage.erasures import Erasure, erasures
from tests.daemon import ROOT
from tests.erasure.places import ALICE, OnDisk, now

SECRETS = ("secret-alpha-9182", "secret-bravo-9182", "secret-charlie-9182")
CYCLES_MAX = 40


class Killed(OnDisk):
    """An aggregate, and a subject in three of them."""

    def setUp(self) -> None:
        super().setUp()
        self.write("o-1", {"kept": 1})
        for number in range(1, 4):
            who, told = {"who": f"{SECRETS[0]}-{number}", "n": number}, SECRETS[1]
            self.write(f"o-{number}", who, subject="anna", note=told)
        self.snapshot("o-1", SECRETS[2])
        staged = Write(
            "apply", "order", "o-1", "made", '{"n":9}', '{"@subject":"anna"}', note=SECRETS[2]
        )
        staging = self.domain.staging.stage(
            (staged,), owner=ALICE, actor=ALICE, authorise=allow_all, render=len
        )
        self.assertEqual(self.successResultOf(staging), 1)
        self.successResultOf(self.domain.store.close())
        self.kept = Path(self.mktemp())
        shutil.copytree(self.folder, self.kept)

    def erased_by(self, scope: str, at: int) -> bool:
        """Let a process erase that is killed before its n-th work; return whether it was."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)
        command = [sys.executable, "-m", "tests.erasure.killed_child", str(self.folder.resolve())]
        command += ["sealed" if self.sealed else "plain", scope, str(at)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        if done.returncode == -signal.SIGKILL:
            return True
        self.assertEqual(done.stdout, "done\n", done.stderr)
        return False

    def cycles(self, scope: str) -> tuple[int, int]:
        """Kill at everything; return how often, and how often the erasure had been made known."""
        known = 0
        for at in range(1, CYCLES_MAX):
            killed = self.erased_by(scope, at)
            self.open()
            whole = not any(one.erased for one in self.events("o-1"))
            named = len(self.events("o-1")) > 2
            started = bool(self.successResultOf(self._resumed()))
            if whole and not named and not started:
                self.assertTrue(killed)
                self.assertEqual(self.state("o-1")["who"], f"{SECRETS[0]}-1")
                self.assertEqual(len(self.domain.staging.entries(ALICE)), 1)
                self.successResultOf(self.domain.store.close())
                continue
            known += 1
            if scope == "aggregate":
                self.assertFalse(whole, "it was read before it was erased")
                self.assertEqual(self.state("o-1"), {})
                self.assertEqual(self.state("o-2")["n"], 2)
                self.assert_gone((f"{SECRETS[0]}-1", SECRETS[2]))
            else:
                self.assertEqual(self.state("o-1"), {"kept": 1})
                self.assertEqual([self.state("o-2"), self.state("o-3")], [{}, {}])
                self.assert_gone(SECRETS)
            self.assertEqual(self.findings(), [])
            self.assertEqual(self.domain.staging.entries(ALICE), [])
            self.assertEqual(self.events("o-1")[-1].event_type, "dbx_erased")
            self.write("o-1", {"on": 1})
            self.reopen()
            self.assertEqual(self.findings(), [])
            self.successResultOf(self.domain.store.close())
            if not killed:
                return at, known
        raise AssertionError("it never came to its end")

    def _resumed(self) -> Deferred[list[Erasure]]:
        left = erasures(self.domain.store.view())
        return self.domain.erasing.start(now).addCallback(lambda _done: left)

    def test_an_aggregate(self) -> None:
        cycles, known = self.cycles("aggregate")
        self.assertGreaterEqual(cycles, 5)
        self.assertGreaterEqual(known, 4)

    def test_a_subject(self) -> None:
        cycles, known = self.cycles("subject")
        self.assertGreaterEqual(cycles, 10)
        self.assertGreaterEqual(known, 9)


class KilledPlain(Killed):
    """The same in a store that is not sealed."""

    sealed = False

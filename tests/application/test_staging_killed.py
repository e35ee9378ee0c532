"""Processes that are killed around staging and committing."""

from __future__ import annotations

import signal
import subprocess
import sys

from eventdbx.application.staging import LOCAL
from tests.application.stagings import StagingCase
from tests.daemon import ROOT


class Killed(StagingCase):
    """Processes that are killed around the commit: everything or nothing, and never twice."""

    def outcome(self, doing: str, when: str, at: int) -> int:
        """Return how a process ended that was to be killed around its n-th work on the disk."""
        self.successResultOf(self.domain.store.close())
        command = [sys.executable, "-m", "tests.application.staging_child"]
        command += [str(self.folder.resolve()), "sealed" if self.sealed else "plain"]
        done = subprocess.run(
            [*command, doing, when, str(at)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        self.open()
        if done.returncode == -signal.SIGKILL:
            return done.returncode
        self.assertEqual((done.returncode, done.stdout), (0, "done\n"), done.stderr)
        return 0

    def both(self) -> tuple[int, int]:
        """Return how many events are committed and how many are staged."""
        return len(self.events("o-1")) - 1 + len(self.events("o-2")), len(self.ids(LOCAL))

    def test_while_staging(self) -> None:
        """What was said to be staged is there; what was not is there or not, whole."""
        seen = set()
        for when in ("before", "after"):
            for at in range(1, 10):
                staged = len(self.ids(LOCAL))
                ended = self.outcome("stage", when, at)
                added = len(self.ids(LOCAL)) - staged
                self.assertIn(added, (0, 3))
                self.assertEqual(self.findings(), [])
                if not ended:
                    self.assertEqual(added, 3)
                    break
                seen.add((when, added))
                self.successResultOf(self.staging.drop(LOCAL, None))
            else:
                self.fail("it never came to its end")
            self.successResultOf(self.staging.drop(LOCAL, None))
        self.assertGreaterEqual(seen, {("before", 0), ("after", 3)})

    def test_while_committing(self) -> None:
        seen = set()
        for when in ("before", "after"):
            for at in range(1, 10):
                events, staged = self.both()
                if not staged:
                    self.outcome("stage", "never", 0)
                    staged = 3
                ended = self.outcome("commit", when, at)
                done, left = self.both()
                self.assertIn((done - events, left), ((0, 3), (3, 0)))
                self.assertEqual(self.findings(), [])
                if not ended:
                    self.assertEqual(left, 0)
                    break
                seen.add((when, left))
            else:
                self.fail("it never came to its end")
        self.assertGreaterEqual(seen, {("before", 3), ("after", 0)})


class KilledPlain(Killed):
    """The same in a store that is not sealed."""

    sealed = False

"""``dbx verify`` of a whole store, and ``dbx scrub``, without a server and beside one."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.surfaces.cli.verify_command import ranges
from eventdbx.surfaces.cli.verify_pace import Pace
from tests.daemon import Workspace
from tests.surfaces.command_line import CommandLineCase


class Verifying(CommandLineCase):
    """The whole store."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(3):
            self.create("order", f"o-{number}", "--field", "total=1")
        self.kept = self.home / "kept.note"
        self.kept.write_text(self.dbx("checkpoint", "--sign").stdout)
        self.create("order", "o-3")

    def test_ranges(self) -> None:
        """What is signed, and what is not yet, is told apart."""
        shown = self.dbx("verify", "--checkpoint", str(self.kept)).stdout.splitlines()
        self.assertEqual(shown[0], "verified 4 aggregate(s) with 4 event(s)")
        self.assertEqual(shown[1], "log of events: witnessed none, signed 0-2, not signed yet 3-3")
        document = self.dbx("verify", "--json").document
        self.assertEqual(
            document["logs"][0], {"log": "events", "size": 4, "anchored": 3, "witnessed": 0}
        )
        self.assertEqual((document["aggregates"], document["findings"]), (4, []))

    def test_words(self) -> None:
        """All three ranges of a log."""
        log = {"log": "events", "size": 9, "anchored": 7, "witnessed": 4}
        self.assertEqual(
            ranges(log), "log of events: witnessed 0-3, signed 4-6, not signed yet 7-8"
        )

    def test_put_back(self) -> None:
        """A store put back as a whole is found by the file beside it, and by one kept elsewhere."""
        data = self.home / ".eventdbx"
        shutil.copytree(data / "event_store", self.home / "older")
        self.create("order", "o-4")
        self.kept.write_text(self.dbx("checkpoint", "--sign").stdout)
        shutil.rmtree(data / "event_store")
        shutil.copytree(self.home / "older", data / "event_store")
        ended = self.attempt("verify")
        self.assertEqual(ended.status, 1)
        self.assertIn("checkpoint in the file checkpoint beside the store", ended.stderr)
        (data / "checkpoint").unlink()
        self.dbx("verify")
        ended = self.attempt("verify", "--checkpoint", str(self.kept), "--json")
        (finding,) = ended.document["findings"]
        self.assertEqual(finding["record"], "the checkpoint that was given")
        self.assertIn("5 were signed: it was cut or rolled back", finding["message"])

    def test_given_files(self) -> None:
        """A file that is no checkpoint of this log is said to be none."""
        self.assertIn("cannot read", self.failed("verify", "--checkpoint", "nowhere"))
        self.kept.write_text("nothing")
        ended = self.attempt("verify", "--checkpoint", str(self.kept))
        self.assertEqual(ended.status, 1)
        self.assertIn("the checkpoint that was given", ended.stderr)
        self.assertIn("for the whole store", self.failed("verify", "order", "o-1", "--rate", "5"))

    def test_progress(self) -> None:
        """Asked for, how far it is goes to stderr, also where that is no terminal."""
        ended = self.attempt("verify", "--progress", "--rate", "1")
        self.assertEqual(ended.status, 0)
        self.assertIn("verifying: stage ", ended.stderr)
        self.assertEqual(self.attempt("verify").stderr, "")

    def test_scrub(self) -> None:
        """Without a server scrubbing stands still; its state is shown."""
        self.assertEqual(self.dbx("scrub", "status").stdout, "scrub: idle\n")
        self.assertEqual(self.dbx("scrub", "status", "--json").document["last"], None)
        self.assertIn("needs a running server", self.failed("scrub", "start"))


class Paces(CommandLineCase):
    """How fast a verification goes."""

    def test_rate(self) -> None:
        """It waits until what was read was due, and catches up after a slow page."""
        now, slept = [0.0], []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            now[0] += seconds

        pace = Pace(100, clock=lambda: now[0], sleep=sleep)
        self.assertEqual(pace.page_kib(4_096), 100)
        pace.wait(50 << 10)
        self.assertEqual(slept, [0.5])
        now[0] += 2
        pace.wait(50 << 10)
        self.assertEqual(slept, [0.5])
        unbounded = Pace(None, clock=lambda: now[0], sleep=sleep)
        unbounded.wait(1 << 30)
        self.assertEqual((unbounded.page_kib(4_096), slept), (4_096, [0.5]))


class BesideServer(SynchronousTestCase):
    """Asked of a running server."""

    def test_the_same(self) -> None:
        """A server verifies in pages, scrubs when told to, and knows of it after a restart."""
        workspace = Workspace(Path(mkdtemp(dir=Path(self.mktemp()).parent)) / "database")
        workspace.start()
        self.addCleanup(workspace.stop)
        for name in ("o-1", "o-2"):
            workspace.run("aggregate", "create", "order", name, "--event", "made")
        workspace.run("checkpoint", "--sign")
        shown = workspace.run("verify", "--rate", "100000")
        self.assertIn("verified 2 aggregate(s) with 2 event(s)\n", shown)
        self.assertIn("signed 0-1, not signed yet none", shown)
        self.assertIn("scrub: running", workspace.run("scrub", "start"))
        workspace.wait_for_log("scrub: 2 aggregates, 2 events")
        self.assertIn("0 problem(s)", workspace.run("scrub", "status"))
        self.assertIn("scrub: stopped", workspace.run("scrub", "stop"))
        workspace.stop()
        shown = workspace.run("scrub", "status")
        self.assertIn("scrub: stopped", shown)
        self.assertIn("2 aggregate(s), 2 event(s)", shown)

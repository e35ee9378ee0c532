"""``dbx checkpoint``, without a server and beside one."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.checkpoint_keys import verify
from eventdbx.domain.checkpoints import Checkpoint, Trust, check_checkpoint
from eventdbx.domain.notes import parse_note, parse_vkey
from tests.daemon import Workspace
from tests.surfaces.command_line import CommandLineCase


def checked(note: str, keys: str) -> Checkpoint:
    """Return what a note says, checked with the keys as they were printed."""
    lines = dict(line.split(": ") for line in keys.splitlines())
    key = parse_vkey(lines["log"])
    return check_checkpoint(parse_note(note.encode()), Trust(key.name, (key,)), verify).checkpoint


class WithoutServer(CommandLineCase):
    """The store opened by the command itself."""

    def test_signed_and_shown(self) -> None:
        """Nothing is there until one is signed; then it is shown as it is handed to others."""
        self.create("order", "o-1")
        self.create("order", "o-2")
        ended = self.attempt("checkpoint")
        self.assertEqual((ended.status, ended.stdout), (1, ""))
        self.assertIn("no checkpoint has been signed yet", ended.stderr)
        keys = self.dbx("checkpoint", "--key").stdout
        self.assertIn("/witness+", keys)
        signed = self.dbx("checkpoint", "--sign").stdout
        self.assertEqual(checked(signed, keys).size, 2)
        self.assertEqual(self.dbx("checkpoint").stdout, signed)
        self.assertEqual((self.home / ".eventdbx" / "checkpoint").read_text(), signed)
        self.create("order", "o-3")
        self.assertEqual(self.dbx("checkpoint").stdout, signed)
        newer = self.dbx("checkpoint", "--sign", "--json").document
        self.assertEqual((newer["size"], newer["problem"]), (3, None))
        self.assertEqual(checked(newer["checkpoint"], keys).size, 3)
        self.assertEqual(self.dbx("checkpoint", "--size", "2").stdout, signed)
        self.assertEqual(self.attempt("checkpoint", "--size", "1").status, 1)

    def test_store_that_was_put_back(self) -> None:
        """An older store in place of the one that was signed is named, and nothing is signed."""
        self.create("order", "o-1")
        data = self.home / ".eventdbx"
        shutil.copytree(data / "event_store", self.home / "older")
        self.create("order", "o-2")
        self.dbx("checkpoint", "--sign")
        shutil.rmtree(data / "event_store")
        shutil.copytree(self.home / "older", data / "event_store")
        ended = self.attempt("checkpoint", "--json")
        self.assertIn("the log has 1 events, and 2 were signed", ended.document["problem"])
        self.assertIn("2 were signed", ended.stderr)
        self.create("order", "o-3")
        self.create("order", "o-4")
        ended = self.attempt("checkpoint", "--sign")
        self.assertEqual(ended.status, 1)
        self.assertIn("not those that were signed", ended.stderr)
        ended = self.attempt("doctor")
        self.assertEqual(ended.status, 1)
        self.assertIn("fail  checkpoints: the first 2 events are not those", ended.stdout)

    def test_wrong_usage(self) -> None:
        """What is signed now has no size to choose."""
        self.assertEqual(self.attempt("checkpoint", "--sign", "--size", "2").status, 2)


class BesideServer(SynchronousTestCase):
    """Asked of a running server."""

    def test_the_same(self) -> None:
        """A server signs by itself; a clean stop leaves nothing unsigned."""
        workspace = Workspace(Path(mkdtemp(dir=Path(self.mktemp()).parent)) / "database")
        workspace.start()
        self.addCleanup(workspace.stop)
        workspace.run("aggregate", "create", "order", "o-1", "--event", "made")
        keys = workspace.run("checkpoint", "--key")
        self.assertEqual(checked(workspace.run("checkpoint", "--sign"), keys).size, 1)
        workspace.run("aggregate", "create", "order", "o-2", "--event", "made")
        workspace.stop()
        self.assertEqual(checked(workspace.run("checkpoint"), keys).size, 2)
        self.assertEqual(workspace.run("checkpoint", "--key"), keys)

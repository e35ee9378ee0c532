"""Data keys that do not fit: one sentence that says what to do, and nothing touched."""

from __future__ import annotations

import base64
import os
import shutil
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Workspace

SERVER_FILES = ("logs", "server.log")


class Refusals(SynchronousTestCase):
    """An encrypted store, and everything that can be wrong with its keys."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(self.space.stop, signal.SIGKILL)
        self.folder = self.space.folder / ".dbx"
        made = ("--event", "made", "--field", "text=secret")
        self.space.run("aggregate", "create", "order", "o-1", *made)
        self.keys = self.folder / "data_keys"

    def contents(self) -> dict[str, tuple[int, bytes]]:
        """Return mode and content of every file but those that only tell what happened."""
        return {
            str(one.relative_to(self.folder)): (one.stat().st_mode, one.read_bytes())
            for one in sorted(self.folder.rglob("*"))
            if one.is_file() and one.name not in SERVER_FILES
        }

    def refused(self, *parts: str, **environment: str) -> None:
        """A read, a write, the server, and whoever looks at the keys say the same."""
        before = self.contents()
        commands = (
            ("aggregate", "get", "order", "o-1"),
            ("aggregate", "apply", "order", "o-1", "made", "--field", "a=1"),
            ("start", "--foreground"),
        )
        for command in commands:
            ended = self.space.attempt(*command, **environment)
            self.assertEqual(ended.returncode, 1, command)
            _log, error, told = ended.stderr.partition("Error: ")
            self.assertTrue(error, (command, ended.stderr))
            self.assertLessEqual(len(told.splitlines()), 2, (command, ended.stderr))
            for part in parts:
                self.assertIn(part, told, (command, told))
            self.assertNotIn("Traceback", ended.stdout + ended.stderr)
            after = self.contents()
            changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
            self.assertEqual(changed, set(), command)

    def works(self) -> None:
        """With everything back in its place the store is read and written."""
        self.assertIn("secret", self.space.run("aggregate", "get", "order", "o-1"))
        self.space.run("aggregate", "apply", "order", "o-1", "made", "--field", "a=1")

    def test_wrong_key(self) -> None:
        """Another key than the one that the store was written with."""
        another = base64.b64encode(os.urandom(32)).decode()
        fits = "no configured data encryption key fits"
        self.refused(fits, "data_encryption_key", EVENTDBX_DATA_ENCRYPTION_KEY=another)
        self.works()

    def test_no_key(self) -> None:
        """No key: none is made that would only hide what is missing."""
        config = self.folder / "config.toml"
        text = config.read_text()
        lines = text.splitlines(keepends=True)
        config.write_text(
            "".join(line for line in lines if not line.startswith("data_encryption_key"))
        )
        self.refused("data encryption key must be configured to read encrypted", "--dek")
        config.write_text(text)
        self.works()

    def test_no_file(self) -> None:
        """The file of data keys is gone."""
        aside = self.folder / "aside"
        self.keys.rename(aside)
        self.refused(f"{self.keys} must be restored", "dbx keys restore")
        aside.rename(self.keys)
        self.works()

    def test_file_of_another_domain(self) -> None:
        """The data keys of another domain of the same installation."""
        self.space.run("config", "--set", "domain=other")
        made = ("--event", "made", "--field", "text=other")
        self.space.run("aggregate", "create", "order", "o-2", *made)
        self.space.run("config", "--set", "domain=default")
        own = self.keys.read_bytes()
        shutil.copy(self.folder / "domains" / "other" / "data_keys", self.keys)
        self.refused(f"{self.keys} holds the data keys of another store", "put back")
        self.keys.write_bytes(own)
        self.works()

    def test_file_that_cannot_be_read(self) -> None:
        """Something that is no file of keys, and one that nobody may read."""
        own = self.keys.read_bytes()
        self.keys.write_bytes(b"not a file of keys")
        self.refused(f"{self.keys} does not hold data keys", "put back")
        self.keys.unlink()
        self.keys.mkdir()
        self.refused(f"cannot use the data keys in {self.keys}")
        self.keys.rmdir()
        self.keys.write_bytes(own)
        if os.geteuid():
            self.keys.chmod(0)
            self.refused(f"cannot use the data keys in {self.keys}", "0600")
            self.keys.chmod(0o600)
        self.works()

"""Finding, creating and saving the configuration; the operator's token; the PID file."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.token_keys import SigningKey
from eventdbx.config import Value
from eventdbx.errors import ConfigError, EventDBXError, IoError, SerializationError
from eventdbx.services.bootstrap import ensure_cli_token
from eventdbx.services.keyuse import source
from eventdbx.services.pidfile import AlreadyRunning, PidFile, read_record, remove_stale
from eventdbx.services.revocations import Revocations
from eventdbx.services.workspace import (
    Opened,
    exposed_secrets,
    find_place,
    open_workspace,
)


class InFolder(SynchronousTestCase):
    """A folder of its own for each test, with a home in it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        self.environ = {"HOME": str(self.home)}
        self.config_path = self.home / ".eventdbx" / "config.toml"

    def open(self, option: str | None = None, *, create: bool = True, **environ: str) -> Opened:
        return open_workspace(
            option, environ={**self.environ, **environ}, cwd=self.folder, create=create
        )

    def change(self, old: str, new: str) -> None:
        text = self.config_path.read_text()
        self.assertIn(old, text)
        self.config_path.write_text(text.replace(old, new))


class Finding(InFolder):
    """Which configuration is in use."""

    def test_fresh_home(self) -> None:
        """The first command on an empty home creates a private configuration with keys."""
        opened = self.open()
        self.assertEqual(opened.workspace.config_path, self.config_path)
        self.assertEqual(opened.workspace.data_dir, self.home / ".eventdbx")
        self.assertFalse(opened.workspace.local)
        self.assertEqual(self.config_path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.open().config, opened.config)

    def test_order(self) -> None:
        """The option comes first, then the nearest workspace upward, then the home."""
        below = self.folder / "a" / "b"
        below.mkdir(parents=True)
        local = self.folder / ".dbx" / "config.toml"
        local.parent.mkdir()
        local.write_text("")
        found = find_place(None, cwd=below, environ=self.environ)
        self.assertEqual((found.config_path, found.local), (local, True))
        self.assertEqual(found.default_data_dir, local.parent)
        given = find_place("x.toml", cwd=below, environ=self.environ)
        self.assertEqual((given.config_path, given.local), (below / "x.toml", False))
        self.assertEqual(given.default_data_dir, self.home / ".eventdbx")

    def test_nothing_to_be_created(self) -> None:
        """Commands that must not create a workspace say how to make one."""
        error = self.assertRaises(ConfigError, self.open, create=False)
        self.assertIn(f"no EventDBX workspace found from {self.folder} upward.", str(error))
        self.assertIn("Run `dbx init`", str(error))
        error = self.assertRaises(ConfigError, self.open, "gone.toml", create=False)
        self.assertIn("config file not found at", str(error))
        self.assertFalse(self.config_path.exists())

    def test_auto_init(self) -> None:
        """With EVENTDBX_AUTO_INIT the current directory becomes a workspace."""
        opened = self.open(EVENTDBX_AUTO_INIT="1")
        self.assertTrue(opened.workspace.local)
        self.assertEqual(opened.workspace.data_dir, self.folder / ".dbx")

    def test_data_directory_of_the_environment(self) -> None:
        """EVENTDBX_DATA_DIR counts for a new configuration only, and not if it is the home."""
        self.assertEqual(self.open(EVENTDBX_DATA_DIR=str(self.home)).config.port, 7070)
        moved = self.open(EVENTDBX_DATA_DIR="/elsewhere").workspace
        self.assertEqual(moved.data_dir, self.home / ".eventdbx")
        other = str(self.folder / "other")
        opened = self.open(str(self.folder / "c.toml"), EVENTDBX_DATA_DIR=other)
        self.assertEqual(str(opened.workspace.data_dir), other)

    def test_layout(self) -> None:
        """The default domain lives in the data directory itself, others beside it."""
        workspace = self.open().workspace
        root = workspace.data_dir
        self.assertEqual(workspace.store_path("default"), root / "event_store")
        self.assertEqual(workspace.store_path("herds"), root / "domains" / "herds" / "event_store")

    def test_unreadable(self) -> None:
        """A configuration that is no readable text is reported with its path."""
        self.config_path.mkdir(parents=True)
        error = self.assertRaises(IoError, open_workspace, str(self.config_path))
        self.assertIn(str(self.config_path), str(error))
        path = self.folder / "binary.toml"
        path.write_bytes(b"\xff\xfe")
        self.assertIn(str(path), str(self.assertRaises(IoError, self.open, str(path))))


class Keys(InFolder):
    """Keys are made once, and never thrown away."""

    def test_public_half_is_derived(self) -> None:
        """A missing public key is derived; the private key stays."""
        before = self.open().config.auth
        self.change(f'public_key = "{before.public_key}"\n', "")
        self.assertEqual(self.open().config.auth, before)
        self.assertIn(str(before.public_key), self.config_path.read_text())

    def test_minimal_file(self) -> None:
        """A hand-written file gets the keys it lacks, and keeps its comments."""
        self.config_path.parent.mkdir()
        self.config_path.write_text("# mine\nport = 9\n")
        opened = self.open()
        self.assertEqual(opened.config.port, 9)
        self.assertIsNotNone(opened.config.auth.private_key)
        self.assertTrue(self.config_path.read_text().startswith("# mine\nport = 9\n"))
        self.assertEqual(self.open().config, opened.config)
        self.assertFalse(exposed_secrets(self.config_path))

    def test_key_of_the_environment(self) -> None:
        """A signing key from the environment wins, and never gets into the file."""
        self.open()
        text = self.config_path.read_text()
        key = SigningKey(bytes(32))
        opened = self.open(EVENTDBX_AUTH_PRIVATE_KEY=key.private_text)
        self.assertEqual(opened.config.auth.private_key, key.private_text)
        ensure_cli_token(opened)
        self.assertEqual(self.config_path.read_text(), text)

    def test_secret_in_a_file(self) -> None:
        """A secret may be named by file, as container platforms hand it over."""
        secret = self.folder / "key"
        text = base64.b64encode(bytes(32)).decode()
        secret.write_text(text + "\n")
        opened = self.open(EVENTDBX_DATA_ENCRYPTION_KEY_FILE=str(secret))
        self.assertEqual(opened.config.data_encryption_key, text)
        self.assertNotIn(text, self.config_path.read_text())
        self.assertRaises(ConfigError, self.open, EVENTDBX_DATA_ENCRYPTION_KEY_FILE="/no/file")

    def test_secret_from_a_command(self) -> None:
        """A command may print a secret; it is run once for an opening, without a shell."""
        key, runs = base64.b64encode(b"c" * 32).decode(), Path(self.mktemp()).absolute()
        program = f"import sys; open({str(runs)!r}, 'a').write('.'); print({key!r})"
        command = shlex.join([sys.executable, "-c", program])
        opened = self.open(EVENTDBX_DATA_ENCRYPTION_KEY_COMMAND=command)
        self.assertEqual(opened.config.data_encryption_key, key)
        self.assertEqual(runs.read_text(), ".")
        self.assertNotIn(key, opened.workspace.config_path.read_text())
        self.assertEqual(source(opened.workspace), "EVENTDBX_DATA_ENCRYPTION_KEY_COMMAND")
        other = base64.b64encode(b"d" * 32).decode()
        opened = self.open(
            EVENTDBX_DATA_ENCRYPTION_KEY_COMMAND=command, EVENTDBX_DATA_ENCRYPTION_KEY=other
        )
        self.assertEqual(opened.config.data_encryption_key, other)
        for wrong in ("/no/program", "false", "true", "echo 'unfinished"):
            error = self.assertRaises(
                ConfigError, self.open, EVENTDBX_DATA_ENCRYPTION_KEY_COMMAND=wrong
            )
            self.assertIn("EVENTDBX_DATA_ENCRYPTION_KEY_COMMAND", str(error))


class Saving(InFolder):
    """Changes are checked, then written in one step."""

    def test_saved(self) -> None:
        """A change is there for the next command; a relative data directory became absolute."""
        opened = self.open()
        opened.workspace.save({"port": 8080, "data_dir": "here"})
        again = self.open()
        self.assertEqual(again.config.port, 8080)
        self.assertEqual(again.config.data_dir, os.path.abspath("here"))
        self.assertNotEqual(again.config.updated_at, opened.config.updated_at)
        self.assertEqual(self.config_path.stat().st_mode & 0o777, 0o600)

    def test_refused(self) -> None:
        """A wrong change, alone or in combination, leaves the file as it was."""
        workspace = self.open().workspace
        text = self.config_path.read_text()
        wrong: list[dict[str, Value]] = [{"port": -1}, {"list_page_size": 2_000}]
        for changes in wrong:
            self.assertRaises(ConfigError, workspace.save, {"no_noise": True, **changes})
            self.assertEqual(self.config_path.read_text(), text)

    def test_many_writers(self) -> None:
        """Commands that save at the same time do not lose each other's changes."""
        self.open()
        program = (
            "import sys; from eventdbx.services.workspace import open_workspace\n"
            "open_workspace().workspace.save({sys.argv[1]: int(sys.argv[2])})"
        )
        environ = {**os.environ, **self.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        changes = {"port": "8", "page_limit": "500", "snowflake_worker_id": "7"}
        running = [
            subprocess.Popen([sys.executable, "-c", program, key, value], env=environ)
            for key, value in changes.items()
        ]
        self.assertEqual([one.wait() for one in running], [0, 0, 0])
        config = self.open().config
        self.assertEqual((config.port, config.page_limit, config.snowflake_worker_id), (8, 500, 7))


class OperatorToken(InFolder):
    """``cli.token``."""

    def test_kept_while_good(self) -> None:
        """The token is private to its owner and stays the same while it is good."""
        opened = self.open()
        token = ensure_cli_token(opened)
        path = opened.workspace.token_path
        self.assertEqual(path.read_text(), token + "\n")
        path.chmod(0o644)
        self.assertEqual(ensure_cli_token(opened), token)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_lifetime(self) -> None:
        """Asking for another lifetime makes another token; asking for none keeps what is there."""
        opened = self.open()
        for_ever = ensure_cli_token(opened, ttl_s=0)
        hour = ensure_cli_token(opened, ttl_s=3600)
        self.assertNotEqual(for_ever, hour)
        self.assertEqual(ensure_cli_token(opened, ttl_s=3601), hour)
        self.assertEqual(ensure_cli_token(opened), hour)

    def test_replaced(self) -> None:
        """A token that is revoked, of an earlier key, or no token at all is replaced."""
        opened = self.open()
        revoked = ensure_cli_token(opened)
        claims = revoked.split(".")[1]
        jti = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
        revocations = opened.workspace.data_dir / "jwt_revocations.json"
        revocations.write_text(json.dumps([{"jti": jti, "revoked_at": "2026-01-02T03:04:05Z"}]))
        good = ensure_cli_token(opened)
        self.assertNotEqual(good, revoked)
        opened.workspace.token_path.write_text("nonsense\n")
        self.assertNotEqual(ensure_cli_token(opened), good)
        earlier = SigningKey(bytes(32))
        other = self.open(EVENTDBX_AUTH_PRIVATE_KEY=earlier.private_text)
        ensure_cli_token(other)
        self.assertEqual(len(ensure_cli_token(opened).split(".")), 3)


class RevokedTokens(InFolder):
    """``jwt_revocations.json``."""

    def test_changes_count_at_once(self) -> None:
        """A token is revoked from the moment the file says so."""
        workspace = self.open().workspace
        path = workspace.data_dir / "jwt_revocations.json"
        self.assertFalse(workspace.is_revoked("a"))
        path.write_text('[{"jti":"a"}]')
        self.assertTrue(workspace.is_revoked("a"))
        path.write_text('[{"jti":"b"},{"jti":"c"}]')
        self.assertFalse(workspace.is_revoked("a"))
        self.assertTrue(workspace.is_revoked("c"))

    def test_pause_between_looks(self) -> None:
        """A server may save looks at the file; a change counts when the pause is over."""
        now = [0.0]
        path = self.folder / "jwt_revocations.json"
        revocations = Revocations(path, [], clock=lambda: now[0])
        revocations.look_at_most_every(0.005)
        self.assertNotIn("a", revocations)
        path.write_text('[{"jti":"a"}]')
        self.assertNotIn("a", revocations)
        now[0] = 0.005
        self.assertIn("a", revocations)
        path.unlink()
        self.assertIn("a", revocations)
        now[0] = 0.01
        self.assertNotIn("a", revocations)

    def test_unreadable_list(self) -> None:
        """A list that cannot be understood lets nobody in, however often it is asked."""
        workspace = self.open().workspace
        path = workspace.data_dir / "jwt_revocations.json"
        path.write_text("[1]")
        for _ in range(2):
            self.assertRaises(SerializationError, workspace.is_revoked, "a")
        path.write_text("ENCv1:AAAA")
        self.assertRaises(EventDBXError, workspace.is_revoked, "a")


class Locking(InFolder):
    """The PID file tells whether a server runs, whatever process has its number."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "eventdbx.pid"

    def test_life(self) -> None:
        """While a server holds the file others see it and cannot start; then it is gone."""
        self.assertIsNone(read_record(self.path))
        holding = PidFile(self.path)
        holding.acquire(now_ns=1_767_323_045_678_901_000)
        self.assertEqual(
            json.loads(self.path.read_text()),
            {"pid": os.getpid(), "started_at": "2026-01-02T03:04:05.678901Z"},
        )
        record = read_record(self.path)
        assert record is not None
        self.assertEqual((record.pid, record.alive), (os.getpid(), True))
        self.assertEqual(record.started_at, 1_767_323_045_678_901_000)
        error = self.assertRaises(AlreadyRunning, PidFile(self.path).acquire, now_ns=0)
        self.assertEqual(str(error), f"EventDBX server already running (pid {os.getpid()})")
        self.assertFalse(remove_stale(self.path))
        holding.release()
        holding.release()
        self.assertFalse(self.path.exists())

    def test_left_behind(self) -> None:
        """A file left by a crash is stale although its number belongs to a living process."""
        self.path.write_text(str(os.getppid()))
        record = read_record(self.path)
        assert record is not None
        self.assertEqual((record.pid, record.started_at, record.alive), (os.getppid(), None, False))
        holding = PidFile(self.path)
        holding.acquire(now_ns=0)
        holding.release()
        self.path.write_text("1")
        self.assertTrue(remove_stale(self.path))
        self.assertFalse(remove_stale(self.path))

    def test_content(self) -> None:
        """An empty file counts as none; anything else unreadable is reported with its path."""
        self.path.write_text(" ")
        self.assertIsNone(read_record(self.path))
        for content in ("x", "{}", "[]", '{"pid":"x"}', '{"pid":1,"started_at":"then"}'):
            self.path.write_text(content)
            error = self.assertRaises(ConfigError, read_record, self.path)
            self.assertIn(f"invalid pid file at {self.path}", str(error))

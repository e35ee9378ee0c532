"""``dbx doctor``: each thing that can be wrong is found, with what to do about it."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Workspace, free_port
from tests.surfaces.command_line import CommandLineCase


class DoctorCase(CommandLineCase):
    """An installation without a server."""

    def setUp(self) -> None:
        super().setUp()
        self.data = self.home / ".eventdbx"
        self.port = free_port()
        self.dbx("config", "--bind-addr", f"127.0.0.1:{self.port}", "--port", "0")
        self.dbx("token", "bootstrap")
        self.create("order", "o-1")

    def findings(self, *, ok: bool) -> dict[str, list[dict[str, Any]]]:
        """Return what is found, by check; the exit status says whether something failed."""
        ended = self.attempt("doctor", "--json")
        self.assertEqual((ended.status, ended.stderr), (0 if ok else 1, ""), ended)
        self.assertEqual(ended.document["ok"], ok)
        found: dict[str, list[dict[str, Any]]] = {}
        for one in ended.document["findings"]:
            found.setdefault(one["check"], []).append(one)
        return found

    def found(self, check: str, status: str, part: str) -> dict[str, Any]:
        """Check that there is a finding, with advice, and return it."""
        for one in self.findings(ok=status != "fail")[check]:
            if one["status"] == status and part in one["message"]:
                self.assertTrue(one["advice"])
                return one
        self.fail(f"{check} {status} {part!r} is not among the findings")


class SoundTests(DoctorCase):
    """Nothing is wrong."""

    def test_all_is_well(self) -> None:
        """Every check is fine, and nothing was changed by looking."""
        before = {path: path.stat().st_mtime_ns for path in self.data.iterdir()}
        found = self.findings(ok=True)
        wrong = [one for some in found.values() for one in some if one["status"] != "ok"]
        self.assertEqual([one for one in wrong if one["check"] not in ("files", "disk")], [])
        expected = "config permissions keys cli.token tokens pid ports disk clock files log store"
        self.assertLessEqual({*expected.split(), "plugins", "queue", "contexts"}, found.keys())
        after = {path: path.stat().st_mtime_ns for path in self.data.iterdir()}
        self.assertEqual(after, before)

    def test_text(self) -> None:
        """A line for each check; what to do is below what is wrong."""
        os.chmod(self.data / "cli.token", 0o644)
        ended = self.attempt("doctor")
        self.assertEqual((ended.status, ended.stderr), (1, ""))
        self.assertIn("ok    queue: 0 deliveries wait, none is dead\n", ended.stdout)
        self.assertRegex(
            ended.stdout, r"fail  permissions: .*cli\.token.*0644.*\n      → chmod 600 "
        )


class WrongTests(DoctorCase):
    """Something is wrong."""

    def test_contexts(self) -> None:
        """Files of named servers that others may read, that are damaged, or not there."""
        token = self.home / "prod.token"
        token.write_text("a.b.c")
        token.chmod(0o644)
        self.dbx("context", "add", "prod", "--server", "10.0.0.2", "--token-file", str(token))
        self.found("contexts", "fail", "others may read")
        token.unlink()
        self.found("contexts", "warn", "the token of prod is not in")
        (self.data / "contexts.json").write_text("{")
        self.found("contexts", "fail", "contexts.json is damaged")

    def test_no_workspace(self) -> None:
        """Without a configuration there is one finding, and none is made."""
        place = self.home / "elsewhere"
        os.environ["HOME"] = str(place)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.home.anchor)
        self.found("config", "fail", "no EventDBX workspace")
        self.assertFalse(place.exists())

    def test_a_configuration_that_is_none(self) -> None:
        """What cannot be read is told with its place."""
        path = self.data / "config.toml"
        text = path.read_text()
        path.write_text("log = 5\n" + text)
        self.found("config", "fail", "log")
        path.write_text("restrikt = 'off'\n" + text)
        self.found("config", "warn", "restrikt")

    def test_keys(self) -> None:
        """A pair that does not fit, and a data key that does not open the ledger."""
        path = self.data / "config.toml"
        text = path.read_text()
        lines = text.splitlines()
        public = next(one for one in lines if one.startswith("public_key"))
        path.write_text(text.replace(public, f'public_key = "{"A" * 43}="'))
        self.found("keys", "fail", "key")
        data = next(one for one in lines if one.startswith("data_encryption_key"))
        path.write_text(text.replace(data, f'data_encryption_key = "{"A" * 43}="'))
        self.found("ledger", "fail", "decrypt")

    def test_the_operators_token(self) -> None:
        """A token that does not count any more."""
        path = self.data / "cli.token"
        self.dbx("token", "revoke", path.read_text().strip())
        self.assertIn("bootstrap", self.found("cli.token", "warn", "does not count")["advice"])

    def test_ports(self) -> None:
        """A port that somebody else has."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", self.port))
            other.listen(1)
            found = self.found("ports", "fail", f"127.0.0.1:{self.port}")
        self.assertIn("socket.bind_addr", found["advice"])

    def test_exposure(self) -> None:
        """A listener that others reach without TLS."""
        self.dbx("config", "--bind-addr", f"0.0.0.0:{self.port}")
        self.found("exposure", "warn", "without TLS")

    def test_tenants(self) -> None:
        """Quotas that are reached, shards that there are no more, and records that are damaged."""
        self.assertNotIn("tenants", self.findings(ok=True))
        self.dbx("tenant", "assign", "acme", "--shard", "9")
        self.assertEqual(self.findings(ok=True)["tenants"][0]["status"], "ok")
        self.dbx("config", "--shard-count", "4")
        self.found("tenants", "warn", "acme: configuration error: shard 'shard-0009' exceeds")
        path = self.data / "tenant_meta" / "tenants.json"
        record = {"storage_quota_mb": 1, "storage_usage_bytes": 1 << 20}
        path.write_text(json.dumps({"format": 1, "tenants": {"beta": record}}))
        self.found("tenants", "warn", "beta: the quota of 1 MB is reached")
        path.write_text("{")
        self.found("tenants", "fail", str(path))

    def test_the_clock(self) -> None:
        """A clock that stands behind what was written here."""
        later = time.time() + 86_400
        os.utime(self.data / "config.toml", (later, later))
        self.found("clock", "fail", "behind files")

    def test_the_store(self) -> None:
        """A store of another format, and one that is damaged."""
        current = self.store / "CURRENT"
        content = current.read_bytes()
        current.write_bytes(b"MANIFEST-999999\n")
        self.found("store", "fail", "storage error")
        current.write_bytes(content)
        self.findings(ok=True)

    def test_the_log(self) -> None:
        """A log that has no place to go."""
        blocker = self.home / "file"
        blocker.write_text("")
        os.environ["EVENTDBX_LOG_DIR"] = str(blocker / "logs")
        self.found("log", "fail", str(blocker))


class ServerTests(SynchronousTestCase):
    """Beside a server, and after one."""

    def doctor(self, place: Workspace, status: int) -> str:
        """Return what is printed."""
        done = place.attempt("doctor")
        self.assertEqual((done.returncode, done.stderr), (status, ""), done.stdout)
        return done.stdout

    def test_a_life(self) -> None:
        """It answers and its plugins are well; one that hangs is told; one that was killed, too."""
        place = Workspace(Path(self.mktemp()).absolute())
        place.start()
        self.addCleanup(place.stop)
        place.run("plugin", "config", "http", "--name", "gone",
                  "--endpoint", f"http://127.0.0.1:{free_port()}/")  # fmt: skip
        place.run("plugin", "pause", "gone")
        text = self.doctor(place, 0)
        self.assertRegex(text, r"ok    server: version \S+ answers in \d+ ms")
        self.assertIn("warn  plugins: gone is paused", text)
        self.assertIn("→ `dbx plugin resume gone`", text)
        os.kill(place.process_id, signal.SIGSTOP)
        try:
            self.assertIn("fail  server: the server does not answer", self.doctor(place, 1))
        finally:
            os.kill(place.process_id, signal.SIGCONT)
        place.stop(signal.SIGKILL)
        self.assertIn("warn  pid: ", self.doctor(place, 0))

"""The life of the server and its configuration from the command line, with real processes."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.surfaces.cli.lifecycle import uptime
from eventdbx.surfaces.cli.ttl import TTL
from eventdbx.surfaces.cli.values import WrongValue
from tests.daemon import CHECKOUT_DBX, ROOT, Workspace

SECOND_NS = 1_000_000_000


class Commands(SynchronousTestCase):
    """A workspace of its own for each test; whatever runs in it is stopped at the end."""

    def setUp(self) -> None:
        self.place = Workspace(Path(self.mktemp()).absolute())
        self.addCleanup(self.place.attempt, "stop")
        self.pid_path = self.place.folder / ".dbx" / "eventdbx.pid"

    def dbx(self, *arguments: str, status: int = 0) -> str:
        done = self.place.attempt(*arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def started(self) -> int:
        """Start the daemon and return its process id."""
        match = re.search(r"\(pid (\d+)\)", self.dbx("start"))
        assert match is not None
        return int(match[1])


class Running(Commands):
    """The daemon from start to stop."""

    def test_life(self) -> None:
        """``start`` returns when the server answers; ``status`` shows it; ``stop`` ends it."""
        line = self.dbx("start")
        self.assertRegex(
            line,
            rf"^EventDBX server is running on port {self.place.port} \(pid \d+\) "
            r"since \S+\+00:00 \(restrict=default\)\n$",
        )
        socket.create_connection(("127.0.0.1", self.place.port), timeout=10).close()
        self.assertIn(" — restrict=default — domain=default — up for ", self.dbx("status"))
        self.assertNotIn("domain", self.dbx("serve", "status"))
        self.assertIn("already running (pid ", self.dbx("start", status=1))
        self.assertRegex(self.dbx("stop"), r"^EventDBX server stopped \(pid \d+\) after .+ \(start")
        self.assertEqual(self.dbx("stop"), "No running EventDBX server found.\n")
        self.assertEqual(
            self.dbx("status"), "EventDBX server is not running.\nActive domain: default\n"
        )
        self.dbx("status", "--check", status=3)
        self.assertFalse(self.pid_path.exists())

    def test_detached(self) -> None:
        """The daemon has a session of its own, works in the root and shares no stream with us."""
        pid = self.started()
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        self.assertNotEqual(os.getsid(pid), os.getsid(0))
        self.assertNotEqual(os.getsid(pid), pid)
        for stream in (0, 1, 2):
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/{stream}"), "/dev/null")
        for path in (self.place.folder / ".dbx" / "event_store").iterdir():
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)
        self.assertIn("Starting EventDBX server", self.daemon_log())

    def daemon_log(self) -> str:
        return (self.place.folder / "logs" / "eventdbx.log").read_text()

    def test_data_survives_a_restart(self) -> None:
        """What was written through one server is there in the next."""
        first = self.started()
        self.dbx("aggregate", "create", "patient", "p-001", "--event", "patient_created")
        lines = self.dbx("restart").splitlines()
        self.assertIn(f"stopped (pid {first})", lines[0])
        self.assertIn("is running on port", lines[1])
        self.assertIn("p-001", self.dbx("aggregate", "list"))

    def test_crash(self) -> None:
        """A killed server leaves a stale file that neither fools ``status`` nor bars ``start``."""
        pid = self.started()
        os.kill(pid, signal.SIGKILL)
        self.wait_for_end(pid)
        self.assertIn("is not running (removed stale pid file).", self.dbx("status"))
        self.pid_path.write_text(str(os.getpid()))
        self.assertEqual(self.dbx("stop"), "Removed stale EventDBX server pid file.\n")
        self.pid_path.write_text("nonsense")
        self.assertIn("invalid pid file at", self.dbx("status", status=1))
        self.pid_path.write_text(str(os.getpid()))
        self.started()

    def wait_for_end(self, pid: int) -> None:
        descriptor = os.pidfd_open(pid)
        try:
            self.assertTrue(select.select([descriptor], [], [], 30)[0])
        finally:
            os.close(descriptor)

    def test_busy_port(self) -> None:
        """``start`` says that the port is taken, exits with 1 and leaves nothing running."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.place.port))
            taken.listen()
            before = (self.place.folder / ".dbx" / "config.toml").read_bytes()
            text = self.dbx("start", "--restrict", "strict", "--data-dir", "new", status=1)
            after = (self.place.folder / ".dbx" / "config.toml").read_bytes()
        self.assertEqual(after, before)  # Nothing is saved that did not work.
        self.assertIn("EventDBX server failed to start", text)
        self.assertIn(f"cannot listen on 127.0.0.1:{self.place.port}", text)
        self.assertIn("is not running.", self.dbx("status"))

    def test_broken_file(self) -> None:
        """A server is found and stopped though somebody broke a value of its file."""
        pid = self.started()
        path = self.place.folder / ".dbx" / "config.toml"
        whole = path.read_text()
        path.write_text(
            whole.replace("page_limit = 1000", "page_limit = 0").replace(
                "snowflake_worker_id = 0", "snowflake_worker_id = 5000"
            )
        )
        self.assertIn(f"(pid {pid})", self.dbx("status"))
        self.assertIn("page_limit must be", self.dbx("restart", status=1))
        self.assertIn(f"(pid {pid})", self.dbx("status"))
        self.assertIn(f"server stopped (pid {pid})", self.dbx("stop"))
        self.assertIn("page_limit must be", self.dbx("start", status=1))

    def test_locked_store(self) -> None:
        """A second server on the same data says who holds it."""
        pid = self.started()
        self.pid_path.unlink()  # As if the other had been started by other means.
        text = self.dbx("start", status=1)
        self.assertIn(f"process {pid}", text)
        os.kill(pid, signal.SIGTERM)
        self.wait_for_end(pid)

    def test_options_are_saved(self) -> None:
        """What ``start`` was given is saved, so that later commands find the same server."""
        other = self.place.folder / "elsewhere"
        self.dbx("start", "--data-dir", "elsewhere", "--restrict", "off", "--port", "0")
        self.assertTrue((other / "eventdbx.pid").exists())
        self.assertIn("restrict=off", self.dbx("status"))
        self.dbx("stop")
        text = (self.place.folder / ".dbx" / "config.toml").read_text()
        self.assertIn(f'data_dir = "{other}"', text)
        self.assertIn('restrict = "off"', text)
        self.started()
        self.assertIn("restrict=off", self.dbx("status"))

    def test_usage(self) -> None:
        """A wrong mode or port is wrong usage and changes nothing."""
        before = (self.place.folder / ".dbx" / "config.toml").read_text()
        for arguments in (("--restrict", "tight"), ("--port", "65536"), ("--port",)):
            self.assertIn("error: ", self.dbx("start", *arguments, status=2))
        self.assertEqual((self.place.folder / ".dbx" / "config.toml").read_text(), before)


class Foreground(Commands):
    """The server in the foreground, as containers and supervisors run it."""

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environ = {**os.environ, "HOME": str(self.place.folder), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [*CHECKOUT_DBX, "start", "--foreground", *arguments],
            cwd=self.place.folder,
            env={key: value for key, value in environ.items() if not key.startswith("EVENTDBX_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def read_until(self, process: subprocess.Popen[str], part: str) -> list[str]:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if part in line:
                return lines
        self.fail(f"{part!r} not in {lines}")

    def test_stopped_by_signal(self) -> None:
        """It logs to the error stream only, is seen by ``status``, and ends with 0 on SIGTERM."""
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.start()
            lines = self.read_until(process, "listening on")
            self.assertEqual(
                lines[0], f"configuration loaded; starting server (pid={process.pid})\n"
            )
            self.assertIn(f"(pid {process.pid})", self.dbx("status"))
            process.send_signal(number)
            output, rest = process.communicate(timeout=30)
            self.assertEqual((process.returncode, output), (0, ""))
            self.assertIn("EventDBX server stopped", rest)
            self.assertFalse(self.pid_path.exists())

    def test_failure(self) -> None:
        """A start that fails ends with 1 and the reason."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.place.port))
            taken.listen()
            before = (self.place.folder / ".dbx" / "config.toml").read_bytes()
            process = self.start("--restrict", "strict")
            _output, errors = process.communicate(timeout=30)
        self.assertEqual((self.place.folder / ".dbx" / "config.toml").read_bytes(), before)
        self.assertEqual(process.returncode, 1)
        self.assertIn("Error: io error: cannot listen on", errors)

    def test_json_log(self) -> None:
        """With the format json every line of the log is a document."""
        self.place.folder.joinpath(".dbx", "config.toml").open("a").write(
            '\n[log]\nformat = "json"\n'
        )
        process = self.start()
        line = self.read_until(process, "listening on")[-1]
        document = json.loads(line)
        self.assertEqual(document["level"], "info")
        self.assertTrue(document["target"].startswith("eventdbx::"))


class Removing(Commands):
    """``destroy`` removes what is ours, and asks first."""

    def test_question(self) -> None:
        """Anything but the word leaves everything as it is."""
        done = subprocess.run(
            [*CHECKOUT_DBX, "destroy"],
            cwd=self.place.folder,
            env={**os.environ, "HOME": str(self.place.folder), "PYTHONPATH": str(ROOT)},
            input="no\n",
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout), (0, "Destroy command cancelled.\n"))
        self.assertIn('Type "destroy" to continue: ', done.stderr)
        self.assertTrue((self.place.folder / ".dbx" / "config.toml").exists())

    def test_everything(self) -> None:
        """A running server is stopped, then data and configuration are gone."""
        self.started()
        lines = self.dbx("destroy", "--yes").splitlines()
        self.assertIn("EventDBX server stopped", lines[0])
        self.assertIn("All EventDBX data and configuration removed from", lines[1])
        self.assertFalse((self.place.folder / ".dbx").exists())

    def test_files_of_others(self) -> None:
        """Files in the data directory that are not ours are left, and named."""
        shared = self.place.folder / "shared"
        shared.mkdir()
        (shared / "thesis.txt").write_text("precious")
        for name in ("audit.spool", "audit.spool.taken", "tokens.journal", "witness.json"):
            (shared / name).touch()
        self.dbx("config", "--data-dir", str(shared))
        self.dbx("aggregate", "create", "patient", "p-001", "--event", "patient_created")
        self.dbx("checkpoint", "--sign")
        done = self.place.attempt("destroy", "--yes")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("thesis.txt", done.stderr)
        self.assertEqual(os.listdir(shared), ["thesis.txt"])

    def test_workspace(self) -> None:
        """``serve destroy`` removes the .dbx directory and keeps data that lies elsewhere."""
        self.dbx("config", "--data-dir", "data")
        self.dbx("aggregate", "create", "patient", "p-001", "--event", "patient_created")
        self.assertIn("Removed EventDBX workspace at", self.dbx("serve", "destroy", "--yes"))
        self.assertFalse((self.place.folder / ".dbx").exists())
        self.assertTrue((self.place.folder / "data" / "event_store").is_dir())
        self.assertIn("Run `dbx init`", self.dbx("serve", "status", status=1))


class Configuring(Commands):
    """``init`` and ``config``."""

    def test_init(self) -> None:
        """``init`` makes a workspace once and prints a token of the wanted lifetime."""
        text = self.dbx("init", "--ttl", "2h")
        self.assertIn("EventDBX workspace already initialized in ", text)
        self.assertIn(f"Bootstrap token (ttl=7200s): {self.place.token}", text)
        self.assertIn("supported suffixes are", self.dbx("init", "--ttl", "3y", status=2))

    def test_show(self) -> None:
        """``config`` shows the configuration in effect without its secrets."""
        text = self.dbx("config")
        for part in ("data_dir = ", "port = 0", "[socket]", "[auth]", '"<hidden>"'):
            self.assertIn(part, text)
        self.assertIn("private_key", json.loads(self.dbx("config", "--json"))["auth"])
        self.assertNotIn("<hidden>", self.dbx("config", "--show-secrets"))

    def test_change(self) -> None:
        """A change is saved and named; a wrong one is refused with key and file, unsaved."""
        self.dbx("config", "--port", "8080", "--verbose-responses", "false", "--no-noise")
        path = self.place.folder / ".dbx" / "config.toml"
        text = path.read_text()
        for line in ("port = 8080", "verbose_responses = false", "no_noise = true"):
            self.assertIn(line + "\n", text)
        for arguments, key in (
            (("--snowflake-worker-id", "1024"), "snowflake_worker_id"),
            (("--dek", "short"), "data_encryption_key"),
            (("--bind-addr", "nowhere"), "socket.bind_addr"),
            (("--list-page-size", "0"), "list_page_size"),
        ):
            self.assertIn(key, self.dbx("config", *arguments, status=1))
        self.dbx("config", "--noise", "--no-noise", status=2)
        self.assertEqual(path.read_text(), text)

    def test_broken_file(self) -> None:
        """Every command names the file and the line of a configuration that does not parse."""
        path = self.place.folder / ".dbx" / "config.toml"
        path.write_text("port = \n")
        for command in ("config", "status", "start", "stop"):
            text = self.dbx(command, status=1)
            self.assertIn("TOML parse error at", text)
            self.assertIn(str(path), text)
            self.assertNotIn("Traceback", text)
        path.write_text("")

    def test_imports(self) -> None:
        """Commands that need no server load neither Twisted nor the wire."""
        program = (
            "import sys; from eventdbx.surfaces.cli.main import main; main(sys.argv[1:])\n"
            "print([n for n in ('twisted', 'capnp', 'rocksdict', 'tomlkit') if n in sys.modules])"
        )
        environ = {**os.environ, "HOME": str(self.place.folder), "PYTHONPATH": str(ROOT)}
        for arguments in (["--version"], ["status"], ["stop"], ["config"], ["start", "--help"]):
            done = subprocess.run(
                [sys.executable, "-c", program, *arguments],
                cwd=self.place.folder,
                env=environ,
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertEqual(done.stdout.splitlines()[-1], "[]", arguments)


class Texts(SynchronousTestCase):
    """Durations as people write and read them."""

    def test_uptime(self) -> None:
        """An uptime has no zero units, and seconds only where they matter."""
        for seconds, text in (
            (0, "under 1s"),
            (4, "4s"),
            (184, "3m 4s"),
            (3604, "1h 4s"),
            (86_400 + 2 * 3600 + 5 * 60 + 9, "1d 2h 5m"),
            (-1, "unknown duration"),
        ):
            self.assertEqual(uptime(seconds * SECOND_NS), text)

    def test_lifetime(self) -> None:
        """A lifetime is a number of seconds, or a number with a unit."""
        for text, seconds in (("0", 0), ("90", 90), ("10m", 600), ("2 hours", 7200)):
            self.assertEqual(TTL.convert(text, None, None), seconds)
        self.assertEqual(TTL.convert("10days", None, None), 864_000)
        for text in ("", "m", "-1", "1.5h", "3y"):
            self.assertRaises(WrongValue, TTL.convert, text, None, None)

"""``dbx shell``: lines from stdin, and a real terminal with history and completion."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios

from eventdbx.surfaces.cli.shell.history import LINES_MAX, History, may_be_kept
from tests.daemon import CHECKOUT_DBX, ROOT, free_port, running
from tests.surfaces.cli.test_completion import read_until
from tests.surfaces.command_line import CommandLineCase

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJvcHM6YWxpY2UifQ.c2lnbmF0dXJl"


class Lines(CommandLineCase):
    """Without a terminal the lines of stdin are carried out."""

    def test_lines(self) -> None:
        """Commands run one after the other, quoted as in other shells; comments are left out."""
        done = self.dbx("shell", stdin=(
            "# a comment\n\n"
            "schema create order -e order_created\n"
            "dbx aggregate create order o-1 --event order_created --field name=\"Jane Doe\"\n"
            "aggregate select order o-1 name\n"
            "exit\n"
            "schema list\n"
        ))  # fmt: skip
        self.assertIn("aggregate_id=o-1 version=1", done.stdout)
        self.assertIn('"name": "Jane Doe"', done.stdout)
        self.assertNotIn("locked=", done.stdout, "nothing after exit")

    def test_failures(self) -> None:
        """A line that fails does not stop the others, unless that is asked for."""
        lines = "aggregate get order o-1\nschema create order -e a\nschema list\n"
        ended = self.attempt("shell", stdin=lines)
        self.assertEqual((ended.status, ended.stderr), (1, "Error: aggregate not found\n"))
        self.assertIn("schema=order events=1", ended.stdout)
        ended = self.attempt("shell", "--stop-on-error", stdin=lines)
        self.assertEqual((ended.status, ended.stdout), (1, ""))

    def test_odd_lines(self) -> None:
        """Quotes that do not match, unknown commands and a shell in a shell are refused."""
        ended = self.attempt("shell", stdin="schema 'x\nnothing\nshell\nhelp schema\n")
        self.assertEqual(ended.status, 2)
        self.assertIn("error: no closing quotation\n", ended.stderr)
        self.assertIn("Error: unknown command 'nothing'\n", ended.stderr)
        self.assertIn("this is a shell already", ended.stderr)
        self.assertIn("Usage: dbx schema", ended.stdout)

    def test_options(self) -> None:
        """Options given to the shell hold for each line, which may say otherwise."""
        config = str(self.home / "other" / "config.toml")
        self.dbx("--config", config, "--data-dir", str(self.home / "there"), "-o", "json",
                 "shell", stdin="schema create order -e a\n")  # fmt: skip
        lines = f"schema list\nschema list --data-dir {self.home}/none\n"
        done = self.dbx("--config", config, "--data-dir", str(self.home / "there"), "shell",
                        stdin=lines)  # fmt: skip
        self.assertEqual(done.stdout.count("schema=order"), 1)

    def test_stdin_of_commands(self) -> None:
        """A command that asks for a word gets the next line."""
        done = self.attempt("shell", stdin="schema create order -e a\ndestroy\nno\nschema list\n")
        self.assertIn("Destroy command cancelled.", done.stdout)
        self.assertIn("schema=order", done.stdout)

    def test_token_of_stdin(self) -> None:
        """The token in the first line is shown with every command."""
        from eventdbx.surfaces.cli import dialling

        self.patch(dialling, "_OF_STDIN", [])
        place = running()
        done = self.dbx(
            "--server", f"127.0.0.1:{place.port}", "--token-stdin", "shell",
            stdin=f"{place.token}\naggregate create shelled s-1 --event shelled_made\n"
            "aggregate get shelled s-1\n",
        )  # fmt: skip
        self.assertIn('"aggregate_id": "s-1"', done.stdout)


class Kept(CommandLineCase):
    """What is written down."""

    def test_secrets(self) -> None:
        """Lines with tokens, keys or passwords are not kept, nor those that begin with a blank."""
        for line in (
            "aggregate list --token abc", "events --token=abc", "config --dek abc",
            f"token revoke {JWT}", "config --set http.metrics_token=x", " schema list", "",
            "plugin config http --header Authorization=x --name a --endpoint b",
            "plugin config http --name a --endpoint https://kim:word@example.org/hook",
        ):  # fmt: skip
            self.assertFalse(may_be_kept(line), line)
        for line in ("aggregate list", "--token-file t aggregate list", "token list",
                     "context add a --server b --token-stdin"):  # fmt: skip
            self.assertTrue(may_be_kept(line), line)

    def test_file(self) -> None:
        """The file is its owner's alone, also one that was not, and does not grow for ever."""
        path = self.home / "deep" / "history"
        history = History(path)
        history.add("schema list")
        history.add("events --token abc")
        self.assertEqual(path.read_text(), "schema list\n")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        path.write_text("".join(f"events {number}\n" for number in range(3 * LINES_MAX)))
        path.chmod(0o644)
        self.assertEqual(history.lines()[-1], f"events {3 * LINES_MAX - 1}")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(len(path.read_text().splitlines()), LINES_MAX)


def take_terminal() -> None:
    """Make stdin the terminal of this session, whose keys are signals, as for a person."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal(CommandLineCase):
    """A person at a terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.dbx("schema", "create", "order", "-e", "order_created")
        self.begin()

    def begin(self) -> None:
        """Begin a shell at a terminal of its own."""
        leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (40, 200))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
        self.process = subprocess.Popen(
            [*CHECKOUT_DBX, "shell"], stdin=follower, stdout=follower, stderr=follower,
            env=environment, cwd=self.home, start_new_session=True, preexec_fn=take_terminal,
        )  # fmt: skip
        os.close(follower)
        self.leader = leader
        self.addCleanup(os.close, leader)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        read_until(self.leader, "=> ")

    def said(self, text: str, part: str) -> str:
        """Type something; return what is shown until the text that has to come."""
        os.write(self.leader, text.encode())
        return read_until(self.leader, part)

    def left(self) -> int:
        """Wait for the end; return the exit status."""
        return self.process.wait(30)

    def test_conversation(self) -> None:
        """A prompt with the domain, commands, failures with hints, and the end."""
        shown = self.said("schema list\n", "default=> ")
        self.assertIn("SNAPSHOT_THRESHOLD", shown)
        shown = self.said("aggregate get ordr o-1\n", "default=> ")
        self.assertIn("hint: did you mean 'order'?", shown)
        self.said("exit\n", "exit")
        self.assertEqual(self.left(), 0)

    def test_completion(self) -> None:
        """A tab finishes commands and names."""
        self.assertIn("SNAPSHOT_THRESHOLD", self.said("sche\tlis\t\n", "=> "))
        self.assertIn('"order_created"', self.said("schema show or\t\n", '"updated_at"'))

    def test_keys(self) -> None:
        """^C abandons a line, ^D ends."""
        self.said("schema lis", "lis")
        os.write(self.leader, b"\x03")
        try:
            read_until(self.leader, "=> ", 3.0)
        except AssertionError:
            # The interpreter misses one that comes just before it waits: people press it again.
            self.said("\x03", "=> ")
        self.assertIn("SNAPSHOT_THRESHOLD", self.said("schema list\n", "=> "))
        os.write(self.leader, b"\x04")
        self.assertEqual(self.left(), 0)

    def test_history(self) -> None:
        """The history lasts beyond the shell; what is secret is in it neither now nor later."""
        self.said("schema list\n", "=> ")
        self.said(f"events --token {JWT}\n", "=> ")
        self.assertIn(
            "SNAPSHOT_THRESHOLD", self.said("\x10\n", "=> "), "^P goes to the line before"
        )
        os.write(self.leader, b"\x04")
        self.left()
        path = self.home / ".eventdbx" / "shell_history"
        self.assertEqual(path.read_text(), "schema list\nschema list\n")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.begin()
        self.assertIn("SNAPSHOT_THRESHOLD", self.said("\x10\n", "=> "))

    def test_contexts(self) -> None:
        """The prompt names the server that was chosen, and the domain in it."""
        self.said("context add far --server 127.0.0.1:9 --domain sales\n", "default=> ")
        self.said("context use far\n", "far:sales=> ")
        self.assertIn("failed to reach the database",
                      self.said("aggregate list\n", "far:sales=> "))  # fmt: skip
        self.said("context use local\n", "default=> ")


class Servers(CommandLineCase):
    """A shell that starts the server, works with it, and stops it."""

    def test_start(self) -> None:
        """The server is a process of its own, which outlives the shell."""
        self.dbx("config", "--bind-addr", f"127.0.0.1:{free_port()}", "--port", "0")
        self.addCleanup(self.attempt, "stop")
        self.dbx("shell", stdin="aggregate create order o-1 --event order_created\n")
        ended = subprocess.run(
            [*CHECKOUT_DBX, "shell"], env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            input="start\naggregate apply order o-1 order_paid\nstatus --json\n",
            capture_output=True, timeout=120, check=False, cwd=self.home,
        )  # fmt: skip
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)
        self.assertIn("EventDBX server is running on port", ended.stdout)
        self.assertIn('"group": "cli"', ended.stdout, "the server wrote it, for who asked")
        self.assertIn('"running": true', ended.stdout)
        self.assertIn("EventDBX server stopped", self.dbx("stop").stdout)

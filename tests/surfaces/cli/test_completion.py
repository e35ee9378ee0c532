"""Completion: what may come next, by the real shells where they are installed."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time

from eventdbx.surfaces.cli.completing.completion import FILES, FOLDERS, complete
from eventdbx.surfaces.cli.completing.scripts import SCRIPTS
from eventdbx.surfaces.cli.main import EPILOG, MODULES
from eventdbx.surfaces.cli.root import root_command
from tests.daemon import ROOT, running
from tests.surfaces.command_line import CommandLineCase


class CompletionCase(CommandLineCase):
    """A home with some names in it."""

    def offered(self, line: str) -> list[str]:
        """Return the words that may come next; the last one on the line is begun."""
        *words, begun = line.split(" ")
        found = complete(root_command(MODULES, EPILOG), words, begun)
        return [one.value for one in found.candidates]

    def paths(self, line: str) -> str | None:
        """Return what the shell is to offer itself."""
        *words, begun = line.split(" ")
        return complete(root_command(MODULES, EPILOG), words, begun).paths

    def with_names(self) -> None:
        """Make one of everything that has a name."""
        self.dbx("schema", "create", "order", "-e", "order_created,order_paid")
        self.dbx("schema", "create", "patient", "-e", "patient_created")
        self.dbx("plugin", "config", "log", "--name", "notes")
        self.dbx("remote", "add", "standby", "10.0.0.2", "--token-env", "STANDBY")
        self.dbx("context", "add", "prod", "--server", "127.0.0.1:9")
        self.dbx("domain", "create", "sales")
        self.dbx("checkout", "default")


class Words(CompletionCase):
    """Commands, options and values, without anything that exists."""

    def test_commands(self) -> None:
        """Commands and subcommands, those that are hidden left out."""
        self.assertEqual(self.offered("sna"), ["snapshots"])
        self.assertEqual(self.offered("snapshots "), ["list", "create", "get"])
        self.assertLess({"aggregate", "schema", "completion"}, set(self.offered("")))
        self.assertNotIn("to", self.offered("upgrade "))
        self.assertEqual(self.offered("nothing "), [])

    def test_options(self) -> None:
        """Options of the command and of all commands, each once unless it is repeatable."""
        offered = self.offered("events --")
        self.assertLess({"--take", "--json", "--server", "--context", "--help"}, set(offered))
        self.assertNotIn("--take", self.offered("events --take 3 --"))
        self.assertIn("--field", self.offered("aggregate apply a b c --field x=1 --"))
        self.assertEqual(self.offered("events -- --"), [])
        self.assertEqual(self.offered("aggregate archive order o-1 --com"), ["--comment"])

    def test_values(self) -> None:
        """Words that an option takes, glued or not, and for short options."""
        for line in ("-o ", "events --output ", "events -o "):
            self.assertEqual(self.offered(line)[:2], ["json", "ndjson"])
        self.assertEqual(self.offered("events --output=js"), ["--output=json"])
        self.assertEqual(self.offered("start --restrict=s"), ["--restrict=strict"])
        self.assertEqual(self.offered("plugin set notes --order "),
                         ["aggregate", "strict", "none"])  # fmt: skip
        self.assertEqual(self.offered("events --take "), [])

    def test_paths(self) -> None:
        """Files and folders are what the shell knows best."""
        self.assertEqual(self.paths("--config "), FILES)
        self.assertEqual(self.paths("--data-dir "), FOLDERS)
        self.assertEqual(self.paths("aggregate apply a b c --payload @"), FILES)
        self.assertEqual(self.paths("proof check "), FILES)
        self.assertEqual(self.paths("backup --output "), FILES)
        self.assertEqual(self.paths("import "), FILES)
        self.assertIsNone(self.paths("aggregate get "))

    def test_nothing_is_made(self) -> None:
        """Asking for names makes no configuration."""
        for line in ("aggregate get ", "remote show ", "plugin show ", "domain ", "context use "):
            self.offered(line)
        self.assertEqual(list(self.home.iterdir()), [])

    def test_every_command(self) -> None:
        """No command of the tree is in the way of an answer."""
        from tests.permissions.test_cli import leaves

        for name in leaves(root_command(MODULES, EPILOG)):
            self.assertIn("--help", self.offered(f"{name} --"), name)
            self.offered(f"{name} ")


class Named(CompletionCase):
    """Names that exist."""

    def test_files(self) -> None:
        """Without a server they come from files."""
        self.with_names()
        for line, names in (
            ("aggregate get ", ["order", "patient"]),
            ("aggregate get pa", ["patient"]),
            ("events o", ["order"]),
            ("aggregate apply order o-1 ", ["order_created", "order_paid"]),
            ("aggregate create patient p-1 --event ", ["patient_created"]),
            ("schema order", ["order"]),
            ("schema create ", []),
            ("plugin enable ", ["notes"]),
            ("queue pause ", ["notes"]),
            ("remote show ", ["standby"]),
            ("remote add ", []),
            ("checkout s", ["sales"]),
            ("merge --from sales --into d", ["default"]),
            ("tenant quota set ", ["default", "sales"]),
            ("aggregate export ", ["order", "patient"]),
            ("--domain sales aggregate get ", []),
            ("import x.csv --event ", ["order_created", "order_paid", "patient_created"]),
            ("context use ", ["local", "prod"]),
            ("--context ", ["local", "prod"]),
            ("config list_p", ["list_page_size"]),
            ("config --set auth.clock", ["auth.clock_skew_secs="]),
        ):
            self.assertEqual(self.offered(line), names, line)

    def test_of_another_place(self) -> None:
        """The options of the line decide whose names they are."""
        self.with_names()
        config = str(self.home / "other" / "config.toml")
        self.dbx("--config", config, "--data-dir", str(self.home / "there"), "schema", "create",
                 "case", "-e", "case_made")  # fmt: skip
        line = f"--config {config} --data-dir {self.home / 'there'} aggregate get "
        self.assertEqual(self.offered(line), ["case"])

    def test_silent_server(self) -> None:
        """A server that is not there has no names, and keeps nobody waiting."""
        self.with_names()
        for line in ("--context prod aggregate get ", "--server 127.0.0.1:9 plugin show "):
            self.assertEqual(self.offered(line), [])

    def test_server(self) -> None:
        """The names of a chosen server are its own: types without a schema, and ids, too."""
        place = running()
        token = self.home / "token"
        token.write_text(place.token)
        self.dbx("context", "add", "there", "--server", f"127.0.0.1:{place.port}",
                 "--token-file", str(token), "--use")  # fmt: skip
        self.dbx("aggregate", "create", "parcel", "q-1", "--event", "parcel_made")
        self.dbx("aggregate", "create", "parcel", "q-2", "--event", "parcel_made")
        self.assertIn("parcel", self.offered("aggregate get "))
        self.assertEqual(self.offered("aggregate get parcel q"), ["q-1", "q-2"])
        self.assertEqual(self.offered("aggregate get parcel q-1"), [])
        self.assertEqual(self.offered("--context local aggregate get "), [])


class Shells(CompletionCase):
    """The shells themselves."""

    def setUp(self) -> None:
        super().setUp()
        self.with_names()
        programs = self.home / "programs"
        programs.mkdir()
        program = programs / "dbx"
        program.write_text(
            f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} "
            '-m eventdbx.surfaces.cli.main "$@"\n'
        )
        program.chmod(0o700)
        os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
        for shell, script in SCRIPTS.items():
            (self.home / f"dbx.{shell}").write_text(self.dbx("completion", shell).stdout)
            self.assertEqual((self.home / f"dbx.{shell}").read_text(), script)

    def ran(self, *command: str) -> list[str]:
        """Run a program in the home; return its lines."""
        done = subprocess.run(
            command, cwd=self.home, env=dict(os.environ), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def bash(self, *words: str) -> list[str]:
        """Return what bash has after its completion function ran; the last word is begun."""
        quoted = " ".join(shlex.quote(one) for one in words)
        return self.ran(
            "bash", "--norc", "-c",
            f"source dbx.bash; COMP_WORDS=({quoted}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
            'COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; _dbx_complete; '
            '[[ ${#COMPREPLY[@]} -eq 0 ]] || printf "%s\\n" "${COMPREPLY[@]}"',
        )  # fmt: skip

    def test_bash(self) -> None:
        """bash gets commands, options, names and files."""
        self.assertEqual(self.bash("dbx", "sna"), ["snapshots"])
        self.assertEqual(self.bash("dbx", "aggregate", "get", ""), ["order", "patient"])
        self.assertEqual(self.bash("dbx", "context", "use", "p"), ["prod"])
        self.assertEqual(self.bash("dbx", "events", "--tak"), ["--take"])
        self.assertEqual(sorted(self.bash("dbx", "--config", "dbx.")),
                         ["dbx.bash", "dbx.fish", "dbx.zsh"])  # fmt: skip
        self.assertEqual(self.bash("dbx", "nothing", ""), [])

    def test_bash_types(self) -> None:
        """A tab in an interactive bash finishes the word."""
        leader, follower = pty.openpty()
        shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"], cwd=self.home, stdin=follower,
            stdout=follower, stderr=follower, env={**os.environ, "PS1": "$ ", "TERM": "dumb"},
            start_new_session=True,
        )  # fmt: skip
        os.close(follower)
        try:
            os.write(leader, b"source dbx.bash\n")
            os.write(leader, b"dbx remote show sta\t\n")
            self.assertIn("endpoint: tcp://10.0.0.2:6363", read_until(leader, "token: "))
        finally:
            os.write(leader, b"exit\n")
            shell.wait(30)
            os.close(leader)

    def test_others(self) -> None:
        """zsh and fish read their script, and fish offers what it says."""
        if shutil.which("zsh"):
            self.assertEqual(self.ran("zsh", "-n", "dbx.zsh"), [])
        if shutil.which("fish"):
            lines = self.ran("fish", "-c", 'source dbx.fish; complete -C "dbx aggregate get "')
            self.assertEqual(lines, ["order", "patient"])
        for shell in ("zsh", "fish"):
            lines = self.ran("dbx", "__complete", shell, "snapshots", "g")
            self.assertEqual(lines, ["get\tFetch a snapshot by id"])
            self.assertEqual(self.ran("dbx", "__complete", shell, "--config", ""), [":files"])
            self.assertEqual(self.ran("dbx", "__complete", shell, "--output=y"), ["--output=yaml"])

    def test_names_that_a_shell_would_carry_out(self) -> None:
        """Names come from other places, too: bash gets none that is more than a word to it."""
        self.dbx("remote", "add", "st$(reboot)", "10.0.0.2", "--token-env", "STANDBY")
        self.assertEqual(self.bash("dbx", "remote", "show", "st"), ["standby"])
        self.assertIn("st$(reboot)", self.ran("dbx", "__complete", "zsh", "remote", "show", "st"))

    def test_odd_questions(self) -> None:
        """What is no question has no answer, and no error either."""
        for words in ((), ("bash",), ("csh", "x"), ("bash", "dbx 'unclosed")):
            self.assertEqual(self.ran("dbx", "__complete", *words), [])


def read_until(descriptor: int, part: str, seconds: float = 30.0) -> str:
    """Return what a terminal shows, up to a text that has to come."""
    shown, until = "", time.monotonic() + seconds
    while part not in shown:
        left = until - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise AssertionError(f"{part!r} does not come: {shown!r}")
        shown += os.read(descriptor, 4096).decode(errors="replace")
    return shown

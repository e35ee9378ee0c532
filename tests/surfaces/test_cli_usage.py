"""How command lines are read: options, usage errors, help, version, and the end of a reader."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from eventdbx.errors import EventDBXError
from eventdbx.surfaces.cli.commands import DbxCommand, DbxGroup
from eventdbx.surfaces.cli.failures import FINE_STATUSES
from eventdbx.surfaces.cli.main import EPILOG, MODULES
from eventdbx.surfaces.cli.root import root_command
from tests.daemon import CHECKOUT_DBX, ROOT
from tests.surfaces.command_line import CommandLineCase

CREATE = ("aggregate", "create", "order", "o-1", "--event", "order_created")


class Refused(CommandLineCase):
    """What is no command line of ours ends with status 2 and says why."""

    def assertMisused(self, first_line: str, *arguments: str) -> str:
        text = self.misused(*arguments)
        self.assertEqual(text.splitlines()[0], f"error: {first_line}")
        self.assertTrue(text.endswith("For more information, try '--help'.\n"), text)
        self.assertFalse((self.home / ".eventdbx").exists(), "wrong usage touches nothing")
        return text

    def test_missing(self) -> None:
        """Everything that is missing is named at once, options before positionals."""
        text = self.assertMisused(
            "the following required arguments were not provided:", "aggregate", "create", "order"
        )
        self.assertIn("\n  --event <EVENT>\n  <AGGREGATE_ID>\n", text)
        self.assertIn(
            "Usage: dbx aggregate create [OPTIONS] --event <EVENT> <AGGREGATE> <AGGREGATE_ID>", text
        )

    def test_unexpected(self) -> None:
        """Unknown options and surplus words are unexpected; a near miss is pointed out."""
        self.assertMisused("unexpected argument '--bogus' found", "aggregate", "list", "--bogus")
        self.assertMisused("unexpected argument 'c' found", "events", "a", "b", "c")
        self.assertMisused("unexpected argument '-1' found", "aggregate", "list", "--take", "-1")
        self.assertMisused("unexpected argument '-x' found", "events", "-x")
        text = self.assertMisused("unexpected argument '--filtr' found", "events", "--filtr", "a")
        self.assertIn("tip: a similar argument exists: '--filter'", text)

    def test_no_abbreviations(self) -> None:
        """A long option is written in full."""
        self.assertMisused("unexpected argument '--inc' found", "events", "--inc")

    def test_subcommands(self) -> None:
        """An unknown word in a group is wrong usage, with the nearest real one."""
        text = self.assertMisused("unrecognized subcommand 'creat'", "aggregate", "creat")
        self.assertIn("tip: a similar subcommand exists: 'create'", text)
        self.assertMisused("unrecognized subcommand 'nothing'", "help", "nothing")

    def test_unknown_command(self) -> None:
        """An unknown command at the top is a failure, not wrong usage, as it always was."""
        self.assertEqual(
            self.failed("frobnicate", "--json"), "Error: unknown command 'frobnicate'\n"
        )

    def test_conflicts(self) -> None:
        """Options that exclude each other are named in the order of the line."""
        both = "--include-archived", "--archived-only"
        self.assertMisused(f"the argument '{both[0]}' cannot be used with '{both[1]}'",
                           "events", *both)  # fmt: skip
        self.assertMisused(f"the argument '{both[1]}' cannot be used with '{both[0]}'",
                           "events", *both[::-1])  # fmt: skip
        self.assertMisused("the argument '--version <VERSION>' cannot be used with '--at <TIME>'",
                           "aggregate", "get", "a", "b", "--version", "1",
                           "--at", "2026-01-01T00:00:00Z")  # fmt: skip

    def test_once(self) -> None:
        """An option that is not repeatable stands once."""
        self.assertMisused("the argument '--take <TAKE>' cannot be used multiple times",
                           "events", "--take", "1", "--take=2")  # fmt: skip
        self.assertMisused("the argument '--json' cannot be used multiple times",
                           "events", "--json", "--json")  # fmt: skip

    def test_flag_values(self) -> None:
        """A flag takes no value, an option needs one."""
        self.assertMisused("unexpected value 'false' for '--json' found; no more were expected",
                           "aggregate", "list", "--json=false")  # fmt: skip
        self.assertMisused("a value is required for '--take <TAKE>' but none was supplied",
                           "events", "--take")  # fmt: skip
        self.assertMisused("a value is required for '--take <TAKE>' but none was supplied",
                           "events", "--take", "--json")  # fmt: skip

    def test_values(self) -> None:
        """A value of the wrong kind is named with its option and the reason."""
        for value, reason in (
            ("x", "invalid digit found in string"),
            ("", "cannot parse integer from empty string"),
            ("18446744073709551616", "number too large to fit in target type"),
        ):
            self.assertMisused(f"invalid value '{value}' for '--take <TAKE>': {reason}",
                               "events", "--take", value)  # fmt: skip
        for value, reason in (("a", "missing value"), (" =1", "field key cannot be empty")):
            self.assertMisused(f"invalid value '{value}' for '--field <KEY=VALUE>': {reason}",
                               *CREATE, "--field", "good=1", "--field", value)  # fmt: skip
        self.assertMisused("invalid value 'noon' for '--at <TIME>': 'noon' is not an RFC 3339 time",
                           "aggregate", "get", "a", "b", "--at", "noon")  # fmt: skip

    def test_no_command(self) -> None:
        """A group alone shows its help on stderr."""
        for group, phrase in (
            ((), "EventDBX server CLI"),
            (("aggregate",), "Manage aggregates"),
            (("snapshots",), "Manage snapshots"),
        ):
            self.assertEqual(self.misused(*group).splitlines()[0], phrase)

    def test_not_text(self) -> None:
        """Bytes that are no UTF-8 are refused before anything happens."""
        self.assertMisused("invalid UTF-8 was detected in one or more arguments",
                           *CREATE, "--field", "a=\udcff")  # fmt: skip


class Accepted(CommandLineCase):
    """The freedoms of a command line."""

    def test_any_order(self) -> None:
        """Options and positionals mix; values may be glued; ``--`` ends options."""
        self.dbx("aggregate", "create", "--event=order_created", "order", "--json", "--", "o-1")
        self.assertEqual(
            self.dbx("events", "--take=1", "order", "--json").document[0]["version"], 1
        )

    def test_config_anywhere(self) -> None:
        """``--config`` may stand at any place and names the database to use."""
        path = str(self.home / "other" / "config.toml")
        self.dbx("--data-dir", str(self.home / "data"), "--config", path, *CREATE)
        for line in (
            ("--config", path, "aggregate", "list"),
            ("aggregate", f"--config={path}", "list"),
            ("aggregate", "list", "--config", path),
        ):
            self.assertEqual(self.dbx(*line).stdout, "", "that data directory was for one call")
        listed = self.dbx(
            "aggregate", "list", "--config", path, "--data-dir", str(self.home / "data")
        )
        self.assertIn("aggregate_id=o-1", listed.stdout)

    def test_positionals_as_options(self) -> None:
        """Documents also write the aggregate as options."""
        self.dbx("aggregate", "create", "--aggregate", "order", "--aggregate-id", "o-1",
                 "--event", "order_created")  # fmt: skip
        self.dbx("aggregate", "apply", "--aggregate", "order", "--aggregate-id", "o-1",
                 "--event", "order_paid")  # fmt: skip
        self.assertEqual(self.dbx("aggregate", "show", "order", "o-1").document["version"], 2)

    def test_version(self) -> None:
        """All spellings print the version as the last word."""
        lines = {self.dbx(*line).stdout for line in (("--version",), ("-V",), ("version",))}
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines.pop(), r"^eventdbx version \d+\.\d+\.\d+\S*\n$")

    def test_verbose(self) -> None:
        """``-v`` says on stderr which files are in use; stdout stays parseable."""
        ended = self.attempt("-v", "aggregate", "list", "--json")
        self.assertEqual(ended.document, [])
        self.assertIn(f"data directory: {self.home}/.eventdbx", ended.stderr)


class Help(CommandLineCase):
    """Help on everything, without touching anything."""

    def test_every_command(self) -> None:
        """Every command has a phrase, help with examples, and ``--json`` where it prints data."""
        root = root_command(MODULES, EPILOG)
        context = click.Context(root, info_name="dbx")
        for path, command in _walk(root, context, ()):
            page = self.dbx(*path, "--help").stdout
            self.assertTrue(page.startswith((command.help or "?").strip().split("\n")[0]), path)
            self.assertIn(f"\nUsage: dbx {' '.join(path)}".rstrip(), page)
            self.assertIn("--help", page)
            if isinstance(command, DbxCommand):
                self.assertTrue(command.examples or command.epilog, path)
            if path[:1] in (("aggregate",), ("events",), ("snapshots",), ("verify",)) and not (
                isinstance(command, DbxGroup)
            ):
                self.assertIn("--json", page)
        self.assertFalse((self.home / ".eventdbx").exists())

    def test_three_ways(self) -> None:
        """``--help``, ``help WORD`` before the group and in it print the same page."""
        pages = {
            self.dbx("aggregate", "create", "--help", "--bogus").stdout,
            self.dbx("aggregate", "create", "-h").stdout,
            self.dbx("help", "aggregate", "create").stdout,
            self.dbx("aggregate", "help", "create").stdout,
        }
        self.assertEqual(len(pages), 1)
        page = pages.pop()
        self.assertIn("Examples:\n  dbx aggregate create order o-1", page)
        self.assertIn("      --event <EVENT>  ", page)

    def test_exit_statuses(self) -> None:
        """The statuses stand in the help, and every error code has a fine one."""
        self.assertIn("Exit status: 0 done", self.dbx("--help").stdout)
        codes = {kind.code for kind in _subclasses(EventDBXError)}
        self.assertEqual(codes - set(FINE_STATUSES), set())

    def test_fine_statuses(self) -> None:
        """A failure has status 1, and a finer one only on request."""
        self.assertEqual(self.attempt("aggregate", "get", "order", "o-1").status, 1)
        os.environ["EVENTDBX_EXIT_CODES"] = "fine"
        self.assertEqual(self.attempt("aggregate", "get", "order", "o-1").status, 4)
        self.assertEqual(self.attempt("aggregate", "list", "--filter", "x y").status, 7)


class Processes(CommandLineCase):
    """What only a process of its own shows."""

    def test_version_is_light(self) -> None:
        """The version and help need neither Twisted nor Cap'n Proto nor RocksDB."""
        script = (
            "import sys\n"
            "from eventdbx.surfaces.cli.main import main\n"
            "main(['--version']); main(['--help']); main(['help', 'aggregate'])\n"
            "heavy = {'twisted', 'capnp', 'rocksdict', 'cryptography'} & set(sys.modules)\n"
            "sys.exit(', '.join(sorted(heavy)) or 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_closed_stdout(self) -> None:
        """A reader that has seen enough ends the command quietly."""
        for number in range(3):
            self.create("order", f"o-{number}")
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run(
                [*CHECKOUT_DBX, "events"],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        finally:
            os.close(writing)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_any_locale(self) -> None:
        """Results are UTF-8 whatever the locale says."""
        self.create("order", "o-1", "--field", "name=Zoë 李")
        done = subprocess.run(
            [*CHECKOUT_DBX, "aggregate", "get", "order", "o-1"],
            cwd=ROOT,
            env={
                **os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0",
                "PYTHONCOERCECLOCALE": "0",
            },
            capture_output=True,
            check=False,
        )  # fmt: skip
        self.assertIn("Zoë 李".encode(), done.stdout)


def _walk(
    command: click.Command, context: click.Context, path: tuple[str, ...]
) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            found += _walk(inner, click.Context(inner, parent=context), (*path, name))
    return found


def _subclasses(kind: type[EventDBXError]) -> list[type[EventDBXError]]:
    found = [kind]
    for one in kind.__subclasses__():
        found += _subclasses(one)
    return found

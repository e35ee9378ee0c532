"""What all commands have in common: how values are written, what is asked, what goes where."""

from __future__ import annotations

import json
import os
import subprocess

from tests.daemon import CHECKOUT_DBX, ROOT
from tests.surfaces.command_line import CommandLineCase


class Values(CommandLineCase):
    """How options take their values."""

    def test_spellings(self) -> None:
        """Long options with and without ``=``, short ones with a blank, glued, and with ``=``."""
        self.create("order", "o-1")
        plain = self.dbx("events", "--take", "1", "--json").stdout
        for words in (("--take=1", "--json"), ("--json", "--take=1"), ("-o", "json", "--take=1"),
                      ("-ojson", "--take=1"), ("-o=json", "--take=1")):  # fmt: skip
            ended = self.attempt("events", *words)
            self.assertEqual((ended.status, ended.stdout), (0, plain))

    def test_words_for_yes_and_no(self) -> None:
        """Some options want one of two words, and no other."""
        for word in ("true", "false"):
            self.dbx("config", "--verbose-responses", word)
            self.assertEqual(self.dbx("config", "verbose_responses").stdout, f"{word}\n")
        for word in ("yes", "True", "1", ""):
            said = self.misused("config", f"--verbose-responses={word}")
            self.assertIn("[possible values: true, false]", said)

    def test_lists(self) -> None:
        """Lists are separated by commas, given in several options, or both, and trimmed."""
        self.dbx("schema", "create", "bill", "--events", " a_b , c_d", "-e", "e_f")
        self.assertEqual(sorted(self.dbx("schema", "bill").document["events"]),
                         ["a_b", "c_d", "e_f"])  # fmt: skip

    def test_pairs(self) -> None:
        """A pair is split at the first equals sign, both sides trimmed; one in each option."""
        self.create("order", "o-1", "--field", " who = a=b ", "--field=n:=5", "--field", "x=-1")
        state = self.dbx("aggregate", "get", "order", "o-1").document["state"]
        self.assertEqual(state, {"who": "a=b", "n": "5", "x": "-1"})

    def test_after_two_dashes(self) -> None:
        """Behind ``--`` everything is a word."""
        self.create("order", "o-1")
        self.assertIn("o-1", self.dbx("events", "--", "order", "o-1").stdout)
        self.assertIn("no events", self.dbx("events", "--", "--json").stdout)
        self.assertIn("default *", self.dbx("--", "list").stdout)

    def test_help_everywhere(self) -> None:
        """Help in three ways, of groups and of itself, wherever the line is wrong otherwise."""
        page = self.dbx("aggregate", "get", "--help").stdout
        for words in (("help", "aggregate", "get"), ("aggregate", "help", "get"),
                      ("aggregate", "get", "-h"), ("aggregate", "get", "--verison", "--help"),
                      ("aggregate", "get", "a", "b", "--help", "c")):  # fmt: skip
            shown = self.attempt(*words)
            if "--verison" in words:
                self.assertEqual((shown.status, shown.stdout), (2, ""))
            else:
                self.assertEqual(shown.stdout, page)
        for word in ("help", "-h", "--help"):
            self.assertEqual(self.dbx("help", word).stdout, self.dbx("--help").stdout)
        self.assertEqual(self.dbx("token", "help").stdout, self.dbx("token", "--help").stdout)
        self.assertFalse((self.home / ".eventdbx").exists(), "help touches nothing")


class Said(CommandLineCase):
    """What goes to stdout and what to stderr."""

    def test_json(self) -> None:
        """JSON has an indent of two, no escapes, and one line end."""
        self.create("order", "o-1", "--field", "name=Zoë ☃")
        said = self.dbx("aggregate", "get", "order", "o-1").stdout
        self.assertIn('\n    "name": "Zoë ☃"\n', said)
        self.assertTrue(said.endswith("}\n") and not said.endswith("\n\n"))
        json.loads(said)

    def test_ok(self) -> None:
        """Without verbose responses writes say ``Ok``, and a snapshot its document."""
        self.dbx("config", "--verbose-responses", "false")
        order = "order", "o-1"
        for words in (("create", *order, "--event", "order_created"),
                      ("apply", *order, "order_paid"),
                      ("patch", *order, "order_changed",
                       "--patch", '[{"op":"add","path":"/a","value":1}]'),
                      ("archive", *order), ("restore", *order)):  # fmt: skip
            for options in ((), ("--json",)):
                if words[0] != "create" or not options:
                    self.assertEqual(self.dbx("aggregate", *words, *options).stdout, "Ok\n")
        self.assertEqual(self.dbx("aggregate", "snapshot", *order).document["version"], 5)

    def test_unanswered(self) -> None:
        """Where a word is asked for, the end of the input and any other word cancel."""
        self.dbx("domain", "create", "bills")
        self.dbx("checkout", "default")
        self.dbx("schema", "create", "order", "--events", "order_created")
        for words, cancelled in (
            (("destroy",), "Destroy command cancelled."),
            (("checkout", "--delete", "bills"), "Domain deletion cancelled."),
            (("schema", "delete", "order"), "schema deletion cancelled"),
        ):
            for answer in ("", "no\n"):
                ended = self.attempt(*words, stdin=answer)
                self.assertEqual(ended.status, 0)
                self.assertTrue(ended.stdout.endswith(f"{cancelled}\n"), ended)
        self.assertIn("bills", self.dbx("list").stdout)
        self.assertEqual(self.dbx("schema", "order").document["aggregate"], "order")

    def test_nothing_but_results(self) -> None:
        """A first command that makes everything says nothing of it on stdout; ``-v`` neither."""
        said = self.attempt("-v", "token", "list", "--json")
        self.assertEqual((said.status, said.document), (0, []))
        self.assertIn("config.toml", said.stderr)


class Environment(CommandLineCase):
    """Variables, in a process of its own."""

    def run_with(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command line with these variables."""
        return subprocess.run(
            [*CHECKOUT_DBX, *words],
            cwd=self.home,
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def test_home(self) -> None:
        """HOME is the root, XDG_CONFIG_HOME is not asked."""
        done = self.run_with("config", HOME=str(self.home), XDG_CONFIG_HOME=str(self.home / "x"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn('restrict = "default"\n', done.stdout)
        self.assertTrue((self.home / ".eventdbx" / "config.toml").is_file())
        self.assertFalse((self.home / "x").exists())

    def test_auto_init(self) -> None:
        """EVENTDBX_AUTO_INIT makes a workspace where there is none, and none without it."""
        for word in ("1", "true", "yes", "on"):
            place = self.home / word
            place.mkdir()
            done = subprocess.run(
                [*CHECKOUT_DBX, "config"], cwd=place,
                env={"PYTHONPATH": str(ROOT), "HOME": str(place), "EVENTDBX_AUTO_INIT": word},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue((place / ".dbx" / "config.toml").is_file())

    def test_other_names(self) -> None:
        """Names of earlier releases count where there is no newer one; none of them is saved."""
        home = {"HOME": str(self.home)}
        self.dbx("config")
        for key, value, names in (
            ("restrict", "strict", ("EVENTDBX_RESTRICT", "EVENTDB_RESTRICT", "EVENTFUL_RESTRICT")),
            ("log.level", "warn", ("EVENTDBX_LOG", "RUST_LOG")),
        ):
            for name in names:
                done = self.run_with("config", key, **home, **{name: value})
                self.assertEqual((done.returncode, done.stdout), (0, f"{value}\n"), name)
            self.assertNotEqual(self.dbx("config", key).stdout, f"{value}\n")

    def test_key(self) -> None:
        """The data key of the environment counts, a blank one does not, and neither is saved."""
        self.create("order", "o-1")
        home = {"HOME": str(self.home)}
        blank = self.run_with("events", **home, EVENTDBX_DATA_ENCRYPTION_KEY=" ")
        self.assertEqual((blank.returncode, blank.stderr), (0, ""))
        bad = self.run_with("events", **home, EVENTDBX_DATA_ENCRYPTION_KEY="bad")
        self.assertEqual(bad.returncode, 1)
        self.assertIn("EVENTDBX_DATA_ENCRYPTION_KEY", bad.stderr)
        self.assertIn("o-1", self.dbx("events").stdout)

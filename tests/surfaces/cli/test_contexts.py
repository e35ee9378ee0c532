"""Named servers: choosing where commands work, and showing which token."""

from __future__ import annotations

import json
import os
from pathlib import Path

from eventdbx.surfaces.cli.contexts import _OF_NEITHER, _OF_THIS_MACHINE, ContextFile
from tests.daemon import running
from tests.permissions.commands import OWN_FILES
from tests.surfaces.command_line import CommandLineCase, Ended

TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJvcHM6YWxpY2UifQ.c2lnbmF0dXJl"


class Kept(CommandLineCase):
    """What is kept of servers, without talking to any."""

    @property
    def file(self) -> Path:
        """Where contexts are kept."""
        return self.home / ".eventdbx" / "contexts.json"

    def add(self, name: str, *options: str, stdin: str = "") -> Ended:
        """Give a server a name."""
        return self.dbx("context", "add", name, "--server", "10.0.0.2", *options, stdin=stdin)

    def test_round(self) -> None:
        """A name is given, used, changed and forgotten; there is always the local store."""
        self.assertEqual(self.add("prod").stdout, "Context 'prod' is 10.0.0.2:6363.\n")
        self.assertEqual(self.dbx("context", "list").stdout, "* local -\n  prod 10.0.0.2:6363\n")
        self.assertEqual(
            self.dbx("context", "use", "prod").stdout,
            "Commands work with 10.0.0.2:6363 (context 'prod').\n",
        )
        self.assertEqual(self.dbx("context", "list").stdout, "  local -\n* prod 10.0.0.2:6363\n")
        self.dbx("context", "rename", "prod", "main")
        self.assertEqual(self.dbx("context", "show", "--json").document["name"], "main")
        removed = self.attempt("context", "remove", "main")
        self.assertEqual(removed.stdout, "Removed context 'main'.\n")
        self.assertIn("work on the store of this machine again", removed.stderr)
        self.assertEqual(self.dbx("context", "show").stdout, "name: local\ncurrent: yes\n")

    def test_back(self) -> None:
        """``-`` and ``local`` go back to the store of this machine."""
        for word in ("-", "local"):
            self.add("prod", "--use", "--replace")
            self.assertEqual(
                self.dbx("context", "use", word).stdout,
                "Commands work on the store of this machine.\n",
            )
            self.assertTrue(self.dbx("context", "show", "local", "--json").document["current"])
            self.create("order", f"o{word}")

    def test_file(self) -> None:
        """The file is readable by its owner alone, and nothing is left beside it."""
        self.add("prod", "--domain", " Sales ", "--no-noise")
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(
            json.loads(self.file.read_text())["contexts"],
            {"prod": {"server": "10.0.0.2:6363", "domain": "sales", "no_noise": True}},
        )
        self.assertEqual([one.name for one in self.file.parent.iterdir()], ["contexts.json"])

    def test_sealed(self) -> None:
        """A token from stdin is kept sealed, and shown by nothing."""
        self.add("prod", "--token-stdin", "--use", stdin=f"{TOKEN}\n")
        self.assertIn('"token": "ENCv1:', self.file.read_text())
        for words in (("show", "prod", "--json"), ("list", "--json"), ("show",), ("list",)):
            text = self.dbx("context", *words).stdout
            self.assertNotIn("ENCv1", text)
            self.assertNotIn(TOKEN, text)
        self.assertEqual(self.dbx("context", "show", "--json").document["token"], "sealed")

    def test_lost_key(self) -> None:
        """With another data key the token has to be given again, which is said."""
        self.add("prod", "--token-stdin", "--use", stdin=TOKEN)
        (self.home / ".eventdbx" / "config.toml").unlink()
        text = self.failed("aggregate", "list")
        self.assertIn("the token of context 'prod' was sealed with another data encryption", text)

    def test_rotated_key(self) -> None:
        """A token follows to the new data key when it is used, before the old one is removed."""
        self.add("prod", "--token-stdin", stdin=TOKEN)
        before = self.file.read_text()
        self.attempt("keys", "rotate")
        kept = ContextFile(os.environ)
        self.assertEqual(kept.token_of(kept.read().named("prod")), TOKEN)
        self.assertNotEqual(self.file.read_text(), before)
        self.dbx("config", "--unset", "data_encryption_keys")
        self.assertEqual(kept.token_of(kept.read().named("prod")), TOKEN)

    def test_refused(self) -> None:
        """Names and addresses that cannot be are refused, and nothing is changed."""
        self.add("prod")
        before = self.file.read_bytes()
        for words, text in (
            (("add", "prod", "--server", "h"), "already exists (use --replace to overwrite)"),
            (("add", "local", "--server", "h"), "'local' is the store of this machine"),
            (("add", "a b", "--server", "h"), "'a b' is no name for a context"),
            (("add", "x", "--server", "http://h"), "is no address of a server"),
            (("add", "x", "--server", "h:99999"), "is no address of a server"),
            (("add", "x", "--server", "h", "--tls-ca", "f"), "begins with tls://"),
            (("add", "x", "--server", "h", "--token-file", "none"), "none has no token"),
            (("add", "x", "--server", "h", "--token-stdin"), "there is no token on stdin"),
            (("use", "pro"), "no context named 'pro' is configured"),
            (("remove", "x"), "no context named 'x' is configured"),
            (("rename", "prod", "local"), "'local' is the store of this machine"),
        ):
            self.assertIn(text, self.failed("context", *words))
        both = ("--token-file", "f", "--token-stdin")
        self.assertIn("cannot be used", self.misused("context", "add", "x", "--server", "h", *both))
        self.assertEqual(self.file.read_bytes(), before)

    def test_damaged(self) -> None:
        """A file that is damaged is named, and commands that need none work on."""
        self.add("prod")
        self.file.write_text("[]")
        self.assertIn("contexts.json is damaged", self.failed("aggregate", "list"))
        self.dbx("upgrade", "installed")

    def test_of_this_machine(self) -> None:
        """Commands about this machine say so when another place is chosen, and work here."""
        self.add("prod", "--use")
        for words, name in (
            (("token", "list"), "token list"),
            (("config", "port"), "config"),
            (("status",), "status"),
            (("remote", "ls"), "remote ls"),
        ):
            ended = self.attempt(*words)
            self.assertEqual(
                (ended.status, ended.stderr),
                (0, f"note: `dbx {name}` is about this machine, "
                 "not about 10.0.0.2:6363 of context 'prod'\n"),
            )  # fmt: skip
        self.assertEqual(self.attempt("--quiet", "token", "list").stderr, "")

    def test_every_command_of_this_machine(self) -> None:
        """Each command that asks for no token is known to work here, or to need no place."""
        known = _OF_THIS_MACHINE | _OF_NEITHER
        there = {
            name
            for name in OWN_FILES
            if not {" ".join(name.split()[:count]) for count in (1, 2)} & known
        }
        self.assertEqual(there, {"audit verifier"})


class Worked(CommandLineCase):
    """Commands beside a server that is not the one of this home."""

    def setUp(self) -> None:
        super().setUp()
        self.place = running()
        self.address = f"127.0.0.1:{self.place.port}"
        self.token = self.home / "server.token"
        self.token.write_text(self.place.token + "\n")
        self.add("here")

    def add(self, name: str, *options: str) -> None:
        """Name the server, with its token in a file."""
        self.dbx("context", "add", name, "--server", self.address,
                 "--token-file", str(self.token), *options)  # fmt: skip

    def made(self, aggregate_id: str, *options: str) -> None:
        """Create an aggregate at the server, and see that none is here."""
        self.create("named", aggregate_id, *options)
        self.assertFalse(self.store.exists())

    def test_chosen(self) -> None:
        """The chosen server has what is written, the store of this machine has not."""
        self.dbx("context", "use", "here")
        self.made("n-1")
        self.assertEqual(self.dbx("aggregate", "get", "named", "n-1").document["version"], 1)
        self.dbx("context", "use", "local")
        self.assertIn("aggregate not found", self.failed("aggregate", "get", "named", "n-1"))

    def test_for_one_command(self) -> None:
        """An option or the environment chooses for one command."""
        self.made("n-2", "--context", "here")
        self.assertIn("aggregate not found", self.failed("aggregate", "get", "named", "n-2"))
        os.environ["EVENTDBX_CONTEXT"] = "here"
        self.dbx("aggregate", "get", "named", "n-2")
        self.failed("aggregate", "get", "named", "n-2", "--context", "local")
        os.environ["EVENTDBX_CONTEXT"] = "none"
        self.assertIn("no context named 'none'", self.failed("aggregate", "list"))

    def test_the_line_counts_more(self) -> None:
        """A store or an address on the command line is what is used."""
        self.dbx("context", "use", "here")
        config = str(self.home / "other" / "config.toml")
        self.assertEqual(self.dbx("--config", config, "aggregate", "list").stdout, "")
        self.assertIn("127.0.0.1:9", self.failed("--server", "127.0.0.1:9", "aggregate", "list"))
        self.assertIn("cannot be used with",
                      self.misused("--server", "h:1", "--context", "here", "events"))  # fmt: skip

    def test_tokens_of_the_line(self) -> None:
        """The token comes from a file or stdin, where nobody else sees it, or from the line."""
        self.dbx("context", "add", "bare", "--server", self.address)
        bare = ("--context", "bare", "aggregate", "list")
        self.failed(*bare)
        self.dbx(*bare, "--token-file", str(self.token))
        self.dbx("--server", self.address, "--token-file", str(self.token), "aggregate", "list")
        self.assertIn(
            "only one of --token",
            self.misused("--context", "bare", "aggregate", "create", "a", "b", "--event", "c",
                         "--token-file", "f", "--token", "t"),
        )  # fmt: skip
        self.assertIn("has no token", self.failed(*bare, "--token-file", "none"))
        self.made("n-3", "--context", "bare", "--token", self.place.token)

    def test_token_of_stdin(self) -> None:
        """The first line of stdin is the token, the rest is for the command."""
        from eventdbx.surfaces.cli import dialling

        self.patch(dialling, "_OF_STDIN", [])
        ended = self.dbx(
            "--server", self.address, "--token-stdin", "aggregate", "create", "named", "n-4",
            "--event", "named_created", "--payload", "-", "--json",
            stdin=f'{self.place.token}\n{{"a": 1}}',
        )  # fmt: skip
        self.assertEqual(ended.document["state"], {"a": "1"})

    def test_more_than_the_environment(self) -> None:
        """A token of the environment is for the server at hand, not for one with its own."""
        os.environ["EVENTDBX_TOKEN"] = TOKEN
        self.dbx("--context", "here", "aggregate", "list")

    def test_domain(self) -> None:
        """A context may name the domain."""
        self.add("domain", "--domain", "default")
        self.dbx("--context", "domain", "aggregate", "list")
        self.add("other", "--domain", "nowhere")
        self.failed("--context", "other", "aggregate", "list")

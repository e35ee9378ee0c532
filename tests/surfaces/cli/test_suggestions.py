"""Names that were mistyped: the failure says which one was probably meant."""

from __future__ import annotations

import json
from typing import Any

from tests.daemon import running
from tests.surfaces.command_line import CommandLineCase


class Hints(CommandLineCase):
    """Hints are for people and for errors as documents."""

    def hint(self, *words: str) -> Any:
        """Return the hint of a command that fails."""
        ended = self.attempt("-o", "json", *words)
        self.assertEqual((ended.status, ended.stdout), (1, ""), ended)
        return json.loads(ended.stderr)["error"]["hint"]

    def test_files(self) -> None:
        """Remotes, plugins, contexts, domains."""
        self.dbx("remote", "add", "standby", "10.0.0.2", "--token-env", "STANDBY")
        self.dbx("plugin", "config", "log", "--name", "notes")
        self.dbx("context", "add", "staging", "--server", "10.0.0.2")
        for words, name in (
            (("remote", "show", "stanby"), "standby"),
            (("remote", "rm", "standbye"), "standby"),
            (("plugin", "enable", "note"), "notes"),
            (("context", "use", "stage"), "staging"),
            (("--context", "stagin", "aggregate", "list"), "staging"),
        ):
            self.assertEqual(self.hint(*words), f"did you mean '{name}'?", words)
        self.dbx("domain", "create", "sales")
        self.assertEqual(self.hint("--domain", "sale", "events"), "did you mean 'sales'?")
        self.dbx("checkout", "default")
        hint = self.hint("plugin", "show", "nots")
        self.assertEqual(hint, "did you mean 'notes'? `dbx plugin list` shows those that are")
        self.assertIsNone(self.hint("remote", "show", "entirely-different"))

    def test_types(self) -> None:
        """Aggregate types, and events of a type."""
        self.dbx("schema", "create", "order", "-e", "order_created,order_paid")
        for words in (
            ("aggregate", "get", "ordr", "o-1"),
            ("aggregate", "select", "--aggregate", "orders", "--aggregate-id", "o-1"),
            ("aggregate", "apply", "odrer", "o-1", "order_paid"),
            ("schema", "lock", "oder"),
        ):
            self.assertRegex(self.hint(*words), "^did you mean 'order'\\?")
        self.assertEqual(
            self.hint("schema", "annotate", "order", "order_payed", "--note", "n"),
            "did you mean 'order_paid'?",
        )

    def test_ids(self) -> None:
        """Beside a server, ids of a type that there is."""
        place = running()
        token = self.home / "token"
        token.write_text(place.token)
        self.dbx("context", "add", "there", "--server", f"127.0.0.1:{place.port}",
                 "--token-file", str(token), "--use")  # fmt: skip
        self.create("invoice", "inv-2026-07")
        self.assertEqual(self.hint("aggregate", "get", "invoice", "inv-2026-7"),
                         "did you mean 'inv-2026-07'?")  # fmt: skip
        self.assertEqual(self.hint("aggregate", "get", "invioce", "x"), "did you mean 'invoice'?")

    def test_words_in_place_of_commands(self) -> None:
        """Where a name may stand for a command, a mistyped command is one."""
        self.assertEqual(self.hint("schema", "lst"), "did you mean 'list'?")
        self.assertEqual(self.hint("upgrade", "instaled"), "did you mean 'installed'?")
        self.assertEqual(self.hint("agregate", "list"), "did you mean 'aggregate'?")

    def test_scripts(self) -> None:
        """Scripts see the words they know, without hints."""
        self.dbx("remote", "add", "standby", "10.0.0.2", "--token-env", "STANDBY")
        self.assertEqual(self.failed("remote", "show", "stanby"),
                         "Error: no remote named 'stanby' is configured\n")  # fmt: skip

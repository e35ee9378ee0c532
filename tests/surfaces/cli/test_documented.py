"""Forms that documents show and no earlier program had: each works, or says what does."""

from __future__ import annotations

import json
import re
from typing import Any

from eventdbx.surfaces.cli.documented import INSTEAD, INSTEAD_OF_OPTION, SPELLINGS
from tests.examples.tree import commands
from tests.surfaces.command_line import CommandLineCase

TOKEN = "--group", "ops", "--user", "ann", "--action", "*.*", "--json"
ONE = "--aggregate", "order", "--aggregate-id", "o-1"
CALLED = re.compile(r"`dbx ([a-z -]+?)(?: --.*?)?`")


class DocumentedCase(CommandLineCase):
    """A database with an aggregate."""

    def setUp(self) -> None:
        super().setUp()
        self.create("order", "o-1", "--field", "total=12")

    def hint(self, *words: str, status: int = 1) -> str:
        """Run a command line that must fail with a hint; return that."""
        ended = self.attempt("-o", "json", *words)
        self.assertEqual((ended.status, ended.stdout), (status, ""), ended)
        error = json.loads(ended.stderr)["error"]
        self.assertIsInstance(error["hint"], str, words)
        return str(error["hint"])

    def value(self, *words: str) -> Any:
        """Run a command line that must succeed; return its document."""
        return self.dbx(*words).document


class Global(DocumentedCase):
    """Options in front of the command."""

    def test_data_dir(self) -> None:
        """``--data-dir`` is another place; behind ``config`` it is that command's own."""
        other = str(self.home / "other")
        self.assertEqual(self.dbx("--data-dir", other, "aggregate", "list").stdout, "")
        self.assertIn("o-1", self.dbx("aggregate", "list").stdout)
        self.dbx("config", "--data-dir", other)
        self.assertEqual(self.dbx("aggregate", "list").stdout, "")

    def test_socket(self) -> None:
        """``--socket`` talks to that server, not to the store."""
        said = self.failed("--socket", "127.0.0.1:1", "aggregate", "list")
        self.assertIn("failed to connect to CLI proxy at 127.0.0.1:1", said)

    def test_flags(self) -> None:
        """``--no-noise`` and ``--verbose`` are taken in front."""
        self.assertIn("o-1", self.dbx("--no-noise", "aggregate", "list").stdout)
        for flag in ("-v", "--verbose"):
            ended = self.attempt(flag, "aggregate", "list")
            self.assertIn("o-1", ended.stdout)
            self.assertIn(str(self.home / ".eventdbx"), ended.stderr)


class Tokens(DocumentedCase):
    """Options of tokens under other names."""

    def test_generate(self) -> None:
        """``--expiration`` and ``--limit`` are the lifetime and the writes; so is ``issue``."""
        for command in ("generate", "issue"):
            made = self.value("token", command, *TOKEN, "--expiration", "10m", "--limit", "5")
            self.assertEqual(made["limits"]["write_events"], 5)
            self.assertEqual(_seconds(made), 600)

    def test_refresh(self) -> None:
        """A refreshed token takes both, too, and keeps what is not given."""
        made = self.value("token", "generate", *TOKEN, "--ttl", "1h", "--limit", "5")
        kept = self.value("token", "refresh", "--token", made["jti"], "--json")
        self.assertEqual((kept["limits"]["write_events"], _seconds(kept)), (5, 3600))
        changed = self.value("token", "refresh", "--token", kept["jti"], "--expiration", "10m",
                             "--limit", "9", "--json")  # fmt: skip
        self.assertEqual((changed["limits"]["write_events"], _seconds(changed)), (9, 600))

    def test_revoke(self) -> None:
        """``--token`` stands for the positional."""
        made = self.value("token", "generate", *TOKEN)
        said = self.dbx("token", "revoke", "--token", made["jti"])
        self.assertEqual(said.stdout, f"revoked {made['jti']}\n")


def _seconds(made: dict[str, Any]) -> int:
    from eventdbx.domain.timestamps import parse_ns

    return round((parse_ns(made["expires_at"]) - parse_ns(made["issued_at"])) / 1e9)


class Options(DocumentedCase):
    """Options where positionals are meant."""

    def test_schema_add(self) -> None:
        """``--events`` are the events."""
        self.dbx("schema", "create", "order", "--events", "order_created")
        said = self.dbx("schema", "add", "order", "--events", "order_paid, order_sent")
        self.assertIn("added_events=order_paid,order_sent", said.stdout)

    def test_aggregates(self) -> None:
        """Every command on an aggregate takes its type and id as options, and the event."""
        patch = '[{"op":"add","path":"/a","value":1}]'
        for words in (
            ("apply", *ONE, "--event", "order_paid"),
            ("patch", *ONE, "--event", "order_changed", "--patch", patch),
            ("get", *ONE), ("select", *ONE, "total"), ("replay", *ONE), ("verify", *ONE),
            ("snapshot", *ONE), ("referrers", *ONE), ("archive", *ONE), ("restore", *ONE),
        ):  # fmt: skip
            self.dbx("aggregate", *words)
        self.assertEqual(self.value("aggregate", "get", "order", "o-1")["version"], 3)
        listed = self.dbx("events", *ONE).stdout.splitlines()
        self.assertEqual(len(listed), 3)

    def test_create(self) -> None:
        """Creating takes them, too."""
        self.dbx("aggregate", "create", "--aggregate", "order", "--aggregate-id", "o-2",
                 "--event", "order_created")  # fmt: skip

    def test_upgrade(self) -> None:
        """``--print-only`` stands behind the version, and installs nothing."""
        ended = self.attempt("upgrade", "use", "4.0.0", "--print-only")
        self.assertEqual(ended.status, 0, ended)
        self.assertIn("eventdbx==4.0.0", ended.stdout)

    def test_dashed_argument(self) -> None:
        """The next word is the value of ``--arg``, whatever it begins with."""
        said = self.failed("plugin", "config", "process", "--name", "p", "--plugin", "view",
                           "--arg", "--listen=0.0.0.0:8081", "--arg", "-v")  # fmt: skip
        self.assertIn("plugin 'view' is not installed", said)


class Refused(DocumentedCase):
    """What stays refused, with a hint."""

    def test_grpc(self) -> None:
        """A kind of plugin that was removed."""
        hint = self.hint("plugin", "config", "grpc", "--name", "a", "--endpoint", "http://x",
                         status=2)  # fmt: skip
        self.assertIn("kind 'grpc' was removed; use http or process", hint)

    def test_dashed_events(self) -> None:
        """A schema takes event names with dashes and warns; writes name the valid form."""
        ended = self.attempt("schema", "create", "bill", "--events", "bill-made")
        self.assertEqual(ended.status, 0)
        self.assertIn("call it 'bill_made'", ended.stderr)
        ended = self.attempt("schema", "add", "bill", "bill-sent")
        self.assertIn("call it 'bill_sent'", ended.stderr)
        apply = "aggregate", "apply", "order", "o-1"
        self.assertEqual(self.hint(*apply, "order-paid"), "call it 'order_paid'")
        for event in (("--event", "Bill-Made"), ("--event=bill-made",)):
            hint = self.hint("aggregate", "create", "bill", "b-1", *event)
            self.assertEqual(hint, "call it 'bill_made'")

    def test_missing_aggregate(self) -> None:
        """An event makes no aggregate; the hint says what does."""
        for where in (("order", "x-9"), ("parcel", "p-1")):
            hint = self.hint("aggregate", "apply", *where, "order_paid")
            self.assertEqual(
                hint, f"create it with `dbx aggregate create {' '.join(where)} --event EVENT`"
            )

    def test_rules_without_type(self) -> None:
        """Rules want a type first; the hint names it."""
        self.dbx("schema", "create", "order", "--events", "order_created")
        field = "schema", "field", "order", "code"
        self.assertEqual(self.hint(*field, "--length-min", "3"), "add `--type text`")
        self.assertEqual(self.hint(*field, "--range-min", "3"), "add `--type integer`")
        self.assertEqual(
            self.hint(*field, "--properties", '{"a":{"type":"text"}}'), "add `--type object`"
        )

    def test_no_commands(self) -> None:
        """Commands that a website has invented: unknown, with the nearest real one."""
        for words in sorted(INSTEAD):
            path = words.split()
            status = 2 if path[0] == "aggregate" else 1
            for line in (path, [*path, "order"], [*path, "order", "o-1"]):
                self.assertIn(INSTEAD[words], self.hint(*line, status=status))
        for (command, flag), hint in INSTEAD_OF_OPTION.items():
            self.assertIn(hint, self.hint(*command.split(), flag, "order", status=2))

    def test_hints_name_commands(self) -> None:
        """Each command that a hint names is there."""
        known = {path for path, _command in commands()}
        for hint in (*INSTEAD.values(), *INSTEAD_OF_OPTION.values()):
            named = CALLED.findall(hint)
            self.assertTrue(named, hint)
            self.assertEqual([one for one in named if one not in known], [], hint)

    def test_names_win(self) -> None:
        """A schema of such a name is shown."""
        self.dbx("schema", "create", "rule", "--events", "rule_made")
        self.assertEqual(self.value("schema", "rule")["aggregate"], "rule")


class Website(DocumentedCase):
    """Spellings of the project's website."""

    def same(self, one: str, other: str) -> None:
        """Both command lines print the same."""
        said = self.dbx(*one.split()).stdout
        self.assertTrue(said)
        self.assertEqual(said, self.dbx(*other.split()).stdout)

    def test_reading(self) -> None:
        """``show``, ``merkle`` and ``events`` of an aggregate; the scan of everything."""
        self.same("aggregate show order o-1", "aggregate get order o-1")
        self.same("aggregate merkle order o-1", "aggregate verify order o-1")
        self.same("aggregate events order o-1 --json", "events order o-1 --json")
        self.same("integrity scan", "aggregate verify --all")

    def test_domains(self) -> None:
        """``domain list`` and ``domain create``."""
        self.same("domain list", "list")
        self.dbx("domain", "create", "bills")
        self.assertIn("bills *", self.dbx("list").stdout)

    def test_snapshots(self) -> None:
        """``aggregate snapshot`` takes one, as ``rebuild`` does; ``show`` lists them."""
        made = self.value("aggregate", "snapshot", "rebuild", "order", "o-1")
        self.value("aggregate", "snapshot", "order", "o-1")
        self.assertEqual(made["version"], 1)
        self.same("aggregate snapshot show order o-1 --json", "snapshots list order o-1 --json")
        self.create("rebuild", "7")
        self.assertEqual(
            self.value("aggregate", "snapshot", "rebuild", "7")["aggregate_type"], "rebuild"
        )

    def test_restrict(self) -> None:
        """``restrict set`` sets the key; permissive is off."""
        for mode, kept in (("strict", "strict"), ("permissive", "off"), ("default", "default"),
                           ("off", "off")):  # fmt: skip
            self.dbx("restrict", "set", mode)
            self.assertEqual(self.dbx("config", "restrict").stdout, f"{kept}\n")

    def test_stats(self) -> None:
        """``plugin stats`` is the queue of a plugin."""
        self.dbx("plugin", "config", "tcp", "--name", "out", "--host", "127.0.0.1", "--port", "9")
        self.same("plugin stats out", "queue --plugin out")

    def test_table(self) -> None:
        """Each spelling begins with what is no command, and means one that is there."""
        known = {path for path, _command in commands()}
        for spelled, meant in SPELLINGS.items():
            self.assertNotIn(spelled, known)
            self.assertTrue(any(meant == one or meant.startswith(f"{one} ") for one in known))

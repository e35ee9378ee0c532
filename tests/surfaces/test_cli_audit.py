"""``dbx audit``: what commands and servers recorded, without and with a server."""

from __future__ import annotations

import fcntl
import json
import stat
from hashlib import sha256
from typing import Any

from eventdbx.domain.actions import Action
from eventdbx.domain.events import Actor
from eventdbx.services.auditspool import Spool, Taken, spool_action
from tests.surfaces.command_line import CommandLineCase


class AuditCase(CommandLineCase):
    """A home with a trail."""

    def setUp(self) -> None:
        super().setUp()
        self.data = self.home / ".eventdbx"
        self.data.mkdir()

    def trail(self, *options: str) -> list[dict[str, Any]]:
        """Return the trail, newest first."""
        items: list[dict[str, Any]] = self.dbx("audit", "log", "--json", *options).document
        return items


class LogTests(AuditCase):
    """What is shown."""

    def test_nothing_yet(self) -> None:
        """A fresh home has an empty trail, and looking makes no store."""
        self.assertEqual(self.dbx("audit", "log").stdout, "")
        self.assertEqual(self.trail(), [])
        self.assertIn("0 actions verified", self.dbx("audit", "verify").stdout)
        self.assertFalse(self.store.exists())

    def test_changes_of_schemas_and_plugins(self) -> None:
        """What is changed without a server is recorded as the doing of who ran the command."""
        self.dbx("schema", "create", "order", "--events", "order_placed")
        self.dbx("plugin", "config", "log", "--name", "trace", "--level", "info", "--template", "x")
        self.dbx("plugin", "disable", "trace")
        self.attempt("plugin", "disable", "trace")
        found = self.trail()
        self.assertEqual(
            [(one["area"], one["event"], one["resource"], one["way"]) for one in found],
            [
                ("plugins", "plugin_disabled", "trace", "offline plugins.disable"),
                ("plugins", "plugin_configured", "trace", "offline plugins.configure"),
                ("schemas", "schemas_changed", "order", "offline schemas.change"),
            ],
        )
        self.assertEqual({json.dumps(one["actor"]) for one in found},
                         {'{"group": "cli", "user": "kim"}'})  # fmt: skip
        disabled, configured, schema = found
        self.assertEqual(configured["before"], None)
        self.assertEqual(disabled["before"], configured["after"])
        self.assertNotEqual(disabled["before"], disabled["after"])
        self.assertNotEqual(schema["before"], schema["after"])
        self.assertEqual(schema["details"], {"actor": "kim", "changes": ["create"]})

    def test_conditions_and_lines(self) -> None:
        """Areas, names and counts narrow it down; a line says it all."""
        for name in ("a", "b", "c"):
            spool_action(self.data, "tokens", "token_issued", name, "dbx token generate")
        spool_action(self.data, "config", "config_changed", "port", "dbx config")
        self.assertEqual([one["resource"] for one in self.trail("--area", "tokens")], list("cba"))
        first = self.trail("--take", "2")
        self.assertEqual([one["resource"] for one in first], ["port", "c"])
        rest = self.trail("--before", first[-1]["event_id"])
        self.assertEqual([one["resource"] for one in rest], ["b", "a"])
        self.assertEqual(len(self.trail("--resource", "b", "--actor", "cli/kim")), 1)
        self.assertEqual(self.trail("--since", "2199-01-01T00:00:00Z"), [])
        line = self.dbx("audit", "log", "--take", "1").stdout
        self.assertRegex(
            line, r'^\S+Z  config  config_changed  port  by=cli/kim  way="dbx config"\n$'
        )
        self.assertIn("unknown audit area", self.failed("audit", "log", "--area", "secrets"))

    def test_it_is_closed_and_proven(self) -> None:
        """Commands neither see nor write the type; verification covers it."""
        spool_action(self.data, "tokens", "token_issued", "t", "dbx token generate")
        self.trail()
        self.assertEqual(self.dbx("aggregate", "list", "--json").document, [])
        self.assertEqual(self.dbx("events", "--json", "--include-hidden").document, [])
        failed = self.failed("aggregate", "apply", "dbx_admin", "tokens", "forged")
        self.assertIn("unauthorized", failed)
        self.assertIn("1 actions verified", self.dbx("audit", "verify").stdout)
        (area,) = self.dbx("audit", "verify", "--json").document["areas"]
        self.assertEqual((area["area"], area["actions"]), ("tokens", 1))
        self.assertIn(area["merkle_root"], self.dbx("verify", "dbx_admin", "tokens").stdout)


class ProgramTests(AuditCase):
    """Programs that the server runs."""

    def test_installed_and_removed(self) -> None:
        """Which program came, by its digest, and which went."""
        program = self.home / "worker.sh"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        self.dbx("plugin", "install", "worker", "1.0.0", "--source", str(program))
        self.dbx("plugin", "uninstall", "worker", "1.0.0")
        gone, came = self.trail()
        self.assertEqual((came["event"], came["resource"], came["way"]),
                         ("plugin_installed", "worker 1.0.0", "dbx plugin install"))  # fmt: skip
        self.assertEqual(came["after"], sha256(program.read_bytes()).hexdigest())
        self.assertEqual((gone["event"], gone["resource"]), ("plugin_uninstalled", "worker 1.0.0"))


class SpoolTests(AuditCase):
    """The file between commands and the store."""

    def setUp(self) -> None:
        super().setUp()
        self.spool = Spool(self.data)
        self.path = self.data / "audit.spool"

    def action(self, name: str) -> Action:
        """Return an action of a name."""
        return Action("tokens", "token_issued", name, "test", Actor("a", "b"), key=f"k-{name}")

    def take(self) -> Taken:
        """Take what is there; nobody is appending."""
        taken = self.spool.take()
        assert taken is not None
        return taken

    def test_nobody_waits_for_writers(self) -> None:
        """A command that stands still while it appends holds up no server."""
        self.spool.append(self.action("a"))
        with self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertIsNone(self.spool.take())
        self.assertEqual([one.resource for one in self.take().actions], ["a"])

    def test_private_and_whole(self) -> None:
        """Its owner alone reads it; what is taken stays until it is in the trail."""
        self.spool.append(self.action("a"))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual([one.resource for one in self.take().actions], ["a"])
        self.spool.append(self.action("b"))
        self.assertEqual([one.resource for one in self.take().actions], ["a"])
        self.spool.forget()
        self.assertEqual([one.resource for one in self.take().actions], ["b"])
        self.spool.forget()
        self.assertFalse(self.spool.holds_something)

    def test_a_line_cut_off(self) -> None:
        """A crash in the middle of a line loses that line only."""
        self.spool.append(self.action("a"))
        with self.path.open("ab") as file:
            file.write(b'{"area":"tok')
        self.spool.append(self.action("b"))
        taken = self.take()
        self.assertEqual(([one.resource for one in taken.actions], taken.damaged), (["a", "b"], 1))

    def test_taken_twice_recorded_once(self) -> None:
        """A crash between recording and forgetting leaves one event."""
        self.spool.append(self.action("a"))
        content = self.path.read_bytes()
        self.assertEqual(len(self.trail()), 1)
        (self.data / "audit.spool.taken").write_bytes(content)
        self.spool.append(self.action("b"))
        self.assertEqual([one["resource"] for one in self.trail()], ["b", "a"])
        self.assertFalse(self.spool.holds_something)

    def test_many_writers(self) -> None:
        """Appending while another takes loses nothing and repeats nothing."""
        import threading

        names = [[f"{writer}-{number}" for number in range(20)] for writer in range(4)]

        def write(mine: list[str]) -> None:
            for name in mine:
                Spool(self.data).append(self.action(name))

        writers = [threading.Thread(target=write, args=(mine,)) for mine in names]
        for writer in writers:
            writer.start()
        found: list[str] = []
        while any(writer.is_alive() for writer in writers) or self.spool.holds_something:
            taken = self.spool.take()
            if taken is not None:
                found += [one.resource for one in taken.actions]
                self.spool.forget()
        for writer in writers:
            writer.join()
        self.assertEqual(sorted(found), sorted(name for mine in names for name in mine))

"""Every command, given everybody's token, beside a running server."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from eventdbx.surfaces.cli.main import EPILOG, MODULES
from eventdbx.surfaces.cli.root import root_command
from tests.permissions.commands import COMMANDS, NOT_ALLOWED, NOTHING, OWN_FILES, STANDING, Command
from tests.permissions.operations import PATCH, SEEN
from tests.permissions.place import AWAY_TEXT, HERE_TEXT, running_place
from tests.permissions.rules import HOLDERS, NOBODY, REFUSED, ROOT, Holder, allowed, expected
from tests.surfaces.command_line import CommandLineCase, Ended


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the commands that can be called, hidden ones too."""
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    if command.invoke_without_command:
        yield " ".join(path)
    context = click.Context(command)
    for name in dict.fromkeys((*command.list_commands(context), *command.commands)):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


class Reflection(CommandLineCase):
    """The table is complete, and holds nothing that is not there."""

    def test_every_command(self) -> None:
        """Each command is in the table, or named as one that asks for no token."""
        found = {name.replace(" (aggregate)", "") for name in leaves(root_command(MODULES, EPILOG))}
        known = {name.partition(" --")[0] for name in COMMANDS} | OWN_FILES | NOTHING.keys()
        self.assertEqual(found, known)


class Matrix(CommandLineCase):
    """Who may do what."""

    maxDiff = None

    def setUp(self) -> None:
        self.place = running_place()
        self.folder = self.place.workspace.folder
        super().setUp()
        os.environ["EVENTDBX_EXIT_CODES"] = "fine"
        (self.folder / "columns.json").write_text('{"type":"object"}')
        (self.folder / "case.dbx").write_text("aggregate case {\n  event case_made {}\n}\n")
        for line in STANDING:
            self.run_as(ROOT, line)
        installed = self.folder / "worker.sh"
        if not installed.exists():
            installed.write_text("#!/bin/sh\n")
            source = ("--source", installed.name)
            self.place.workspace.run("plugin", "install", "worker", "1.0.0", *source)
        # Who has no token for the server may still have the same programs.
        (self.home / ".eventdbx").mkdir()
        (self.home / ".eventdbx" / "plugins").symlink_to(self.folder / ".dbx" / "plugins")

    def run_as(self, holder: Holder, line: str) -> Ended:
        """Run a command with the token of a holder; who has none asks from another home."""
        words = shlex.split(line)
        if holder is NOBODY:
            return self.attempt("--socket", f"127.0.0.1:{self.place.workspace.port}", *words)
        os.environ["EVENTDBX_TOKEN"] = self.place.tokens[holder]
        config = str(self.folder / ".dbx" / "config.toml")
        try:
            return self.attempt("--config", config, *words)
        finally:
            del os.environ["EVENTDBX_TOKEN"]

    def line(self, command: Command, one: str) -> str:
        """Return the words of a command."""
        job = self.place.dead_job() if "{job}" in command.line else 0
        return command.line.format(
            one=one,
            patch=PATCH,
            job=job,
            snapshot=self.place.snapshot,
            folder=self.folder,
            file=self.folder / f"{self.mktemp().replace('/', '-')}.json",
            events=self.events(one) if "{events}" in command.line else "",
        )

    def events(self, one: str) -> Path:
        """Return a new file with an event for an aggregate."""
        path = self.folder / f"{self.mktemp().replace('/', '-')}.ndjson"
        path.write_text(
            f'{{"aggregate_type":"order","aggregate_id":"{one}","event_type":"order_paid",'
            '"payload":{}}'
        )
        return path

    def test_refused(self) -> None:
        """A command whose token does not allow it fails, says so, and changes nothing."""
        self.place.dead_job()
        wrong = []
        for holder in HOLDERS:
            before = self.place.state()
            for name, command in COMMANDS.items():
                if expected(command.needs, holder) not in REFUSED:
                    continue
                ended = self.run_as(holder, self.line(command, SEEN))
                knows = holder.enters and allowed(command.needs._replace(on=""), holder)
                if ended.status != (command.hides if knows else NOT_ALLOWED) or ended.stdout:
                    wrong.append(f"{name}: {holder.name} ends with {ended}")
                if HERE_TEXT in ended.stderr or AWAY_TEXT in ended.stderr:
                    wrong.append(f"{name}: {holder.name} is told too much")
            self.assertEqual(self.place.state(), before, holder.name)
        self.assertEqual("\n".join(wrong), "")

    def test_let_in(self) -> None:
        """A command whose token allows it does what it is for."""
        wrong = []
        for holder in HOLDERS:
            for name, command in COMMANDS.items():
                if expected(command.needs, holder) in REFUSED:
                    continue
                for line in command.before:
                    self.run_as(ROOT, line)
                one = self.place.fresh(SEEN) if command.writes else SEEN
                ended = self.run_as(holder, self.line(command, one))
                if ended.status != command.ends:
                    wrong.append(f"{name}: {holder.name} ends with {ended}")
        self.assertEqual("\n".join(wrong), "")

"""What a command line imports: the module of its command, and nothing heavy without need."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from eventdbx.surfaces.cli.commands import DbxGroup, phrase
from eventdbx.surfaces.cli.main import EPILOG, MODULES
from eventdbx.surfaces.cli.root import root_command
from tests.daemon import ROOT, running
from tests.surfaces.command_line import CommandLineCase

HEAVY = ("twisted", "rocksdict", "cryptography", "capnp", "tomlkit", "asyncio", "jsonschema",
         "yaml", "click.testing", "difflib", "eventdbx.storage", "eventdbx.wire")  # fmt: skip
"""What no command needs that neither reads data nor writes the configuration."""

PROGRAM = """
import json, sys
from eventdbx.surfaces.cli.main import main
try:
    status = main(json.loads(sys.argv[1]))
finally:
    print("loaded:" + json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""
OURS = "eventdbx.surfaces.cli."


class Loaded(CommandLineCase):
    """Each command line in an interpreter of its own."""

    def loaded(self, *words: str) -> set[str]:
        """Run a command line that must succeed; return the modules that were there at its end."""
        return self.loaded_in(self.home, *words)

    def loaded_in(self, home: Path, *words: str) -> set[str]:
        """The same in a home that something else has made."""
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(words)],
            env={"PYTHONPATH": str(ROOT), "HOME": str(home)},
            cwd=home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said, _, found = done.stderr.partition("loaded:")
        self.assertEqual((done.returncode, said), (0, ""))
        status, modules = json.loads(found)
        self.assertEqual(status, 0)
        return set(modules)

    def assertLight(self, modules: set[str]) -> None:
        """Nothing heavy is among the modules."""
        heavy = [one for one in HEAVY if one in modules]
        self.assertEqual(heavy, [])

    def test_help(self) -> None:
        """Neither the version nor the first page of help imports a command."""
        for words in (("--version",), ("--help",)):
            modules = self.loaded(*words)
            self.assertLight(modules)
            commands = {module for module, _phrase in MODULES.values()}
            self.assertEqual(modules & commands, set())
        self.assertNotIn("click", self.loaded("--version"))

    def test_help_of_group(self) -> None:
        """The page of a group imports the group, not what is below it."""
        modules = self.loaded("aggregate", "--help")
        self.assertLight(modules)
        below = [one for one in modules if one.startswith(OURS + "aggregate.")]
        self.assertEqual(below, [OURS + "aggregate.commands"])

    def test_light_commands(self) -> None:
        """Completion and a configuration that is there need nothing heavy, and touch no store."""
        self.dbx("config")
        for words in (
            ("completion", "bash"),
            ("__complete", "bash", "1", "dbx", "agg"),
            ("config",),
        ):
            self.assertLight(self.loaded(*words))

    def test_one_command(self) -> None:
        """Reading an aggregate imports neither writing nor staging nor any other command."""
        self.create("order", "o-1")
        modules = self.loaded("aggregate", "get", "order", "o-1")
        known = set(_modules_of(_root()))
        self.assertEqual(modules & known, {OURS + "aggregate.commands", OURS + "aggregate.reading"})

    def test_through_server(self) -> None:
        """What is done most through a server imports no store, no Twisted, no wire schemas."""
        server = running()
        server.run("aggregate", "create", "order", "loaded", "--event", "order_created")
        order = "order", "loaded"
        for words in (("aggregate", "get", *order), ("events", *order),
                      ("aggregate", "apply", *order, "order_paid")):  # fmt: skip
            modules = self.loaded_in(server.folder, *words)
            for name in ("twisted", "rocksdict", "tomlkit", "capnp", "asyncio", "jsonpatch"):
                self.assertNotIn(name, modules, words)
            self.assertEqual([one for one in modules if one.startswith("eventdbx.storage")], [])


class Tables(CommandLineCase):
    """The tables beside the groups, which are read instead of the modules."""

    def test_phrases(self) -> None:
        """The phrase in a table is the first line of the help of a command that is there."""
        wrong = [
            (name, told, phrase(command))
            for name, told, command in _told(_root())
            if told != phrase(command)
        ]
        self.assertEqual(wrong, [])

    def test_every_module_is_used(self) -> None:
        """Each module of commands is in a table, or is imported by one that is."""
        folder = ROOT / "eventdbx" / "surfaces" / "cli"
        known = set(_modules_of(_root()))
        stray = [
            path.stem
            for path in sorted(folder.glob("*.py"))
            if "def register(" in path.read_text() and OURS + path.stem not in known
        ]
        self.assertEqual([one for one in stray if not _imported(folder, one)], [])


def _root() -> DbxGroup:
    return root_command(MODULES, EPILOG)


def _told(group: DbxGroup) -> Iterator[tuple[str, str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{name} is in a table, but its module does not declare it"
        if name in group.modules:
            yield name, group.modules[name][1], command
        if isinstance(command, DbxGroup):
            yield from _told(command)


def _modules_of(group: DbxGroup) -> Iterator[str]:
    context = click.Context(group)
    yield from (module for module, _phrase in group.modules.values())
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, DbxGroup):
            yield from _modules_of(command)


def _imported(folder: Path, stem: str) -> bool:
    return any(
        f"{stem}.register(" in path.read_text() for path in folder.glob("*.py") if path.stem != stem
    )

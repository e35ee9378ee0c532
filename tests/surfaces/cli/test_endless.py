"""Values of endless length: for every option and positional of every command that takes any text.

Each command line either is carried out or fails with one short message, and then leaves the home as
it was: no value is taken that the next command cannot read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from eventdbx.surfaces.cli.arguments import takes_value
from tests.examples.tree import commands
from tests.recordings.command_lines_forks import forks
from tests.surfaces.cli.test_misuse import Shape, digests, flag_of, good_value
from tests.surfaces.command_line import CommandLineCase, Ended

ENDLESS = "x" * 100_000
SHORT = 2_000
"""Letters that a failure may take to say that a value is endless, paths included."""

OF_STORE = ("event_store", "data_keys", "checkpoint")
"""What a store writes for itself when it is opened, whatever comes of the command."""


def lines_of(shape: Shape, seen: set[tuple[str, str | None]]) -> Iterator[list[str]]:
    """Yield lines in which one thing is endless: all the positionals, or one option.

    An option that several commands share is tried with the first of them.
    """
    words, found = list(shape.words), False
    for one in shape.command.params:
        if not one.required and not isinstance(one, click.Argument):
            continue
        endless = isinstance(one.type, click.types.StringParamType)
        found |= endless
        words += [flag_of(one)] if isinstance(one, click.Option) else []
        words.append(ENDLESS if endless else good_value(one))
    if found:
        yield words
    for option in shape.options:
        text = isinstance(option.type, click.types.StringParamType)
        known = (flag_of(option), option.help)
        if takes_value(option) and text and not option.required and known not in seen:
            seen.add(known)
            yield [*shape.filled(), f"{flag_of(option)}={ENDLESS}"]


class Endless(CommandLineCase):
    """Command lines as processes: what they do is their own business."""

    def setUp(self) -> None:
        super().setUp()
        self.create("order", "o-1")
        self.dbx("schema", "create", "order", "--events", "order_created")
        self.kept = self.home.parent / "kept"
        shutil.copytree(self.home, self.kept)
        self.work = self.home.parent / "work"
        self.work.mkdir()
        self.before = self.now()

    def now(self) -> dict[str, str]:
        """What is in the home but for the store."""
        return {
            name: digest
            for name, digest in digests(self.home).items()
            if not any(part in OF_STORE for part in Path(name).parts)
        }

    def ended(self, words: list[str]) -> Ended:
        """Run a command line in a process."""
        streams = [self.work.parent / name for name in ("in", "out", "err")]
        for stream in streams:
            stream.write_text("")
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "USER": "kim",
                       "DBX_NO_UPGRADE_CHECK": "1"}  # fmt: skip
        status = forks().run(words, folder=self.work, environment=environment, streams=streams)
        return Ended(status, streams[1].read_text("utf-8"), streams[2].read_text("utf-8"))

    def test_everything(self) -> None:
        """Every option that takes any text, and all positionals at once."""
        bad: list[str] = []
        seen: set[tuple[str, str | None]] = set()
        for path, command in commands():
            if isinstance(command, click.Group) and not command.invoke_without_command:
                continue
            for words in lines_of(Shape(path, command), seen):
                ended = self.ended(words)
                line = " ".join(word[:40] for word in words)
                errors = ended.stderr.count("Error: ") + ended.stderr.startswith("error: ")
                if ended.status not in (0, 1, 2) or "internal error" in ended.stderr:
                    bad.append(f"{line}: status {ended.status}, {ended.stderr[:300]}")
                elif ended.status and (errors != 1 or len(ended.stderr) > SHORT):
                    bad.append(f"{line}: {len(ended.stderr)} letters: {ended.stderr[:200]}")
                changed = self.now() != self.before
                if ended.status and changed:
                    bad.append(f"{line}: changed the home")
                if changed:
                    self.put_back()
        self.assertEqual(bad, [], "\n".join(bad))
        self.assertEqual(self.dbx("events").stdout.count("\n"), 1)

    def test_bounds(self) -> None:
        """What was once taken at any length: remarks on schemas, and the variable of a remote."""
        for option, what in (("--reason", "reason or actor"), ("--actor", "reason or actor"),
                             ("--label", "label")):  # fmt: skip
            said = self.failed("schema", "publish", option, "x" * 4097)
            self.assertEqual(said, f"Error: invalid schema: {what} cannot exceed 4096 bytes\n")
        self.assertEqual(self.dbx("schema", "history", "--json").document["versions"], [])
        self.dbx("schema", "publish", "--reason", "x" * 4096)
        said = self.failed("remote", "add", "standby", "h:1", "--token-env", "X" * 20_000)
        self.assertIn("token_env must not exceed 16384 characters", said)
        self.assertEqual(self.dbx("remote", "ls", "--json").document, {})

    def put_back(self) -> None:
        """Make the home as it was before a command that was carried out."""
        shutil.rmtree(self.home)
        shutil.copytree(self.kept, self.home)

"""Every example of every command's help page is run, as it stands there, in a world of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from twisted.trial.unittest import SynchronousTestCase

from tests.examples.cases import CASES, NOT_RUN, Case
from tests.examples.tree import commands
from tests.examples.world import World, fresh_world
from tests.surfaces.command_line import Ended

SHELL_S = 60.0
THROUGH_SHELL = ("|", ">", "<")


def examples_of(command: click.Command) -> tuple[str, ...]:
    """Return the examples that a command shows."""
    return tuple(getattr(command, "examples", ()))


class Declared(SynchronousTestCase):
    """The tables beside the commands."""

    def test_examples(self) -> None:
        """Every command and every group shows an example, of itself."""
        for path, command in commands():
            with self.subTest(path):
                shown = examples_of(command)
                self.assertTrue(shown, f"dbx {path} has no example")
                if path and not isinstance(command, click.Group):
                    own = [one for one in shown if f"dbx {path}" in one or "|" in one]
                    self.assertTrue(own, f"no example of dbx {path} calls it")

    def test_tables(self) -> None:
        """The tables name nothing that is not there."""
        paths = dict(commands())
        self.assertEqual([path for path in CASES if path not in paths], [])
        shown = {one for command in paths.values() for one in examples_of(command)}
        self.assertEqual([line for line in NOT_RUN if line not in shown], [])
        ended = {line for case in CASES.values() for line in case.ends}
        self.assertEqual(sorted(ended - shown), [])


class Examples(SynchronousTestCase):
    """One test for each command; the methods are made below."""

    def examples(self, path: str, lines: tuple[str, ...]) -> None:
        """Run the examples of a command one after the other."""
        case = CASES.get(path, Case())
        world = fresh_world(Path(self.mktemp()).absolute(), filled=case.filled)
        self.need(world, case.before)
        if case.server:
            world.need("start")
            self.addCleanup(world.run, ["stop"])
        for line in lines:
            if line in NOT_RUN:
                continue
            self.need(world, case.each)
            ended = run_line(world, self._filled(world, line, case), case.stdin)
            self.assertEqual(
                ended.status, case.ends.get(line, 0), f"{line}\n{ended.stdout}{ended.stderr}"
            )

    def need(self, world: World, lines: tuple[str, ...]) -> None:
        """Run lines that must succeed; ``dbx`` in front of one may be left out."""
        for line in lines:
            whole = line if line.startswith("dbx ") else f"dbx {line}"
            self.assertEqual(run_line(world, whole, "").status, 0, whole)

    def _filled(self, world: World, line: str, case: Case) -> str:
        for shown, meant in case.stands_for.items():
            if shown in line:
                if isinstance(meant, str):
                    line = line.replace(shown, meant)
                    continue
                asked, path = meant
                answer = world.need(*shlex.split(asked)).stdout
                found: Any = json.loads(answer) if path else answer.split()[0]
                for step in path:
                    found = found[step]
                line = line.replace(shown, str(found))
        return line


def run_line(world: World, line: str, stdin: str) -> Ended:
    """Run one example: by the program itself, or by a shell if it has something for one."""
    words = shlex.split(line)
    if words[0] == "dbx" and not any(mark in words for mark in THROUGH_SHELL):
        return world.run(words[1:], stdin)
    done = subprocess.run(
        ["sh", "-c", line], cwd=world.work, env=world.environment, input=stdin,
        capture_output=True, text=True, timeout=SHELL_S, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def _method(path: str, lines: tuple[str, ...]) -> Callable[[Examples], None]:
    def test(self: Examples) -> None:
        self.examples(path, lines)

    test.__doc__ = f"The examples of ``dbx {path}``."
    return test


for _path, _command in commands():
    _name = "test_" + (_path or "dbx").replace(" ", "_").replace("-", "_")
    setattr(Examples, _name, _method(_path, examples_of(_command)))

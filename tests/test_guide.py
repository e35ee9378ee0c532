"""The guides: every command that they show is run, in order, and answers what they say.

In a block of ``console`` a line with ``$`` is a command and what follows its answer, in which ``…``
stands for anything, alone on a line for any lines. A block of ``dbx`` is the file ``schema.dbx``,
one of ``python`` the file that a comment at its top names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import CHECKOUT_DBX, ROOT, free_port, outside

FENCE = re.compile(r"^```(console|dbx)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND_TIMEOUT_S = 60.0


class Step(NamedTuple):
    """A command and its answer, or (without a command) the text of ``schema.dbx``."""

    command: str | None
    text: str


def steps(document: Path) -> Iterator[Step]:
    """Yield what a guide lets its reader do, in order."""
    for language, body in FENCE.findall(document.read_text(encoding="utf-8")):
        if language == "dbx":
            yield Step(None, body)
            continue
        command: str | None = None
        answer: list[str] = []
        for line in body.splitlines():
            if not line.startswith("$ "):
                answer.append(line)
                continue
            if command is not None:
                yield Step(command, "\n".join(answer))
            command, answer = line[2:], []
        assert command is not None, f"{document.name}: a console block without a command"
        yield Step(command, "\n".join(answer))


def pattern(answer: str) -> re.Pattern[str]:
    """Return what an answer in a guide matches."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
        for line in answer.splitlines()
    ]
    return re.compile("".join(lines))


class Guides(SynchronousTestCase):
    """Guides that a newcomer follows."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        program = self.folder / "bin" / "dbx"
        program.parent.mkdir()
        python, *rest = CHECKOUT_DBX
        words = " ".join(f"'{word}'" for word in rest)
        program.write_text(f'#!/bin/sh\nexec "{python}" {words} "$@"\n')
        program.chmod(0o755)
        self.environment = {
            **{key: value for key, value in outside().items() if key[:9] != "EVENTDBX_"},
            "HOME": str(self.folder),
            "PATH": os.pathsep.join(
                (str(program.parent), os.path.dirname(sys.executable), os.environ["PATH"])
            ),
            "PYTHONPATH": str(ROOT),
            "DBX_NO_UPGRADE_CHECK": "1",
            "EVENTDBX_LOG_DIR": str(self.folder / "logs"),
        }
        self.addCleanup(self.shell, "dbx stop")

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run one command line."""
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def follow(self, document: Path, *, port: str | None = None) -> int:
        """Do what a guide says; return how many commands that were.

        A port that it uses is replaced by a free one.
        """
        count, free = 0, str(free_port())
        for step in steps(document):
            if port is not None:
                command = None if step.command is None else step.command.replace(port, free)
                step = Step(command, step.text.replace(port, free))
            if step.command is None:
                (self.folder / "schema.dbx").write_text(step.text, encoding="utf-8")
                continue
            count += 1
            done = self.shell(step.command)
            said = done.stdout.rstrip("\n") + "\n" + done.stderr
            said = "".join(f"{line}\n" for line in said.splitlines() if line.strip())
            if pattern(step.text).fullmatch(said) is None:
                self.fail(f"$ {step.command}\n--- the guide\n{step.text}\n--- said\n{said}")
            self.assertEqual(done.returncode != 0, "Error:" in step.text, f"{step.command}\n{said}")
            if step.command == "dbx init":
                address = f"127.0.0.1:{free_port()}"
                self.shell(f"dbx config --bind-addr {address} --port 0")
        return count

    def write_programs(self, document: Path) -> list[Path]:
        """Write the programs of a guide into the folder that its reader is in."""
        written = []
        for text in PROGRAM.findall(document.read_text(encoding="utf-8")):
            name = re.search(r"^# (\S+\.py)$", text, re.MULTILINE)
            assert name is not None, f"{document.name}: a program without a name"
            written.append(self.folder / name[1])
            written[-1].write_text(text, encoding="utf-8")
        return written

    def test_plugin_sdk(self) -> None:
        """From one function to a read model that is rebuilt."""
        guide = ROOT / "docs" / "plugin-sdk.md"
        programs = self.write_programs(guide)
        self.assertGreater(self.follow(guide), 15)
        tests = [one for one in programs if one.name.startswith("test_")]
        self.assertEqual(len(tests), 1)
        done = self.shell(f"python3 {tests[0].name}")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_plugins(self) -> None:
        """A file, a webhook that is away, a refused event, a read model that is rebuilt."""
        guide = ROOT / "docs" / "plugins.md"
        self.write_programs(guide)
        self.addCleanup(self.shell, "kill $(cat receiver.pid) 2>/dev/null")
        self.assertGreater(self.follow(guide, port="9000"), 30)

    def test_schemas(self) -> None:
        """From a prototype to strict mode."""
        self.assertGreater(self.follow(ROOT / "docs" / "schemas.md"), 15)

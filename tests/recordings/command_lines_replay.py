"""Replaying recorded command lines in homes of their own. The format is in README.md."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.daemon import (
    CHECKOUT_DBX,
    COMMAND_TIMEOUT_S,
    POLL_S,
    ROOT,
    START_TIMEOUT_S,
    free_port,
)
from tests.recordings.command_lines_forks import forks
from tests.recordings.command_lines_text import (
    CLI_KINDS,
    Answer,
    absent,
    answer_of,
    compared,
    with_values,
)
from tests.recordings.matching import Placeholders
from tests.surfaces.sinks import HttpSink, LineSink

RECORDINGS = Path(__file__).resolve().parent / "command_lines"
NAME_LENGTH = 200
PORTS = ("HTTP_PORT", "SOCKET_PORT", "ADMIN_PORT", "PORT1", "PORT2")


class Outcome(NamedTuple):
    """One step: what it was recorded to answer, in which releases, and what came."""

    name: str
    step: dict[str, Any]
    values: dict[str, str]
    actual: Answer

    def texts(self, recorded: dict[str, Any]) -> tuple[str, str]:
        """Return what is compared with one recorded answer: its text and that of what came."""
        answer = answer_of(recorded)
        expected = answer._replace(
            # Before documents are read: a port stands where a number does.
            stdout=with_values(answer.stdout, self.values),
            stderr=with_values(answer.stderr, self.values),
        )
        left_out = absent(self.step, expected)
        return (
            compared(self.step, expected),
            compared(self.step, self.actual, left_out=left_out),
        )


def load(path: Path) -> list[dict[str, Any]]:
    """Return the scenarios of a recording."""
    scenarios: list[dict[str, Any]] = orjson.loads(path.read_bytes())["scenarios"]
    return scenarios


def differences(outcomes: list[Outcome]) -> list[str]:
    """Return what does not agree in one scenario; empty if the recording holds.

    An answer of any release will do, as long as the values behind its placeholders fit those that
    the same release had before. A departure must be one, and must answer as is written.
    """
    known: dict[str, Placeholders] = {}
    found = []
    for one in outcomes:
        shown, agrees = "", False
        for answer in one.step["answers"]:
            recorded, actual = one.texts(answer)
            shown += f"recorded {' '.join(answer['releases'])}\n{recorded}"
            agrees = agrees or _all_match(known, answer["releases"], recorded, actual)
        if "departs" not in one.step:
            if not agrees:
                found.append(f"{one.name}\n{shown}now\n{actual}")
            continue
        here, actual = one.texts(one.step["here"])
        if agrees:
            found.append(f"{one.name}\ndeparts no more: {one.step['departs']}")
        elif not _all_match(known, ["here"], here, actual):
            found.append(f"{one.name}\nexpected\n{here}now\n{actual}")
    return found


def _all_match(
    known: dict[str, Placeholders], releases: list[str], recorded: str, actual: str
) -> bool:
    places = [known.setdefault(release, Placeholders(CLI_KINDS)) for release in releases]
    matches = [place.match(recorded, actual) for place in places]
    return all(matches)


def replay(scenario: dict[str, Any], folder: Path) -> list[Outcome]:
    """Take all steps of a scenario in a new folder, and return what they answered."""
    place = Place(scenario, folder)
    try:
        return list(place.outcomes())
    finally:
        place.close()


class Place:
    """A home, a working folder and ports for one scenario; ``close`` it."""

    def __init__(self, scenario: dict[str, Any], folder: Path) -> None:
        folder.mkdir(parents=True)
        self._scenario = scenario
        self._home, self._work = folder / "home", folder / "work"
        self._home.mkdir()
        self._work.mkdir()
        self._streams = [folder / name for name in ("stdin", "stdout", "stderr")]
        self._values = {"HOME": str(self._home), "CWD": str(self._work), "TMP": str(folder)}
        self._values |= {name: str(free_port()) for name in PORTS}
        self._kept: dict[str, str] = {}
        self._foreground: subprocess.Popen[bytes] | None = None
        self._targets: list[HttpSink | LineSink] = []

    def close(self) -> None:
        """End what still runs."""
        if self._foreground is not None:
            self._end(signal.SIGKILL)
        if self._scenario.get("server"):
            self._run(["stop"], {})
        for target in self._targets:
            target.close()

    def outcomes(self) -> Iterator[Outcome]:
        """Take one step after the other."""
        for step in self._scenario["steps"]:
            name, answer = self._take(step)
            if answer is None:
                continue
            for kept, pattern in step.get("keep", {}).items():
                found = re.search(pattern, answer.stdout)
                self._kept[kept] = found[1] if found else ""
            yield Outcome(name, step, self._values, answer)

    def _take(self, step: dict[str, Any]) -> tuple[str, Answer | None]:
        """Return what the step is, and its answer if it has one to be compared."""
        match step:
            case {"run": list(words)}:
                arguments = [self._argument(word) for word in words]
                return f"dbx {' '.join(arguments)}"[:NAME_LENGTH], self._run(arguments, step)
            case {"read": str(path)}:
                return f"content of {path}", self._read(self._path(path))
            case {"write": str(path), "text": str(text)}:
                self._path(path).parent.mkdir(parents=True, exist_ok=True)
                self._path(path).write_text(self._filled(text), encoding="utf-8")
            case {"edit": str(path), "pattern": str(pattern), "text": str(text)}:
                old = self._path(path).read_text(encoding="utf-8")
                new, changes = re.subn(pattern, self._filled(text), old, flags=re.MULTILINE)
                if changes != 1:
                    raise AssertionError(f"{changes} places match {pattern} in {path}")
                self._path(path).write_text(new, encoding="utf-8")
            case {"remove": str(path)}:
                shutil.rmtree(self._path(path))
            case {"listen": "http", "on": str(port), "status": int(status)}:
                self._targets.append(HttpSink(int(self._values[port]), status=status))
            case {"listen": "tcp", "on": str(port)}:
                self._targets.append(LineSink(int(self._values[port])))
            case {"ports": True}:
                self._use_free_ports()
            case {"foreground": list(words)}:
                self._begin([self._argument(word) for word in words])
            case {"signal": str(name)}:
                return f"end by {name}", self._end(signal.Signals[name])
            case _:
                raise AssertionError(f"no such step: {step}")
        return "", None

    def _filled(self, text: str) -> str:
        values = {**self._values, **self._kept}
        return re.sub(r"\{([A-Z][A-Z0-9_]*)\}", lambda found: values[found[1]], text)

    def _argument(self, word: str | dict[str, Any]) -> str:
        if isinstance(word, dict):
            return str(word["text"] + word["repeat"] * word["times"] + word["end"])
        return self._filled(word)

    def _path(self, text: str) -> Path:
        return self._work / self._filled(text)

    def _environment(self, step: dict[str, Any]) -> dict[str, str]:
        environment = {
            "HOME": str(self._home),
            "USER": "kim",
            "LANG": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath),
            "DBX_NO_UPGRADE_CHECK": "1",
            "PYTHONPATH": str(ROOT),
        }
        changes = {**self._scenario.get("environment", {}), **step.get("environment", {})}
        for name, value in changes.items():
            environment[name] = self._filled(value)
        return environment

    def _run(self, arguments: list[str], step: dict[str, Any]) -> Answer:
        """Run one command: in a new interpreter where a server takes part, else forked."""
        stdin, stdout, stderr = self._streams
        stdin.write_text(self._filled(step.get("stdin", "")), encoding="utf-8")
        stdout.write_bytes(b"")
        stderr.write_bytes(b"")
        environment = self._environment(step)
        if self._scenario.get("server"):
            with stdin.open("rb") as given, stdout.open("wb") as out, stderr.open("wb") as err:
                status = subprocess.run(
                    [*CHECKOUT_DBX, *arguments],
                    cwd=self._work,
                    env=environment,
                    stdin=given,
                    stdout=out,
                    stderr=err,
                    timeout=COMMAND_TIMEOUT_S,
                    check=False,
                ).returncode
        else:
            status = forks().run(
                arguments, folder=self._work, environment=environment, streams=self._streams
            )
        return Answer(status, stdout.read_text("utf-8"), stderr.read_text("utf-8"))

    def _read(self, path: Path) -> Answer:
        if not path.exists():
            return Answer(1, "", "no such file\n")
        return Answer(0, path.read_text(encoding="utf-8"), "")

    def _use_free_ports(self) -> None:
        """Put free ports into the configuration, as a user edits it."""
        bind = f"127.0.0.1:{self._values['SOCKET_PORT']}"
        answer = self._run(["config", "--port", self._values["HTTP_PORT"], "--bind-addr", bind], {})
        if answer.exit:
            raise AssertionError(answer.stderr)

    def _begin(self, arguments: list[str]) -> None:
        """Start a server in the foreground and wait until it answers."""
        self._foreground = subprocess.Popen(
            [*CHECKOUT_DBX, *arguments],
            cwd=self._work,
            env=self._environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        address = ("127.0.0.1", int(self._values["SOCKET_PORT"]))
        for _attempt in range(int(START_TIMEOUT_S / POLL_S)):
            try:
                socket.create_connection(address, timeout=1).close()
                return
            except OSError:
                pass
            try:
                status = self._foreground.wait(POLL_S)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the server ended with {status}")
        raise AssertionError("the server does not listen")

    def _end(self, number: signal.Signals) -> Answer:
        server, self._foreground = self._foreground, None
        assert server is not None
        server.send_signal(number)
        out, err = server.communicate(timeout=COMMAND_TIMEOUT_S)
        return Answer(server.returncode, out.decode(), err.decode())

"""The client process: takes one job a line on stdin, does it, answers one line on stdout.

Each database has client processes of its own, so that no client pays for another's threads or
memory. What a job does is in the module of its database.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from bench.daemon import ROOT
from bench.measure import Outcome

Work = Callable[[dict[str, Any]], Outcome]


def postgres_work(settings: dict[str, Any]) -> Work:
    """Return what does jobs on PostgreSQL."""
    from bench import postgres_pipeline, postgres_threads

    def work(job: dict[str, Any]) -> Outcome:
        dsn = settings[job["transport"]]
        kind, mode, clients = job["work"], job["mode"], job["clients"]
        seconds, options = job["seconds"], job["options"]
        match job["how"]:
            case "waiting":
                return postgres_threads.one_client(dsn, kind, mode, seconds, options)
            case "threads":
                return postgres_threads.threads(dsn, kind, mode, clients, seconds, options)
            case "asyncio":
                return postgres_threads.asynchronous(dsn, kind, mode, clients, seconds, options)
            case "loop":
                return postgres_pipeline.looped(dsn, kind, mode, clients, seconds, options)
            case "pipeline":
                return postgres_pipeline.pipelined(dsn, 4, job["depth"], seconds, options)
        raise ValueError(f"no way to do {job['how']}")

    return work


def sqlite_work(settings: dict[str, Any]) -> Work:
    """Return what does jobs on SQLite."""
    from pathlib import Path

    from bench.embedded import Embedded

    database = Embedded(Path(settings["folder"]))

    def work(job: dict[str, Any]) -> Outcome:
        return database.run(job["work"], job["clients"], job["seconds"], job["options"])

    return work


def our_work(settings: dict[str, Any]) -> Work:
    """Return what does jobs on our daemon."""
    from bench.ours import Clients

    return Clients(settings["port"], settings["token"], plain=settings.get("plain", False)).work


def uma_work(settings: dict[str, Any]) -> Work:
    """Return what does jobs on UmaDB."""
    from bench import uma_threads

    def work(job: dict[str, Any]) -> Outcome:
        return uma_threads.threads(
            settings[job["transport"]], job["work"], job["clients"], job["seconds"],
            job["options"], shared=job["how"] == "shared", servers=job["servers"],
        )  # fmt: skip

    return work


TARGETS: dict[str, Callable[[dict[str, Any]], Work]] = {
    "postgres": postgres_work,
    "sqlite": sqlite_work,
    "ours": our_work,
    "uma": uma_work,
}


class ClientProcess:
    """The runner's end: start one client process and give it jobs."""

    def __init__(self, target: str, settings: dict[str, Any]) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.client", target, json.dumps(settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process number."""
        return self._process.pid

    def send(self, job: dict[str, Any]) -> None:
        """Hand over a job without waiting for it."""
        _written(self._process.stdin, json.dumps(job))

    def receive(self) -> Outcome:
        """Wait for the outcome of the job that was sent."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the client process ended"}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return Outcome(**answer)

    def close(self) -> None:
        """End the process; it ends by itself when its stdin closes."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _written(stream: IO[str] | None, line: str) -> None:
    assert stream is not None
    stream.write(line + "\n")
    stream.flush()


def main() -> None:
    """Do the jobs of stdin until it ends."""
    work = TARGETS[sys.argv[1]](json.loads(sys.argv[2]))
    for line in sys.stdin:
        try:
            answer = work(json.loads(line)).document()
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        _written(sys.stdout, json.dumps(answer))
    if threading.active_count() > 1:
        # A reactor thread may still run; there is nothing left to save.
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()

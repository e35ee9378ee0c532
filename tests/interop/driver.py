"""Runs the published Python client in an environment of its own, steered over stdin and stdout.

That client has our import name, so it cannot be imported beside us. Each input line is a JSON
object ``{"call": name, "with": {arguments}}``; each output line ``{"ok": result}`` or
``{"error": [exception class, code, message]}``. The call ``open`` makes a new client, ``public``
lists its public names, ``at_once`` makes several calls in threads; every other name is an
attribute of the client that was opened last. What the answers must be is in the tests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import sys
import threading
from typing import Any


def plain(result: Any) -> Any:
    """Return a result as something that JSON can carry."""
    return dataclasses.asdict(result) if dataclasses.is_dataclass(result) else result  # type: ignore[arg-type]


def attempt(client: Any, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what a method answered or raised, or the value of a property."""
    try:
        attribute = getattr(client, name)
        return {"ok": plain(attribute(**arguments) if callable(attribute) else attribute)}
    except Exception as error:
        message = getattr(error, "message", str(error))
        return {"error": [type(error).__name__, getattr(error, "code", ""), message]}


def at_once(client: Any, calls: list[Any], rounds: int, locked: bool) -> list[Any]:
    """Make each call in a thread of its own, so many times; return the answers of each thread.

    The client has no lock of its own; with ``locked`` the threads take turns.
    """
    turn = threading.Lock() if locked else contextlib.nullcontext()
    start = threading.Barrier(len(calls))
    answers: list[Any] = [[] for _call in calls]

    def run(number: int) -> None:
        name, arguments = calls[number]
        start.wait()
        for _round in range(rounds):
            with turn:
                answers[number].append(attempt(client, name, arguments))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class Driven:
    """The published client as it was opened last."""

    def __init__(self) -> None:
        self._published: Any = importlib.import_module("eventdbx")
        self._client: Any = None

    def open(self, **arguments: Any) -> str:
        """Open a client in place of the one before; return the version of the package."""
        if self._client is not None:
            self._client.close()
        self._client = self._published.EventDBXClient(**arguments)
        version: str = self._published.__version__
        return version

    def public(self) -> list[str]:
        """Return the public names of the client."""
        return [name for name in dir(self._published.EventDBXClient) if not name.startswith("_")]

    def answer(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Do what one line asks for."""
        if isinstance(arguments.get("sort"), list):
            arguments["sort"] = [
                self._published.AggregateSortOption(
                    self._published.AggregateSortField(field), descending
                )
                for field, descending in arguments["sort"]
            ]
        if name in ("open", "public"):
            return attempt(self, name, arguments)
        if name == "at_once":
            return {"ok": at_once(self._client, **arguments)}
        return attempt(self._client, name, arguments)


def main() -> None:
    """Answer calls until the input ends."""
    driven = Driven()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(driven.answer(request["call"], request["with"])), flush=True)


if __name__ == "__main__":
    main()

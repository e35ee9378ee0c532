"""Runs the published Python client in an environment of its own, steered over stdin and stdout.

That client has our import name, so it cannot be imported beside us. Each input line is a JSON
object ``{"call": name, "with": {arguments}}``; each output line ``{"ok": result}`` or
``{"error": [exception class, code, message]}``. The call ``open`` makes a new client, every other
name is a method of the client that was opened last. What the answers must be is in
test_official_client.py.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from typing import Any


def plain(result: Any) -> Any:
    """Return a result as something that JSON can carry."""
    return dataclasses.asdict(result) if dataclasses.is_dataclass(result) else result  # type: ignore[arg-type]


def main() -> None:
    """Answer calls until the input ends."""
    published: Any = importlib.import_module("eventdbx")
    client: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        arguments = request["with"]
        if isinstance(arguments.get("sort"), list):
            arguments["sort"] = [
                published.AggregateSortOption(published.AggregateSortField(field), descending)
                for field, descending in arguments["sort"]
            ]
        answer: dict[str, Any]
        try:
            if request["call"] == "open":
                if client is not None:
                    client.close()
                client = published.EventDBXClient(**arguments)
                answer = {"ok": published.__version__}
            else:
                answer = {"ok": plain(getattr(client, request["call"])(**arguments))}
        except Exception as error:
            message = getattr(error, "message", str(error))
            answer = {"error": [type(error).__name__, getattr(error, "code", ""), message]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

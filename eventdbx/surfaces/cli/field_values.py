"""The payload that ``--field`` options come to: texts, JSON values, objects within objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.values import Pair, indirect, json_value

_PARTS = re.compile(r"(?<!\\)\.")


def payload_of(fields: Sequence[Pair]) -> dict[str, Any]:
    """Return the payload. Raises Failure for what is no JSON, or has no place.

    A dot in a key leads into an object (``\\.`` is a dot of the name itself); the value of
    ``KEY:=JSON`` may be in a file, ``KEY:=@FILE``, or on stdin, ``KEY:=-``. Of two values for one
    key the last counts.
    """
    payload: dict[str, Any] = {}
    for key, text, typed in fields:
        value: Any = text
        if typed:
            value = json_value(indirect(text, "--field"), "--field", f"value of '{key}'")
        _put(payload, key, value)
    return payload


def _put(payload: dict[str, Any], key: str, value: Any) -> None:
    *ways, last = [part.replace("\\.", ".") for part in _PARTS.split(key)]
    if not all((*ways, last)):
        raise Failure(f"field '{key}' has an empty name in it", code="invalid_schema")
    inside = payload
    for place, name in enumerate(ways):
        found = inside.setdefault(name, {})
        if not isinstance(found, dict):
            before = ".".join(ways[: place + 1])
            raise Failure(
                f"field '{key}' cannot be inside '{before}', which has a value",
                hint="a dot in a name of a field itself is written \\.",
                code="invalid_schema",
            )
        inside = found
    inside[last] = value

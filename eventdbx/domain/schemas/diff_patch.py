"""The difference of two JSON values as a JSON Patch (RFC 6902).

The order is fixed, so that equal differences give equal texts: the keys of the new side ascending
(added, or looked into), then the keys that are gone; arrays by index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eventdbx.domain.canonical import JSON, dump


def patch(old: JSON, new: JSON) -> list[dict[str, JSON]]:
    """Return the operations that make ``new`` of ``old``: add, remove and replace only.

    What the two have in common is not repeated; their number is what people call the size of a
    difference. Numbers are told apart by their text, so 1 is not 1.0, nor true.
    """
    return list(_operations(old, new, ""))


def _operations(old: JSON, new: JSON, path: str) -> Iterator[dict[str, JSON]]:
    if type(old) is dict and type(new) is dict:
        yield from _in_objects(old, new, path)
    elif type(old) is list and type(new) is list:
        yield from _in_arrays(old, new, path)
    elif not alike(old, new):
        yield {"op": "replace", "path": path, "value": new}


def _in_objects(old: dict[str, JSON], new: dict[str, JSON], path: str) -> Iterator[dict[str, JSON]]:
    for key in sorted(new):
        place = f"{path}/{escaped(key)}"
        if key in old:
            yield from _operations(old[key], new[key], place)
        else:
            yield {"op": "add", "path": place, "value": new[key]}
    for key in sorted(old):
        if key not in new:
            yield {"op": "remove", "path": f"{path}/{escaped(key)}"}


def _in_arrays(old: list[JSON], new: list[JSON], path: str) -> Iterator[dict[str, JSON]]:
    both = min(len(old), len(new))
    for index in range(both):
        yield from _operations(old[index], new[index], f"{path}/{index}")
    for _gone in old[both:]:
        # Each removal moves the next surplus element to the same place.
        yield {"op": "remove", "path": f"{path}/{both}"}
    for index in range(both, len(new)):
        yield {"op": "add", "path": f"{path}/{index}", "value": new[index]}


def escaped(key: str) -> str:
    """Return a key as a part of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def alike(one: Any, other: Any) -> bool:
    """Say whether two JSON values have the same canonical text."""
    return one is other or dump(one) == dump(other)

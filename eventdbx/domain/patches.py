"""JSON Patch events (RFC 6902): from operations on the state to a payload.

The operations are carried out by the ``jsonpatch`` library; here is decided which ones an event
may hold, and what payload they come to: the whole new value of every touched top-level key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jsonpatch
import jsonpointer
import orjson

from eventdbx import limits
from eventdbx.domain.canonical import JSON, deeper_than
from eventdbx.errors import InvalidSchema

_OPERATIONS = frozenset(("add", "replace", "remove"))
_NOT_AN_ARRAY = {
    "cli": "patch must be provided as a JSON array",
    "socket": "patch_json must be an array of operations",
}
# What the library raises for paths that lead nowhere, through texts and numbers among them.
_BAD_PATH = (
    jsonpatch.JsonPatchException,
    jsonpointer.JsonPointerException,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
)


class _Operation(NamedTuple):
    key: str
    path: str
    entry: dict[str, JSON]


def apply_patch(
    state: Mapping[str, JSON], patch: JSON, *, surface: Literal["socket", "cli"] = "socket"
) -> dict[str, JSON]:
    """Return the payload that a patch of this state comes to; neither of the two is changed.

    Raises InvalidSchema, with the texts of the control protocol, for operations other than add,
    replace and remove, for paths that do not exist, for the removal of a top-level key, and for
    results that nest deeper than a client may send.
    """
    if type(patch) is not list:
        raise InvalidSchema(_NOT_AN_ARRAY[surface])
    operations = [_checked(entry) for entry in patch]
    if not operations:
        raise InvalidSchema("patch must modify at least one path")
    if any(one.entry["op"] != "remove" and "value" not in one.entry for one in operations):
        raise InvalidSchema("failed to parse patch: missing field `value`")
    touched = dict.fromkeys(one.key for one in operations)
    # No operation reaches beyond its top-level key, so only these are copied.
    document: Any = {key: _copy(state[key]) for key in touched if key in state}
    for number, (_, path, entry) in enumerate(operations):
        try:
            document = jsonpatch.JsonPatch([entry]).apply(document, in_place=True)
        except _BAD_PATH:
            raise InvalidSchema(
                f"failed to apply patch: Operation '/{number}' failed at path "
                f"'{path}': path is invalid"
            ) from None
    for key in touched:
        if key not in document:
            raise InvalidSchema(f"patch removed key '{key}' and removals are not supported")
    # Values put into one another patch by patch would grow deeper than any input may be.
    if deeper_than(document, limits.JSON_DEPTH_MAX):
        raise InvalidSchema("failed to apply patch: recursion limit exceeded")
    return {key: document[key] for key in touched}


def _copy(value: JSON) -> Any:
    return orjson.loads(orjson.dumps(value)) if type(value) in (list, dict) else value


def _checked(entry: JSON) -> _Operation:
    """Return an operation with the state key that it touches, or raise what is wrong with it."""
    if not isinstance(entry, dict) or not isinstance(op := entry.get("op"), str):
        raise InvalidSchema("patch entry is missing 'op'")
    if op not in _OPERATIONS:
        raise InvalidSchema(f"unsupported patch operation '{op}'")
    path = entry.get("path")
    if not isinstance(path, str):
        raise InvalidSchema("patch entry is missing 'path'")
    if not path.startswith("/"):
        raise InvalidSchema(f"patch path '{path}' must start with '/'")
    if path == "/":
        raise InvalidSchema("patch operations targeting the document root are not supported")
    key = path[1:].split("/", 1)[0].replace("~1", "/").replace("~0", "~")
    own: dict[str, JSON] = {"op": op, "path": path}
    if "value" in entry:
        own["value"] = _copy(entry["value"])
    return _Operation(key, path, own)

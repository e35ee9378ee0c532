"""JSON Patch events (RFC 6902): from operations on the state to a payload.

The operations are carried out by the ``jsonpatch`` library; here is decided which ones an event
may hold, and what payload they come to: the whole new value of every touched top-level key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jsonpatch
import jsonpointer

from eventdbx.domain.canonical import JSON
from eventdbx.errors import InvalidSchema

_OPERATIONS = ("add", "replace", "remove")
_NOT_AN_ARRAY = {
    "cli": "patch must be provided as a JSON array",
    "socket": "patch_json must be an array of operations",
}


def apply_patch(
    state: Mapping[str, JSON], patch: JSON, *, surface: Literal["socket", "cli"] = "socket"
) -> dict[str, JSON]:
    """Return the payload that a patch of this state comes to; the state stays as it is.

    Raises InvalidSchema, with the texts of the control protocol, for operations other than add,
    replace and remove, for paths that do not exist, and for the removal of a top-level key.
    """
    if not isinstance(patch, list):
        raise InvalidSchema(_NOT_AN_ARRAY[surface])
    touched = [_top_level_key(entry) for entry in patch]
    if not touched:
        raise InvalidSchema("patch must modify at least one path")
    for entry in patch:
        assert isinstance(entry, dict)
        if entry["op"] != "remove" and "value" not in entry:
            raise InvalidSchema("failed to parse patch: missing field `value`")
    document: Any = dict(state)
    for number, entry in enumerate(patch):
        assert isinstance(entry, dict)
        try:
            document = jsonpatch.JsonPatch([entry]).apply(document)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError):
            raise InvalidSchema(
                f"failed to apply patch: Operation '/{number}' failed at path "
                f"'{entry['path']}': path is invalid"
            ) from None
    payload: dict[str, JSON] = {}
    for key in touched:
        if key not in document:
            raise InvalidSchema(f"patch removed key '{key}' and removals are not supported")
        payload[key] = document[key]
    return payload


def _top_level_key(entry: JSON) -> str:
    """Return the state key that an operation touches, or raise what is wrong with it."""
    if not isinstance(entry, dict) or "op" not in entry:
        raise InvalidSchema("patch entry is missing 'op'")
    if entry["op"] not in _OPERATIONS:
        raise InvalidSchema(f"unsupported patch operation '{entry['op']}'")
    path = entry.get("path")
    if not isinstance(path, str):
        raise InvalidSchema("patch entry is missing 'path'")
    if not path.startswith("/"):
        raise InvalidSchema(f"patch path '{path}' must start with '/'")
    if path == "/":
        raise InvalidSchema("patch operations targeting the document root are not supported")
    return path[1:].split("/", 1)[0].replace("~1", "/").replace("~0", "~")

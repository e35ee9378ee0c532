"""Versions as ``dbx upgrade`` takes and shows them, and what it remembers between calls."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from eventdbx.errors import IoError
from eventdbx.services.files import locked_directory, make_directory, read_text, replace_text
from eventdbx.surfaces.cli.failures import Failure

PACKAGE = "eventdbx"
OLDEST = (1, 13, 2)
"""Below this, earlier releases refuse, too: their files are not ours to read."""

STATE_NAME = "upgrade-state.json"

_PARTS = ("major", "minor", "patch")
_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*)(.*)", re.IGNORECASE | re.DOTALL)
_FINAL = re.compile(r"(?:\.?post\d+|\+.*)?", re.IGNORECASE | re.DOTALL)


def checked_tag(text: str) -> str:
    """Return a concrete version as a tag, ``v1.2.3``. Raises Failure for what is none.

    Versions too old to go to are refused as well.
    """
    tag = "v" + text.strip().removeprefix("v")
    numbers, rest = [], tag[1:]
    for place, part in enumerate(_PARTS):
        digits = re.match(r"\d*", rest, re.ASCII)
        assert digits is not None
        if not digits[0]:
            raise Failure(f"invalid version tag '{tag}'", _why_not(rest, part))
        numbers.append(int(digits[0]))
        rest = rest[digits.end() :]
        if place < len(_PARTS) - 1:
            if not rest.startswith("."):
                raise Failure(f"invalid version tag '{tag}'", _why_not(rest, part))
            rest = rest[1:]
    if rest and not re.fullmatch(r"[-+.]?[0-9A-Za-z][0-9A-Za-z.+-]*", rest):
        raise Failure(f"invalid version tag '{tag}'", _why_not(rest, "patch"))
    if tuple(numbers) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise Failure(
            f"upgrading to '{tag}' is not supported; minimum supported version is v{oldest}"
        )
    return tag


def _why_not(rest: str, part: str) -> str:
    if not rest:
        return f"unexpected end of input while parsing {part} version number"
    return f"unexpected character '{rest[0]}' while parsing {part} version number"


def order_of(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Return what versions are compared by; one before a release comes before it."""
    found = _RELEASE.fullmatch(version.strip())
    if found is None:
        return (), False, version
    numbers = [int(one) for one in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), _FINAL.fullmatch(found[2]) is not None, found[2]


def is_prerelease(version: str) -> bool:
    """Say whether a version comes before a release."""
    return not order_of(version)[1]


class UpgradeState:
    """``upgrade-state.json`` beside the default configuration."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STATE_NAME

    def read(self) -> dict[str, Any]:
        """Return what is remembered; a file that is broken counts as none."""
        try:
            found = json.loads(read_text(self._path) or "{}")
        except (ValueError, IoError):
            return {}
        return found if isinstance(found, dict) else {}

    def change(self, **values: Any) -> None:
        """Put values in, or take them out where they are None. Raises IoError."""
        make_directory(self._path.parent)
        with locked_directory(self._path.parent):
            known = {**self.read(), **values}
            kept = {key: value for key, value in known.items() if value is not None}
            replace_text(self._path, json.dumps(kept, indent=2) + "\n")

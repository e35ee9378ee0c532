"""What a delivery object gets from the server around it, and what it never gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_SECRET_VARIABLE = re.compile(
    r"EVENTDBX_(?!SEND_TOKEN\Z)(?:DEK|AUTH_.*|.*(?:KEY|KEYS|TOKEN))(?:_FILE)?\Z"
)
_SECRET_FILES = ("cli.token", "config.toml", "tokens.json", "jwt_revocations.json")


def is_secret_variable(name: str) -> bool:
    """Tell whether a variable may hold a secret of the server itself."""
    return _SECRET_VARIABLE.match(name) is not None


def is_secret_file(path: Path, data_root: Path) -> bool:
    """Tell whether a file that is there holds secrets of the server, whatever way leads to it."""
    found = path.resolve()
    if found.name in _SECRET_FILES or found.parts[1:2] == ("proc",):
        return True
    own = (data_root / name for name in _SECRET_FILES)
    return any(one.exists() and one.samefile(found) for one in own)


class Installation(NamedTuple):
    """A process plugin's program, checked against its recorded SHA-256."""

    name: str
    version: str
    target: str
    binary: Path
    directory: Path


class Surroundings(NamedTuple):
    """Where a delivery works.

    ``environ`` is the server's environment, ``log_dir`` holds ``plugins/<id>.log``, ``run_dir`` pid
    files. ``installation`` finds a program by name and version; it raises an EventDBXError.
    """

    reactor: Any
    domain: str
    data_root: Path
    run_dir: Path
    log_dir: Path
    control_address: str
    environ: Mapping[str, str]
    installation: Callable[[str, str], Installation]

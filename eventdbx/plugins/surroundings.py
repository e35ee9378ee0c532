"""What a delivery object gets from the server around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


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

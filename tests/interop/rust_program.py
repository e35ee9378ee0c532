"""Builds the program in ``tests/interop/rust``, which uses the published Rust client.

It needs cargo and the Cap'n Proto compiler; which of them is missing, and where it comes from, is
said here. What the program does is in its own sources.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = Path(__file__).resolve().parent / "rust"
TARGET = ROOT / "build" / "interop" / "rust"
CRATE = "eventdbx-client"

TOOLS = {
    "cargo": "the Rust toolchain: https://rustup.rs, or `apt-get install cargo` where it is"
    " 1.85 or newer",
    "capnp": "the Cap'n Proto compiler: `apt-get install capnproto`",
}


class ToolMissing(Exception):
    """A program that the build needs is not there; the text says how to get it."""


def require_tools() -> None:
    """Raise ToolMissing, naming each program that is not installed and where to get it."""
    missing = [f"  {name}: {source}" for name, source in TOOLS.items() if not shutil.which(name)]
    if missing:
        lines = "\n".join(missing)
        raise ToolMissing(f"the Rust client cannot be built without\n{lines}")


def _cargo(*arguments: str) -> str:
    done = subprocess.run(
        ["cargo", *arguments],
        cwd=SOURCES,
        env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def build(*, release: bool = False) -> Path:
    """Build the program into ``build/interop/rust`` and return its path.

    Versions are those of Cargo.lock. Raises ToolMissing, or CalledProcessError when cargo fails;
    cargo has then said why.
    """
    require_tools()
    _cargo("build", "--quiet", "--locked", *(["--release"] if release else []))
    return TARGET / ("release" if release else "debug") / "interop"


def client_sources() -> Path:
    """Return the folder that holds the published client's sources, as cargo has fetched them."""
    found = json.loads(_cargo("metadata", "--locked", "--format-version", "1"))
    manifest = next(each for each in found["packages"] if each["name"] == CRATE)["manifest_path"]
    return Path(manifest).parent / "src"

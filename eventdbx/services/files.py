"""Files that must never be half written or readable by strangers."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventdbx.errors import IoError

PRIVATE = 0o600


def read_text(path: Path) -> str | None:
    """Return the content, None without a file; raise IoError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IoError(f"{error.strerror} (os error {error.errno})\n  reading {path}") from None
    except UnicodeDecodeError:
        raise IoError(f"cannot read {path}: it is not UTF-8 text") from None


def replace_text(path: Path, text: str) -> None:
    """Put the text in place of the file in one step, readable by its owner alone.

    After a crash the file holds the old text or the new one. Raises IoError.
    """
    try:
        target = Path(os.path.realpath(path))  # A link to the file stays a link.
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as writing:
                writing.write(text)
                writing.flush()
                os.fchmod(writing.fileno(), PRIVATE)
                os.fsync(writing.fileno())
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
        sync_path(target.parent)
    except OSError as error:
        raise IoError(f"cannot write {path}: {error.strerror}") from None


def sweep_leftovers(path: Path) -> None:
    """Remove what writers of the file left behind when they were killed.

    Only for who holds the lock that all of its writers take.
    """
    target = Path(os.path.realpath(path))
    # As tempfile names them: an editor's swap file beside it is left alone.
    leftover = re.compile(re.escape(f".{target.name}.") + r"[a-z0-9_]{8}")
    for left in target.parent.iterdir():
        if leftover.fullmatch(left.name):
            with suppress(OSError):
                left.unlink()


def sync_path(path: Path) -> None:
    """Make a file, or the names in a directory, survive a power cut; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create the directory and its parents where missing; raise IoError.

    What is created belongs to its owner alone.
    """
    try:
        for missing in reversed([path, *path.parents]):
            if not missing.is_dir():
                missing.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise IoError(f"cannot create {path}: {error.strerror}") from None


@contextmanager
def locked_directory(path: Path) -> Iterator[None]:
    """Hold the directory against others who would change the same files; raise IoError.

    The lock is on the directory itself: it leaves no file behind and survives replacements.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise IoError(f"cannot open {path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

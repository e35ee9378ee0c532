"""Files of data keys as files: private, replaced in one step, overwritten when they are old.

What is in them is the business of :mod:`eventdbx.storage.keyslots`.
"""

from __future__ import annotations

import os

from eventdbx.errors import StorageError

NEW = ".new"
"""Ends the name of a file that is to take the place of another."""

_WIPED_AT_ONCE = 1 << 20


def new_file(path: str, header: bytes) -> int:
    """Return a new private file that begins with the header; what stood there is gone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.pwrite(descriptor, header, 0)
        os.fsync(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def discard_leftover(path: str) -> None:
    """Remove what a process left that was killed while it made or wrapped a file of keys.

    It may hold keys that are destroyed by now. Only for who holds the store's lock. Raises
    StorageError.
    """
    try:
        descriptor = os.open(path + NEW, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    except OSError as error:
        raise trouble(path + NEW, error) from error
    try:
        # Killed between the two names of a new file: they are one.
        if os.fstat(descriptor).st_nlink == 1:
            wipe(descriptor)
        os.unlink(path + NEW)
    except OSError as error:
        raise trouble(path + NEW, error) from error
    finally:
        os.close(descriptor)


def wipe(descriptor: int) -> None:
    """Write zeros over all of an open file. Raises OSError."""
    size = os.fstat(descriptor).st_size
    for place in range(0, size, _WIPED_AT_ONCE):
        write_at(descriptor, bytes(min(_WIPED_AT_ONCE, size - place)), place)
    os.fsync(descriptor)


def write_at(descriptor: int, data: bytes, place: int) -> None:
    """Write all of it; a full disk may take a part first."""
    while data:
        done = os.pwrite(descriptor, data, place)
        data, place = data[done:], place + done


def sync_folder(path: str) -> None:
    """Make the name of a file survive a power cut. Raises OSError."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def trouble(path: str, error: OSError) -> StorageError:
    """Return what an error with a file of keys is for who uses it."""
    advice = ""
    if isinstance(error, PermissionError):
        advice = "; give the file to the user that runs this, with mode 0600"
    return StorageError(f"cannot use the data keys in {path}: {error.strerror}{advice}")

"""A directory put in the place of another in one step: after a crash it is the old one or the new.

Linux exchanges two names at once. Where that cannot be done (an old kernel, some network file
systems) the old directory is moved aside first, and a crash between the two steps is mended by the
next :func:`mend`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from eventdbx.services.files import sync_path

STAGED, REPLACED, REMOVED = "restoring", "replaced", "removing"
"""What is to come; what was moved aside and may be all there is; what was replaced for good."""

_AT_FDCWD = -100
_EXCHANGE = 2
_IMPOSSIBLE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def beside(target: Path, kind: str) -> Path:
    """Return a new name beside a directory, which :func:`leftovers` finds."""
    return target.with_name(f".{target.name}.{kind}-{secrets.token_hex(6)}")


def leftovers(target: Path, kind: str) -> list[Path]:
    """Return what killed processes left beside a directory."""
    return sorted(target.parent.glob(f".{_escaped(target.name)}.{kind}-*"))


def _escaped(name: str) -> str:
    return "".join(f"[{one}]" if one in "*?[" else one for one in name)


def exchanged(one: Path, other: Path) -> None:
    """Let two names change places. Raises OSError."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def put_in_place(
    new: Path, target: Path, *, exchange: Callable[[Path, Path], None] = exchanged
) -> Path | None:
    """Give ``new`` the name of ``target``; return where the old one is now. Raises OSError."""
    old: Path | None = None
    if not os.path.lexists(target):
        os.rename(new, target)
    else:
        old = beside(target, REMOVED)
        try:
            exchange(new, target)
            os.rename(new, old)
        except OSError as error:
            if error.errno not in _IMPOSSIBLE:
                raise
            aside = beside(target, REPLACED)
            os.rename(target, aside)
            try:
                os.rename(new, target)
            except BaseException:
                os.rename(aside, target)
                raise
            sync_path(target.parent)
            os.rename(aside, old)
    sync_path(target.parent)
    return old


def mend(target: Path) -> None:
    """Bring back a directory that a crash has left moved aside. Raises OSError."""
    if not os.path.lexists(target):
        for old in leftovers(target, REPLACED)[-1:]:
            os.rename(old, target)


def sweep(target: Path, *, whole: bool = False) -> None:
    """Remove what killed processes have left beside a directory that is in its place.

    ``whole`` says that it was just put there: then what was moved aside is needed no more, either.
    """
    if os.path.lexists(target):
        for kind in (STAGED, REMOVED, *((REPLACED,) if whole else ())):
            for left in leftovers(target, kind):
                shutil.rmtree(left, ignore_errors=True)

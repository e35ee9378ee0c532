"""A process that erases and is killed before the n-th thing that it does to the disk.

Arguments: the folder, ``sealed`` or ``plain``, ``aggregate`` or ``subject``, n. It prints ``done``
if there are not so many.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventdbx.application.erasing import Order
from eventdbx.services.stores import open_domain
from eventdbx.storage.hops import synchronous
from tests.erasure.places import config_of, now

_left = int(sys.argv[4])


def counted(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return the work, before which the process may be killed."""

    def carried_out(*given: Any, **named: Any) -> Any:
        global _left
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*given, **named)

    return carried_out


def main() -> None:
    """Erase, and say so."""
    folder, sealed, scope = Path(sys.argv[1]), sys.argv[2] == "sealed", sys.argv[3]
    domain = open_domain("default", folder / "store", config_of(sealed), hop=synchronous())
    sealing: Any = domain.store._backend
    rocks, slots = sealing.backend, sealing.seals.slots
    for name in ("write", "purge"):
        setattr(rocks, name, counted(getattr(rocks, name)))
    if slots is not None:
        slots.destroy = counted(slots.destroy)
    failures: list[Any] = []
    order = Order("asked for", None, now)
    if scope == "subject":
        erasing = domain.erasing.subject("anna", order)
    else:
        erasing = domain.erasing.aggregate("order", "o-1", order)
    erasing.addErrback(failures.append)
    print(failures or "done", flush=True)
    os._exit(0)


main()

"""A process that stages or commits, and is killed before or after its n-th work on the disk.

Arguments: the folder, ``sealed`` or ``plain``, ``stage`` or ``commit``, ``before``, ``after`` or
``never``, n. It prints ``done`` if it was not killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventdbx.application.authorising import allow_all
from eventdbx.application.staging import LOCAL
from eventdbx.domain.commands import Write
from eventdbx.services.stores import open_domain
from eventdbx.storage.hops import synchronous
from tests.erasure.places import config_of

_when = sys.argv[4]
_left = int(sys.argv[5])


def counted(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return the work, around which the process may be killed."""

    def carried_out(*given: Any, **named: Any) -> Any:
        global _left
        _left -= 1
        if not _left and _when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = work(*given, **named)
        if not _left and _when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return carried_out


def main() -> None:
    """Stage two events of one order and make sure of another, or commit; and say so."""
    folder, sealed, doing = Path(sys.argv[1]), sys.argv[2] == "sealed", sys.argv[3]
    domain = open_domain("default", folder / "store", config_of(sealed), hop=synchronous())
    sealing: Any = domain.store._backend
    for name in ("write", "sync"):
        setattr(sealing.backend, name, counted(getattr(sealing.backend, name)))
    failures: list[Any] = []
    given: Any = {"owner": LOCAL, "actor": None, "authorise": allow_all, "render": len}
    done: Any
    if doing == "stage":
        writes = [
            Write("apply", "order", "o-1", "changed", '{"n":1}'),
            Write("append", "order", "o-2", "changed", '{"n":1}'),
            Write("patch", "order", "o-1", "changed", '[{"op":"add","path":"/m","value":2}]'),
        ]
        done = domain.staging.stage(writes, **given)
    else:
        done = domain.staging.commit(**given)
    done.addErrback(failures.append)
    print(failures or "done", flush=True)
    os._exit(0)


main()

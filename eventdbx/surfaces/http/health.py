"""Whether the server can do its work: one answer for people, with the reason of each failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from twisted.logger import Logger

Check = Callable[[], "str | None"]
"""Returns why something is not as it should be, None when it is. Quick, on the reactor's thread."""

log = Logger()


class Degraded(str):
    """The reason of a check that somebody must look at, and with which the server does its work."""

    __slots__ = ()


class Readiness(NamedTuple):
    """What the checks found: ``ok`` or a reason for each."""

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """True when every check is fine, or fine enough to serve."""
        return all(found == "ok" or type(found) is Degraded for found in self.checks.values())

    def document(self) -> dict[str, object]:
        """Return what ``/health/ready`` answers."""
        fine = all(found == "ok" for found in self.checks.values())
        status = "ok" if fine else "degraded" if self.ready else "unavailable"
        checks = {name: str(found) for name, found in self.checks.items()}
        return {"status": status, "checks": checks}


def readiness(checks: Mapping[str, Check]) -> Readiness:
    """Run the checks; one that breaks is not fine."""
    return Readiness({name: _outcome(name, check) for name, check in checks.items()})


def _outcome(name: str, check: Check) -> str:
    try:
        return check() or "ok"
    except Exception:
        log.failure("the check of {name} broke", name=name)
        return "the check itself failed, see the server's log"

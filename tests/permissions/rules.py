"""Who asks, what an operation needs, and what must come of it.

The expectation is worked out here from the declared needs, with the matching of the standard
library: nothing of the program's own judgement is used. Which operations there are, and what each
needs, is in the tables beside this module.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

On = Literal["aggregate", "items", "jobs", "all", "everything", ""]
"""What an operation is about: one aggregate; lists whose items are looked at one by one; the
same for jobs of the queue; all aggregates at once; every resource there is; nothing that tokens
name."""

YES, OWN = "yes", "own"
REFUSED = ("invalid_token", "token_expired", "unauthorized")
"""The error codes of a refusal; every other answer says that the operation was let in."""

HERE, AWAY = "here", "away"
"""Beginnings of the ids of aggregates of the type ``order``, with which the tokens tell them
apart."""


class Needs(NamedTuple):
    """What an operation asks of a token.

    ``actions`` are needed all; of ``any_of`` one is enough. ``actor``: the token must name who
    acts.
    """

    actions: tuple[str, ...] = ()
    on: On = ""
    actor: bool = False
    any_of: tuple[str, ...] = ()


class Holder(NamedTuple):
    """Who asks. ``ended`` is the code that the token itself is refused with, whatever is asked."""

    name: str
    about: str
    ended: str = ""
    actions: tuple[str, ...] = ("*.*",)
    resources: tuple[str, ...] = ("*",)
    tenants: tuple[str, ...] = ()
    user: str = "ann"

    @property
    def enters(self) -> bool:
        """Whether a session can be opened with the token, in the domain ``default``."""
        return not self.ended and not self.tenants


NOBODY = Holder("no token", "none at all", "invalid_token")
FORGED = Holder("wrong", "all rights, signed with another key", "invalid_token")
EXPIRED = Holder("expired", "all rights, until an hour ago", "token_expired")
REVOKED = Holder("revoked", "all rights, revoked", "invalid_token")
READER = Holder("read-only", "`*.read` on everything", actions=("*.read",))
ELSEWHERE = Holder(
    "other aggregate",
    "`aggregate.*` on another aggregate",
    actions=("aggregate.*",),
    resources=(f"aggregate:order:{AWAY}-*",),
)
SCOPED = Holder(
    "this aggregate",
    "`aggregate.*` on the aggregate asked for",
    actions=("aggregate.*",),
    resources=(f"aggregate:order:{HERE}-*",),
)
BROAD = Holder(
    "all, elsewhere",
    "`*.*` on another aggregate",
    resources=(f"aggregate:order:{AWAY}-*",),
)
STRANGER = Holder("other tenant", "all rights, for another tenant", tenants=("other",))
NAMELESS = Holder("no actor", "all rights, without a user", user="")
ROOT = Holder("wildcard", "`*.*` on `*`")

HOLDERS = (
    NOBODY, FORGED, EXPIRED, REVOKED, READER, ELSEWHERE, SCOPED, BROAD, STRANGER, NAMELESS, ROOT,
)  # fmt: skip


_RESOURCES = {
    "aggregate": f"aggregate:order:{HERE}-1",
    "all": "aggregate:?:?",
    "everything": "?",
}


def _covers(patterns: tuple[str, ...], wanted: str) -> bool:
    return any(pattern == "*.*" or fnmatchcase(wanted, pattern) for pattern in patterns)


def allowed(needs: Needs, holder: Holder) -> bool:
    """Whether the rights of a good token in its own tenant are enough."""
    if not all(_covers(holder.actions, action) for action in needs.actions):
        return False
    if needs.any_of and not any(_covers(holder.actions, action) for action in needs.any_of):
        return False
    resource = _RESOURCES.get(needs.on)
    if resource is not None and not _covers(holder.resources, resource):
        return False
    return bool(holder.user) or not needs.actor


def expected(needs: Needs, holder: Holder) -> str:
    """Return ``yes``, ``own`` for a list of what the holder may see, or the code of the refusal."""
    if holder.ended:
        return holder.ended
    if holder.tenants or not allowed(needs, holder):
        return "unauthorized"
    return OWN if needs.on in ("items", "jobs") and holder.resources != ("*",) else YES

"""Grants: what the holder of a verified token may do, and the matching of patterns.

How a token is signed, verified and cached is in :mod:`eventdbx.application.tokens`; which
operation asks for which action is decided by the surfaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from eventdbx import limits
from eventdbx.domain.events import Actor
from eventdbx.errors import Unauthorized

ROOT_ACTION = "*.*"
ROOT_RESOURCE = "*"

_EVERYTHING = frozenset(("*", "*.*"))


def aggregate_resource(aggregate_type: str, aggregate_id: str) -> str:
    """Return the resource that stands for one aggregate; its domain is no part of it."""
    return f"aggregate:{aggregate_type}:{aggregate_id}"


def matches(pattern: str, candidate: str) -> bool:
    """Tell whether the whole candidate fits the pattern.

    ``*`` is any run of characters, across ``.`` and ``:`` too, and ``?`` exactly one; there is no
    escape. ``*`` and ``*.*`` alone fit everything. A pattern that is too long fits nothing.
    """
    return pattern in _EVERYTHING or _compiled(pattern)(candidate)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Callable[[str], bool]:
    if len(pattern) > limits.PATTERN_CHARACTERS_MAX:
        return lambda candidate: False
    literal = pattern.rstrip("*")
    if "*" not in literal and "?" not in literal:
        # Nearly every pattern in use is a word, or a word and one star.
        return pattern.__eq__ if literal == pattern else _prefix(literal)
    return lambda candidate: _glob(pattern, candidate)


def _prefix(literal: str) -> Callable[[str], bool]:
    return lambda candidate: candidate.startswith(literal)


def _glob(pattern: str, candidate: str, closed: str = "") -> bool:
    """Match with one place to go back to: never worse than the product of the two lengths.

    ``closed`` is a letter that ``?`` does not stand for.

    When a later star is reached, earlier ones need never be tried again; so a hostile pattern
    such as ``*a*a*a*a*b`` costs no more than others, which a regular expression cannot promise.
    """
    at = place = 0
    star = -1
    resume = 0
    while place < len(candidate):
        letter = pattern[at] if at < len(pattern) else ""
        if letter == "*":
            star, resume = at, place
            at += 1
        elif letter == candidate[place] or (letter == "?" and candidate[place] != closed):
            at += 1
            place += 1
        elif star >= 0:
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def covers(patterns: Iterable[str], pattern: str) -> bool:
    """Tell whether one of the patterns matches whatever this pattern matches.

    Never says yes wrongly. It may say no where only several patterns together cover one, or
    where a ``?`` would have to stand for a letter of a later word.
    """
    inner = "*" if pattern in _EVERYTHING else _ordered(pattern)
    for wide in patterns:
        if wide in _EVERYTHING:
            return True
        if len(wide) <= limits.PATTERN_CHARACTERS_MAX and _glob(_ordered(wide), inner, closed="*"):
            return True
    return False


_WILD = re.compile(r"[*?]*\*[*?]*", re.ASCII)


def _ordered(pattern: str) -> str:
    """Write a run of wildcards in one way: its ``?`` first, then one star."""
    return _WILD.sub(lambda run: "?" * run[0].count("?") + "*", pattern)


def _any_match(patterns: Iterable[str], candidate: str) -> bool:
    for pattern in patterns:  # Asked for every request; a generator would double the price.
        if pattern in _EVERYTHING or _compiled(pattern)(candidate):
            return True
    return False


class Grant(NamedTuple):
    """What a verified token says. Times are whole seconds since the Unix epoch.

    ``tenants`` empty means any; ``resources`` empty means every resource; ``actions`` empty
    means nothing. ``write_limit`` is a number of successful writes, None for no limit;
    ``keep_alive`` is carried and has no effect.
    """

    jti: str
    subject: str
    group: str = ""
    user: str = ""
    actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    issued_at: int = 0
    expires_at: int | None = None
    not_before: int | None = None
    issued_by: str = ""
    write_limit: int | None = None
    keep_alive: bool = False

    def allows(self, action: str, resource: str | None = None) -> bool:
        """Tell whether a pattern covers the action and, if one is asked for, the resource."""
        actions = self.actions
        if not ("*.*" in actions or "*" in actions or _any_match(actions, action)):
            return False
        resources = self.resources
        if resource is None or not resources or "*" in resources:
            return True
        return _any_match(resources, resource)

    @property
    def sees_everything(self) -> bool:
        """True if no resource is closed to the token, so that lists need no look at each item."""
        return not self.resources or not _EVERYTHING.isdisjoint(self.resources)

    def require(self, action: str, resource: str | None = None) -> None:
        """Raise Unauthorized unless :meth:`allows` says yes."""
        if not self.allows(action, resource):
            raise Unauthorized

    def allows_tenant(self, tenant: str) -> bool:
        """Tell whether the token may be used for a tenant; ASCII case does not matter."""
        if not self.tenants:
            return True
        wanted = tenant.encode().lower()
        return any(name.encode().lower() == wanted for name in self.tenants)

    @property
    def actor(self) -> Actor | None:
        """Who writes are recorded for; None if the token names nobody, and so may only read."""
        return Actor(self.group, self.user) if self.group and self.user else None

    def may_hand_on(
        self, actions: Iterable[str], resources: Iterable[str], tenants: Iterable[str]
    ) -> bool:
        """Tell whether all of this is covered by what the token allows itself.

        No resources are all of them, no tenants any.
        """
        if self.resources and not all(
            covers(self.resources, one) for one in tuple(resources) or (ROOT_RESOURCE,)
        ):
            return False
        named = tuple(tenants)
        if self.tenants and not (named and all(map(self.allows_tenant, named))):
            return False
        return all(covers(self.actions, one) for one in actions)

    def require_actor(self) -> Actor:
        """Return the actor; raise Unauthorized for a token that may only read."""
        actor = self.actor
        if actor is None:
            raise Unauthorized
        return actor

"""Publish targets: the plugins that one event is meant for, when its writer named some.

How a request names them is in ``domain.commands``; which names are good, ``application.plugins``
knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

from eventdbx.domain.commands import PublishTarget
from eventdbx.domain.delivery.entries import PayloadMode, Priority


class Target(NamedTuple):
    """One plugin, by its key, and how it gets this event: its own mode unless ``mode`` is given."""

    name: str
    mode: PayloadMode | None = None
    priority: Priority = "normal"


def targets_as_given(targets: Iterable[PublishTarget]) -> tuple[Target, ...]:
    """Return checked targets in the words of the configuration, the first of each name.

    Names are trimmed and compared without regard to ASCII case; modes and priorities are known to
    be good (:func:`eventdbx.application.drafting.check_publish_target`).
    """
    found: dict[str, Target] = {}
    for target in targets:
        name = target.plugin.strip()
        mode = None if target.mode is None else cast(PayloadMode, target.mode.lower())
        priority = cast(Priority, (target.priority or "normal").lower())
        found.setdefault(folded(name), Target(name, mode, priority))
    return tuple(found.values())


def folded(name: str) -> str:
    """Return what names are compared by: ASCII letters lower-cased, others as they are."""
    return "".join([one.lower() if one.isascii() else one for one in name])

"""The names that a plugin had, in its entry: its rows follow from there, in every domain.

A file may be shared by domains, each with rows of its own, and a server may die between the change
of the file and that of the rows. So the entry says under which names rows of it may still lie.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import PluginEntry

MEMBER = "formerly"
KEPT = 8


def with_former_name(extra: Mapping[str, JSON], name: str) -> dict[str, JSON]:
    """Return the further members of an entry that loses a name."""
    names: list[JSON] = [one for one in _names(extra) if one != name]
    return {**extra, MEMBER: [*names, name][-KEPT:]}


def former_names(entry: PluginEntry) -> list[str]:
    """Return the names that an entry had and has no more, the last one first."""
    return [one for one in reversed(_names(entry.extra)) if one != entry.key]


def _names(extra: Mapping[str, JSON]) -> list[str]:
    names = extra.get(MEMBER)
    return [one for one in names if type(one) is str] if type(names) is list else []

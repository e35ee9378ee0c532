"""Under which names the rows of plugins lie, while some of them are on their way to another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.former import former_names
from eventdbx.storage.outbox import Cursor


def places_of(
    entries: Sequence[PluginEntry], cursors: Mapping[str, Cursor], aside: Collection[str]
) -> dict[str, bool]:
    """Return the names that have rows, or have to get them now, and whether events are meant for
    the plugin that they belong to.

    A name that a plugin lost while its rows still lie there is that plugin's; another that has got
    the name meanwhile has no place until they are gone.
    """
    taken = {one.key for one in entries}
    lying = {one.key: former_place(one, taken, cursors, aside) for one in entries}
    left = set(lying.values())
    places = {one.key: one.emits for one in entries if one.key not in left}
    for one in entries:
        former = lying[one.key]
        if former is not None:
            places.pop(one.key, None)
            places[former] = one.emits
    return places


def former_place(
    entry: PluginEntry,
    taken: Collection[str],
    cursors: Mapping[str, Cursor],
    aside: Collection[str],
) -> str | None:
    """Return the former name under which the rows of a plugin lie still, None if under its own.

    A former name that another has ``taken`` is that one's, unless the rows are just being moved:
    then both names are ``aside``. An alias says that they were moved before.
    """
    known = cursors.get(entry.key)
    for former in former_names(entry):
        moving = former in aside and entry.key in aside
        if former in cursors and (moving or former not in taken):
            return former if known is None or former not in known.aliases else None
    return None

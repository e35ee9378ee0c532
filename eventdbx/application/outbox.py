"""The durable side of delivery: where each plugin of a domain stands, and what it holds back.

There is one outbox for a domain, whoever drains it. Events are never copied into it; a plugin costs
one row, and one more for each aggregate that waits for a retry or is dead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from eventdbx.errors import StorageError
from eventdbx.storage import keys, outbox, records
from eventdbx.storage.outbox import Cursor, Held
from eventdbx.storage.store import Store, Transaction

PARTITION = 0
SKIPS_MAX = 256
"""Times that a plugin may be switched off and on behind one cursor; beyond, the oldest such gap is
delivered after all, for that is the safe side."""

ALIASES_MAX = 16


class Outbox:
    """The rows of all plugins of one domain. ``cursors`` are as last put."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.cursors: dict[str, Cursor] = dict(outbox.cursors(store.view()))
        self.eras: Counter[str] = Counter()
        """Counts how often somebody put a plugin elsewhere, gave it up or renamed it."""

    def end(self) -> int:
        """Return the position behind the last durable event."""
        return records.decode_tail(self.store.view().get(keys.tail(PARTITION))).next_position

    def held(self, plugin: str) -> list[Held]:
        """Return the held rows of a plugin as of every step accepted so far, like ``cursors``.

        Raises StorageError.
        """
        found: list[list[Held]] = []
        failed: list[Failure] = []

        def step(transaction: Transaction) -> None:
            found.append(list(outbox.held_rows(transaction, plugin)))

        self.store.transact(step).addErrback(failed.append)
        if not found:
            raise StorageError(failed[0].getErrorMessage() if failed else "unreadable rows")
        return found[0]

    def align(self, emits: Mapping[str, bool]) -> Deferred[None]:
        """Give new plugins a cursor at the end, and note since when events are not meant for one;
        ``emits`` says for which they are.

        What is committed before this call is meant for the plugins as they were, what comes later
        for the plugins as they are.
        """

        def step(transaction: Transaction) -> None:
            end = records.decode_tail(transaction.get(keys.tail(PARTITION))).next_position
            for plugin, meant in emits.items():
                before = self.cursors.get(plugin)
                after = _aligned(before, meant, end)
                if after != before:
                    self._put(transaction, plugin, after)

        return self.store.transact(step)

    def put(
        self,
        plugin: str,
        cursor: Cursor,
        rows: Mapping[bytes, bytes | None],
        held_from: int | None = None,
        era: int | None = None,
    ) -> Deferred[None]:
        """Put a cursor, and with it rows that came or went, in one commit.

        The cursor's gaps and aliases are those of the outbox, whatever it says; a gap goes when
        neither the cursor nor what is held, from position ``held_from`` on, will meet it again.
        With an ``era`` that is over nothing is put: rows that were given up must not come back.
        """

        def step(transaction: Transaction) -> None:
            known = self.cursors.get(plugin)
            if known is None or (era is not None and era != self.eras[plugin]):
                return
            first = cursor.position if held_from is None else min(cursor.position, held_from)
            skips = tuple(gap for gap in known.skips if gap[1] is None or gap[1] > first)
            self._put(transaction, plugin, cursor._replace(skips=skips, aliases=known.aliases))
            for key, record in rows.items():
                if record is None:
                    transaction.delete(key)
                else:
                    transaction.put(key, record)

        return self.store.transact(step)

    def move(self, plugin: str, position: int) -> Deferred[None]:
        """Put a cursor elsewhere: gaps end, and what was held back is forgotten."""

        def step(transaction: Transaction) -> None:
            before = self.cursors.get(plugin)
            off = before is not None and before.skips and before.skips[-1][1] is None
            end = records.decode_tail(transaction.get(keys.tail(PARTITION))).next_position
            skips: tuple[tuple[int, int | None], ...] = ((end, None),) if off else ()
            aliases = () if before is None else before.aliases
            self.eras[plugin] += 1
            self._put(transaction, plugin, Cursor(min(position, end), skips, None, aliases))
            for one in list(outbox.held_rows(transaction, plugin)):
                transaction.delete(outbox.held_key(plugin, one))

        return self.store.transact(step)

    def stand_for(self, plugin: str, other: str) -> Deferred[None]:
        """Let a plugin get what is published to another, too."""

        def step(transaction: Transaction) -> None:
            cursor = self.cursors.get(plugin)
            if cursor is not None:
                aliases = tuple(sorted({*cursor.aliases, other} - {plugin}))[:ALIASES_MAX]
                self._put(transaction, plugin, cursor._replace(aliases=aliases))

        return self.store.transact(step)

    def drop(self, plugin: str) -> Deferred[None]:
        """Forget everything about a plugin."""

        def step(transaction: Transaction) -> None:
            self.eras[plugin] += 1
            self.cursors.pop(plugin, None)
            for family, rest, _record in list(outbox.rows_of(transaction, plugin)):
                transaction.delete(keys.of_plugin(family, plugin) + rest)

        return self.store.transact(step)

    def rename(self, plugin: str, to: str) -> Deferred[None]:
        """Move the rows of a plugin to another name, in place of those that are there.

        Nothing happens when there are none, or not any more.
        """

        def step(transaction: Transaction) -> None:
            if plugin not in self.cursors:
                return
            self.eras.update((plugin, to))
            moving = list(outbox.rows_of(transaction, plugin))
            for family, rest, _record in list(outbox.rows_of(transaction, to)):
                transaction.delete(keys.of_plugin(family, to) + rest)
            for family, rest, record in moving:
                transaction.delete(keys.of_plugin(family, plugin) + rest)
                transaction.put(keys.of_plugin(family, to) + rest, record)
            cursor = self.cursors.pop(plugin)
            aliases = tuple(sorted({*cursor.aliases, plugin} - {to}))[:ALIASES_MAX]
            self._put(transaction, to, cursor._replace(aliases=aliases))

        return self.store.transact(step)

    def _put(self, transaction: Transaction, plugin: str, cursor: Cursor) -> None:
        self.cursors[plugin] = cursor
        transaction.put(keys.of_plugin(keys.PLUGIN_CURSOR, plugin), outbox.encode_cursor(cursor))


def _aligned(cursor: Cursor | None, emits: bool, end: int) -> Cursor:
    if cursor is None:
        cursor = Cursor(end)
    skips = cursor.skips
    off = bool(skips) and skips[-1][1] is None
    if emits and off:
        start = skips[-1][0]
        closed = ((start, end),) if end > start else ()
        return cursor._replace(skips=(*skips[:-1], *closed)[-SKIPS_MAX:])
    if not emits and not off:
        return cursor._replace(skips=(*skips, (end, None)))
    return cursor

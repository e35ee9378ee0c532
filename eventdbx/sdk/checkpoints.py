"""Checkpoints: what was applied is noted where it was applied, in the same transaction.

Deliveries are at least once, so an event may come again: after a crash of the server or of the
plugin, after a lost answer, at a replay. With a checkpoint that is a no-op.
"""

from __future__ import annotations

import sqlite3
from typing import Literal

from eventdbx.sdk.events import Event, Unavailable


class SqliteCheckpoint:
    """A checkpoint in the SQLite database that holds the read model.

    ``by="aggregate"`` keeps the last version of each aggregate: one row for each, however long it
    lives. It relies on the order of its events, which the server keeps unless the plugin is
    configured with ``order`` none or ``on_dead`` continue. ``by="event"`` keeps the id of each
    event, one row for each, and relies on nothing.

    The connection is put into manual transactions: what a projection executes on it is committed
    together with the checkpoint, and never by the projection itself.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, by: Literal["aggregate", "event"] = "aggregate"
    ) -> None:
        self._connection = connection
        self._by_event = by == "event"
        connection.isolation_level = None
        if self._by_event:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS eventdbx_seen ("
                " domain TEXT NOT NULL, event TEXT NOT NULL,"
                " PRIMARY KEY (domain, event)) WITHOUT ROWID"
            )
        else:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS eventdbx_checkpoint ("
                " domain TEXT NOT NULL, aggregate_type TEXT NOT NULL, aggregate_id TEXT NOT NULL,"
                " version INTEGER NOT NULL, position TEXT NOT NULL,"
                " PRIMARY KEY (domain, aggregate_type, aggregate_id)) WITHOUT ROWID"
            )

    def begin(self) -> None:
        """Begin a transaction that can write; raises Unavailable."""
        self._run("BEGIN IMMEDIATE")

    def is_new(self, event: Event) -> bool:
        """Say whether the event was not yet applied."""
        if not event.version:
            return True  # A schema alone: it belongs to no aggregate.
        if self._by_event:
            found = self._connection.execute(
                "SELECT 1 FROM eventdbx_seen WHERE domain = ? AND event = ?",
                (event.domain, event.key),
            ).fetchone()
            return found is None
        found = self._connection.execute(
            "SELECT version FROM eventdbx_checkpoint"
            " WHERE domain = ? AND aggregate_type = ? AND aggregate_id = ?",
            (event.domain, event.aggregate_type, event.aggregate_id),
        ).fetchone()
        return found is None or found[0] < event.version

    def note(self, event: Event) -> None:
        """Note an event; an older one than is noted for its aggregate changes nothing."""
        if not event.version:
            return
        if self._by_event:
            self._connection.execute(
                "INSERT OR IGNORE INTO eventdbx_seen VALUES (?, ?)", (event.domain, event.key)
            )
            return
        self._connection.execute(
            "INSERT INTO eventdbx_checkpoint VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET version = excluded.version, position = excluded.position"
            " WHERE version < excluded.version",
            (
                event.domain,
                event.aggregate_type,
                event.aggregate_id,
                event.version,
                event.position,
            ),
        )

    def commit(self) -> None:
        """Make everything since ``begin`` durable; raises Unavailable."""
        if not self._connection.in_transaction:
            raise RuntimeError("the projection ended the transaction of its checkpoint by itself")
        self._run("COMMIT")

    def rollback(self) -> None:
        """Forget everything since ``begin``; SQLite may have done so by itself."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _run(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.OperationalError as error:
            # Locked, full, read-only: nothing that another event would change.
            raise Unavailable(f"SQLite: {error}") from error

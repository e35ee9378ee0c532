#!/usr/bin/env python3
"""Keeps a SQLite database in step with the store, for questions that an event store cannot answer.

Two tables, as a start for your own: ``aggregates`` has a row for each aggregate with its present
state, ``daily`` counts events by day and type. The first is safe to write again and again; the
second is right only because the checkpoint is committed together with it.

    dbx plugin install read-model 1.0.0 --source sqlite_read_model.py
    dbx plugin config process read-model --ack --batch 200 --max-in-flight 400 --from start \\
        --arg /var/lib/app/read-model.db

    sqlite3 /var/lib/app/read-model.db \\
        "SELECT id, state ->> 'status' FROM aggregates WHERE type = 'order'"

Try it without a server:

    dbx events --json | ./sqlite_read_model.py read-model.db --events - --dry-run
"""

from __future__ import annotations

import json
import sqlite3
import sys

from eventdbx.plugin import Event, SqliteCheckpoint, projection, run

TABLES = """
CREATE TABLE IF NOT EXISTS aggregates (
    domain TEXT NOT NULL,
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    archived INTEGER NOT NULL,
    state TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (domain, type, id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS daily (
    day TEXT NOT NULL,
    type TEXT NOT NULL,
    event TEXT NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (day, type, event)
) WITHOUT ROWID;
"""

if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
    sys.exit("give the path of the database as the first argument (--arg in dbx plugin config)")

# An absolute path, please: the folder of an installation goes when it is replaced.
database = sqlite3.connect(sys.argv[1])
# Readers do not wait for the writer, nor the writer for readers.
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = FULL")
database.executescript(TABLES)


@projection(checkpoint=SqliteCheckpoint(database))
def read_model(event: Event) -> None:
    """Put one event into the tables; it is committed with the checkpoint, or not at all."""
    if event.state is not None:
        database.execute(
            "INSERT INTO aggregates VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET version = excluded.version, archived = excluded.archived,"
            " state = excluded.state, updated_at = excluded.updated_at"
            " WHERE excluded.version >= version",
            (
                event.domain,
                event.aggregate_type,
                event.aggregate_id,
                event.version,
                event.archived,
                json.dumps(event.state),
                event.created_at.isoformat(),
            ),
        )
    if event.event_type:
        database.execute(
            "INSERT INTO daily VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET events = events + 1",
            (event.created_at.date().isoformat(), event.aggregate_type, event.event_type),
        )


if __name__ == "__main__":
    run(read_model)
    database.close()

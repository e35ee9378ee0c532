"""A private PostgreSQL cluster with the tables and functions of the comparison.

Default settings (so ``fsync`` and ``synchronous_commit`` are on) apart from where it listens.
How clients use it is in :mod:`bench.postgres_threads` and its neighbours.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from bench import workload
from bench.machine import free_port, proportional_bytes
from bench.sides import PeerMissing

DEBIAN = Path("/usr/lib/postgresql")
DATABASE = "postgres"
COMMAND_TIMEOUT_S = 120.0

TABLES = """
create table heads (
    aggregate_type text not null,
    aggregate_id   text not null,
    version        bigint not null,
    state          jsonb not null,
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    primary key (aggregate_type, aggregate_id)
);
create table events (
    event_id       bigint generated always as identity primary key,
    aggregate_type text not null,
    aggregate_id   text not null,
    version        bigint not null,
    event_type     text not null,
    payload        jsonb not null,
    metadata       jsonb,
    created_at     timestamptz not null,
    actor_group    text,
    actor_user     text,
    unique (aggregate_type, aggregate_id, version)
);

-- One append in one call: the version check and the lock are the upsert itself.
create function append_event(
    a_type text, a_id text, e_type text, body jsonb, meta jsonb, a_group text, a_user text,
    expected bigint, out new_version bigint, out new_id bigint, out written timestamptz
) language plpgsql as $$
begin
    written := clock_timestamp();
    insert into heads as h values (a_type, a_id, 1, body, written, written)
        on conflict (aggregate_type, aggregate_id) do update
        set version = h.version + 1, state = h.state || excluded.state, updated_at = written
        where expected is null or h.version = expected
        returning h.version into new_version;
    if new_version is null or (new_version = 1 and expected > 0) then
        raise exception 'version conflict' using errcode = '40001';
    end if;
    insert into events (aggregate_type, aggregate_id, version, event_type, payload, metadata,
                        created_at, actor_group, actor_user)
        values (a_type, a_id, new_version, e_type, body, meta, written, a_group, a_user)
        returning event_id into new_id;
end $$;

-- Many appends in one call and one transaction. Heads are locked in key order, so that two
-- batches never wait for each other in a circle; states are merged per aggregate in one pass.
create aggregate merged(jsonb) (sfunc = jsonb_concat, stype = jsonb, initcond = '{}');

create function append_events(
    a_type text, ids text[], e_type text, bodies text[], metas text[], a_group text, a_user text
) returns table (new_id bigint, new_version bigint) language plpgsql as $$
declare
    written timestamptz := clock_timestamp();
begin
    return query
    with incoming as (
        select i.id, i.body::jsonb as body, i.meta::jsonb as meta, i.place,
               row_number() over (partition by i.id order by i.place) as step
        from unnest(ids, bodies, metas) with ordinality as i (id, body, meta, place)
    ), grown as (
        insert into heads as h
        select a_type, n.id, count(*), merged(n.body order by n.place), written, written
        from incoming n group by n.id order by n.id
        on conflict (aggregate_type, aggregate_id) do update
        set version = h.version + excluded.version, state = h.state || excluded.state,
            updated_at = written
        returning h.aggregate_id, h.version
    ), sizes as (
        select n.id, count(*) as events from incoming n group by n.id
    )
    insert into events (aggregate_type, aggregate_id, version, event_type, payload, metadata,
                        created_at, actor_group, actor_user)
    select a_type, n.id, g.version - s.events + n.step, e_type, n.body, n.meta,
           written, a_group, a_user
    from incoming n join grown g on g.aggregate_id = n.id join sizes s on s.id = n.id
    order by n.place
    returning event_id, version;
end $$;

-- The same for a batch on one aggregate, without grouping and joins.
create function append_events_to(
    a_type text, a_id text, e_type text, bodies text[], metas text[], a_group text, a_user text
) returns table (new_id bigint, new_version bigint) language plpgsql as $$
declare
    written timestamptz := clock_timestamp();
    added bigint := cardinality(bodies);
    last bigint;
begin
    insert into heads as h
        select a_type, a_id, added, merged(b.body::jsonb order by b.place), written, written
        from unnest(bodies) with ordinality as b (body, place)
        on conflict (aggregate_type, aggregate_id) do update
        set version = h.version + added, state = h.state || excluded.state, updated_at = written
        returning h.version into last;
    return query
    insert into events (aggregate_type, aggregate_id, version, event_type, payload, metadata,
                        created_at, actor_group, actor_user)
    select a_type, a_id, last - added + b.place, e_type, b.body::jsonb, b.meta::jsonb,
           written, a_group, a_user
    from unnest(bodies, metas) with ordinality as b (body, meta, place)
    order by b.place
    returning event_id, version;
end $$;
"""


def programs() -> Path:
    """Return the folder with ``initdb`` and ``postgres``, version 15 if there are several."""
    found = [DEBIAN / "15" / "bin", *sorted(DEBIAN.glob("*/bin"), reverse=True)]
    config = shutil.which("pg_config")
    if config:
        asked = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        found.append(Path(asked.stdout.strip()))
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PeerMissing("no PostgreSQL server found (Debian: apt install postgresql-15)")


def unprivileged_user() -> str | None:
    """Return the user to run the server as, None for our own: it refuses to run as root."""
    if os.geteuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise PeerMissing("PostgreSQL does not run as root and there is no other user to take")


class Cluster:
    """A cluster in a folder of its own, from ``start`` to ``close``."""

    def __init__(self) -> None:
        self.programs = programs()
        self._user = unprivileged_user()
        self.folder = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
        self.port = free_port()
        if self._user:
            shutil.chown(self.folder, self._user)
        self.data = self.folder / "data"
        self._server: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self.data), "-U", DATABASE, "-A", "trust", "-E", "UTF8",
                  "--locale=C")  # fmt: skip
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\n"
                f"unix_socket_directories = '{self.folder}'\n"
                "fsync = on\nsynchronous_commit = on\n"
            )

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S,
            user=self._user, cwd=self.folder,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")
        return done.stdout

    @property
    def socket_dsn(self) -> str:
        """How to connect over the unix socket, PostgreSQL's faster way."""
        return f"host={self.folder} port={self.port} user={DATABASE} dbname={DATABASE}"

    @property
    def tcp_dsn(self) -> str:
        """How to connect over TCP loopback, as clients of our daemon do."""
        return f"host=127.0.0.1 port={self.port} user={DATABASE} dbname={DATABASE} sslmode=disable"

    def start(self) -> float:
        """Start the server and return the seconds until the first query was answered."""
        before = time.perf_counter()
        with (self.folder / "server.log").open("ab") as output:
            self._server = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.data)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                user=self._user, cwd=self.folder,
            )  # fmt: skip
        while True:
            try:
                with psycopg.connect(self.socket_dsn) as connection:
                    connection.execute("select 1")
                return time.perf_counter() - before
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.perf_counter() - before > 60:
                    raise
                time.sleep(0.005)

    def create_tables(self, long_events: int) -> None:
        """Make tables and functions and everything that exists before the clock starts."""
        with psycopg.connect(self.socket_dsn, autocommit=True) as connection:
            connection.execute(TABLES)
            with connection.transaction():
                for identifier, events in workload.histories(long_events).items():
                    self._load(connection, identifier, events)
            connection.execute("vacuum analyze")

    def _load(self, connection: psycopg.Connection, identifier: str, events: int) -> None:
        bodies = [workload.text_of(value) for value in workload.payloads()]
        for start in range(0, events, 1_000):
            count = min(1_000, events - start)
            chosen = [bodies[(start + index) % len(bodies)] for index in range(count)]
            connection.execute(
                "select count(*) from append_events_to(%s, %s, %s, %b, %b, %s, %s)",
                (workload.AGGREGATE_TYPE, identifier, workload.EVENT_TYPE, chosen,
                 [workload.METADATA_TEXT] * count, workload.ACTOR_GROUP, workload.ACTOR_USER),
            )  # fmt: skip

    def memory_bytes(self) -> int:
        """Return what all processes of the server hold, shared pages counted once."""
        assert self._server is not None
        return proportional_bytes(self._server.pid)

    def disk(self) -> tuple[int, int]:
        """Return the bytes of both tables with their indexes after a checkpoint, and the events."""
        with psycopg.connect(self.socket_dsn, autocommit=True) as connection:
            connection.execute("checkpoint")
            row = connection.execute(
                "select pg_total_relation_size('heads') + pg_total_relation_size('events'),"
                " (select count(*) from events)"
            ).fetchone()
            assert row is not None
            return int(row[0]), int(row[1])

    def restart(self) -> float:
        """Stop the server as an operator does, start it, and return the seconds of the start."""
        self._stop()
        return self.start()

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None and server.poll() is None:
            # The "fast" shutdown: sessions end, a checkpoint is written.
            self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")
            server.wait(COMMAND_TIMEOUT_S)

    def close(self) -> None:
        """Stop the server and remove its folder."""
        try:
            self._stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

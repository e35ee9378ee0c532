"""Filling our daemon through its own client, by batches, and counting what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench import workload
from bench.daemon import Daemon
from eventdbx.client import BlockingClient, Write

HOST = "127.0.0.1"


def write_of(identifier: str, body: str) -> Write:
    """Return an append for a batch; it makes the aggregate if there is none."""
    return Write(
        kind="append",
        aggregate_type=workload.AGGREGATE_TYPE,
        aggregate_id=identifier,
        event_type=workload.EVENT_TYPE,
        content=body,
        metadata=workload.METADATA_TEXT,
    )


def connect(daemon: Daemon) -> BlockingClient:
    """Return a client of the daemon, with its bootstrap token."""
    return BlockingClient(HOST, daemon.port, daemon.token, timeout_s=60.0)


def fill(client: BlockingClient, wanted: Iterable[tuple[str, int]]) -> None:
    """Append so many events to each aggregate, a hundred in a batch."""
    bodies = [workload.text_of(value) for value in workload.payloads()]

    def writes() -> Iterator[Write]:
        for identifier, events in wanted:
            for index in range(events):
                yield write_of(identifier, bodies[index % len(bodies)])

    batch: list[Write] = []
    for write in writes():
        batch.append(write)
        if len(batch) == workload.BATCH_EVENTS:
            client.commit_batch(batch)
            batch = []
    if batch:
        client.commit_batch(batch)


def load_histories(daemon: Daemon, long_events: int) -> None:
    """Write everything that exists before the clock of the comparison starts."""
    client = connect(daemon)
    fill(client, workload.histories(long_events).items())
    client.close()


def load_pages(daemon: Daemon, aggregates: int) -> None:
    """Write a paging store: so many aggregates of one event, and the timelines."""
    client = connect(daemon)
    fill(client, ((workload.aggregate_id(number), 1) for number in range(aggregates)))
    timelines = (workload.timeline_id(number) for number in range(workload.TIMELINES))
    fill(client, ((name, workload.TIMELINE_EVENTS) for name in timelines))
    client.close()


def append_some(daemon: Daemon, events: int) -> None:
    """Append a few events one by one."""
    client = connect(daemon)
    appends = workload.Choice(9_999).appends()
    for _event in range(events):
        identifier, body = next(appends)
        client.append(workload.AGGREGATE_TYPE, identifier, workload.EVENT_TYPE, body)
    client.close()


def count_events(daemon: Daemon) -> int:
    """Return the number of events in the store, every one of them verified."""
    events = 0
    after: str | None = None
    with connect(daemon) as client:
        while True:
            report = client.verify_store(after=after)
            assert not report["findings"], report["findings"]
            events += int(report["events"])
            after = report["next"]
            if after is None:
                break
    return events

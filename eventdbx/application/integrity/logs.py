"""The commit log held against the events: positions, ids, hashes, the tree, and what was signed.

Of each partition: positions without a gap, each naming an event that exists and has the hash that
the log has, the subtrees those of the entries up to there. So the root of any size can be made of
the subtrees that lie in the log, and held against what was signed (``anchors``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from eventdbx.application.integrity.findings import Finding, Found, elsewhere
from eventdbx.application.integrity.reading import numbered
from eventdbx.domain.merkle import Range, grown
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.interfaces import IReadView

PARTITION = 0


def log_name(partition: int) -> str:
    """Return what a log is called in findings, with a blank behind it; that of events is not."""
    return "audit trail, " if partition == eventlog.AUDIT_PARTITION else ""


def check_log(
    view: IReadView,
    partition: int,
    start: int = 0,
    stop: int | None = None,
    shows: Callable[[str], bool] = lambda _aggregate_type: True,
) -> Iterator[Found]:
    """Yield what is wrong with some positions of a log; without ``stop`` to its very end.

    That an event cannot be read is said only of types that are not shown: the others' own checks
    say it.
    """
    expected = start
    edge: Range | None  # None: what the tree should be from here on cannot be told.
    try:
        edge = eventlog.log_edge(view, partition, start)
        last_id = _id_before(view, partition, start)
        begins = {run[0] for run in eventlog.log_runs(view, partition)}
    except StorageError:
        edge, last_id, begins = None, 0, set()  # Said of the entries that were asked for.
    end = eventlog.U64_MAX if stop is None else stop
    for position, record in numbered(view, lambda number: keys.log(partition, number), start, end):
        where = f"{log_name(partition)}position {position}"
        if position != expected:
            yield _missing(partition, expected)
            edge = None
        expected = position + 1
        try:
            if isinstance(record, StorageError):
                raise record
            yield len(record)
            entry = _whole(record)
            names = keys.split_name(entry.event_key[1:])
            version = keys.event_version(entry.event_key)
        except (StorageError, ValueError) as error:
            edge = None
            yield elsewhere(where, getattr(error, "detail", "unreadable name"))
            continue
        if position in begins:
            last_id = 0  # Another domain was merged in here, with the ids that it had.
        problem = _entry_problem(view, entry, last_id, said=shows(names[0]))
        if edge is not None:
            edge, nodes = grown(edge, position, entry.leaf)
            if problem is None and nodes != entry.nodes:
                problem = "hashes of the log's tree differ from the events up to here"
                edge = None
        if problem is not None:
            yield elsewhere(where, problem)._replace(
                aggregate_type=names[0], aggregate_id=names[1], version=version
            )
        last_id = max(last_id, entry.event_id)
    if stop is None:
        yield from _check_tail(view, partition, expected)
    elif expected < stop:
        yield _missing(partition, expected)


def _missing(partition: int, position: int) -> Finding:
    where = f"{log_name(partition)}position {position}"
    return elsewhere(where, f"position {position} is missing")


def _id_before(view: IReadView, partition: int, position: int) -> int:
    if not position:
        return 0
    record = view.get(keys.log(partition, position - 1))
    return 0 if record is None else records.decode_log(record).event_id


def _whole(record: bytes) -> records.LogEntry:
    entry = records.decode_log(record)
    try:
        again = records.encode_log(entry)
    except (TypeError, ValueError) as error:
        raise StorageError(f"unreadable log record: {error}") from None
    if again != record and again[0] == record[0]:
        raise StorageError("it is not written as log records are")
    return entry


def _entry_problem(
    view: IReadView, entry: records.LogEntry, last_id: int, *, said: bool
) -> str | None:
    """Return what is wrong with an entry of the log beside the record of its event, or None."""
    if entry.event_id <= last_id:
        return "event ids go backwards"
    try:
        record = view.get(entry.event_key)
        if record is None:
            return "its event is missing"
        event = records.decode_event(record)
    except StorageError:
        return None if said else "its event cannot be read"
    if (event.event_id, event.hash) != (entry.event_id, entry.leaf):
        return "its event is another one than that which was committed there"
    return None


def _check_tail(view: IReadView, partition: int, end: int) -> Iterator[Finding]:
    where = f"{log_name(partition)}tail of the log"
    try:
        tail = records.decode_tail(view.get(keys.tail(partition)))
        if tail.next_position != end:
            why = f"it says {tail.next_position} entries, the log has {end}"
            yield elsewhere(where, why)
        elif tail.last_id < eventlog.greatest_id(view, partition, end):
            yield elsewhere(where, "its last id is smaller than that of the last entry")
    except StorageError as error:
        yield elsewhere(where, error.detail)

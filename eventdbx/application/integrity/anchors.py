"""Checkpoints: what was signed of a log, by it and by witnesses, held against the log as it is.

A log that was cut, changed or rolled back fits none of what was signed of it before, as long as one
signed note is left: in the store, in the file beside it, or with somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from eventdbx.application.integrity.findings import Finding, Found, elsewhere
from eventdbx.application.integrity.logs import log_name
from eventdbx.application.integrity.reading import numbered
from eventdbx.domain.checkpoints import Checkpoint, Trust, check_checkpoint, parse_checkpoint
from eventdbx.domain.merkle import root
from eventdbx.domain.notes import NoteError, Verify, parse_note
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView

PARTITIONS = (0, eventlog.AUDIT_PARTITION)
SIZES = eventlog.U64_MAX

_RESTORED = "; an older backup that was restored does that, too (see `dbx audit log`)"


class Kept(NamedTuple):
    """A checkpoint that lies outside of the store: what to call it, and its note."""

    where: str
    note: bytes


class Anchors(NamedTuple):
    """What a log is held against: whose signatures count, and checkpoints kept elsewhere.

    Without a trust for a partition the notes in the store are read, and not who signed them.
    """

    trusts: Mapping[int, Trust]
    verify: Verify
    kept: tuple[Kept, ...] = ()


NO_ANCHORS = Anchors({}, lambda _public, _signature, _message: False)


class Reached(NamedTuple):
    """How far a log is signed: all entries before ``anchored`` by it, before ``witnessed`` by a
    witness, too; those from there up to ``size`` by nobody yet."""

    log: str
    size: int
    anchored: int
    witnessed: int


def read_signed(raw: bytes, partition: int, anchors: Anchors) -> tuple[Checkpoint, bool]:
    """Return what a note says, and whether a known witness cosigned it. Raises NoteError."""
    note = parse_note(raw)
    if note.encode() != raw:
        raise NoteError("it is not written as notes are")
    trust = anchors.trusts.get(partition)
    if trust is None:
        return parse_checkpoint(note.text), False
    verified = check_checkpoint(note, trust, anchors.verify)
    return verified.checkpoint, bool(verified.cosigners)


def of_earlier_origin(raw: bytes, partition: int, anchors: Anchors) -> Checkpoint | None:
    """Return a checkpoint that was signed before the log began anew under its present origin.

    Who signed it is not known any more, and nothing is anchored by it; the log must have its root
    all the same. None for all others. Raises NoteError.
    """
    trust, note = anchors.trusts.get(partition), parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    earlier = trust is not None and checkpoint.origin != trust.origin and note.encode() == raw
    signed = any(one.name == checkpoint.origin for one in note.signatures)
    return checkpoint if earlier and signed else None


def stored_checkpoints(
    view: IReadView, partition: int, start: int = 0, stop: int = SIZES
) -> Iterator[tuple[int, bytes | StorageError]]:
    """Yield (size, note) of the checkpoints of a log with ``start <= size < stop``."""
    return numbered(view, lambda size: keys.checkpoint(partition, size), start, stop)


def check_checkpoints(
    view: IReadView, partition: int, anchors: Anchors, start: int = 0, stop: int = SIZES
) -> Iterator[tuple[int, Found]]:
    """Yield (size, finding or bytes read) for the checkpoints of a log that are stored.

    Roots are those of the subtrees in the log, which :func:`check_log` computes again.
    """
    end = eventlog.end_position(view, partition)
    for size, raw in stored_checkpoints(view, partition, start, stop):
        record = f"{log_name(partition)}checkpoint {size}"
        try:
            if isinstance(raw, StorageError):
                raise raw
            yield size, len(raw)
            checkpoint = of_earlier_origin(raw, partition, anchors)
            if checkpoint is None:
                checkpoint, _witnessed = read_signed(raw, partition, anchors)
            if checkpoint.size != size:
                raise NoteError(f"it is of {checkpoint.size} entries")
            problem = against_log(view, partition, checkpoint, end)
        except StorageError as error:
            problem = error.detail
        except NoteError as error:
            problem = str(error)
        if problem is not None:
            yield size, elsewhere(record, problem)


def against_log(view: IReadView, partition: int, checkpoint: Checkpoint, end: int) -> str | None:
    """Return what a checkpoint and the log that it is of do not agree on, or None."""
    size = checkpoint.size
    if size > end:
        return (
            f"the log has {end} entries, {size} were signed: it was cut or rolled back{_RESTORED}"
        )
    if root(eventlog.log_edge(view, partition, size)) != checkpoint.root:
        return f"the first {size} entries of the log are not those that were signed{_RESTORED}"
    return None


def check_kept(view: IReadView, anchors: Anchors) -> Iterator[Finding]:
    """Yield what is wrong with the log when held against the checkpoints kept elsewhere."""
    for where, raw in anchors.kept:
        try:
            note = parse_note(raw)
            origin = parse_checkpoint(note.text).origin
            partition = next((p for p, t in anchors.trusts.items() if t.origin == origin), None)
            if partition is None:
                raise NoteError(f"it is of {origin}, which is no log of this store")
            checkpoint, _witnessed = read_signed(raw, partition, anchors)
            end = eventlog.end_position(view, partition)
            problem = against_log(view, partition, checkpoint, end)
        except StorageError as error:
            problem = error.detail
        except NoteError as error:
            problem = str(error)
        if problem is not None:
            yield elsewhere(where, problem)


def reached(view: IReadView, anchors: Anchors) -> list[Reached]:
    """Return how far each log is signed, by checkpoints that hold."""
    found = []
    for partition in PARTITIONS:
        size = eventlog.end_position(view, partition)
        if partition and not size:
            continue
        trust = anchors.trusts.get(partition)
        anchored = witnessed = 0
        notes = [raw for _size, raw in stored_checkpoints(view, partition)]
        notes += [kept.note for kept in anchors.kept]
        for raw in reversed(notes if trust is not None else []):
            if not isinstance(raw, bytes):
                continue
            try:
                checkpoint, cosigned = read_signed(raw, partition, anchors)
                if against_log(view, partition, checkpoint, size) is not None:
                    continue
            except (NoteError, StorageError):
                continue
            anchored = max(anchored, checkpoint.size)
            if cosigned:
                witnessed = max(witnessed, checkpoint.size)
        name = "events" if not partition else "audit trail"
        found.append(Reached(name, size, anchored, witnessed))
    return found

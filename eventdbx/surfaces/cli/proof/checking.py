"""The check of a proof under keys that are believed, and of an event against it, offline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventdbx.application.checkpoint_keys import verify
from eventdbx.domain.canonical import dump, parse
from eventdbx.domain.checkpoints import Trust
from eventdbx.domain.events import commitment
from eventdbx.domain.notes import NoteError, parse_vkey
from eventdbx.domain.proofdocuments import NO_SALT, Leaf, Proven, check_file
from eventdbx.domain.proofs import ProofError
from eventdbx.domain.timestamps import format_ns
from eventdbx.surfaces.cli.failures import Failure

Document = dict[str, Any]


def check(
    raw: bytes,
    keys: Sequence[str],
    witnesses: Sequence[str],
    quorum: int | None,
    event: bytes | None,
) -> Document:
    """Return what a proof proves. Raises Failure unless it does, to who believes these keys.

    ``event`` is the JSON of an event that has to be the proven one.
    """
    try:
        logs = tuple(map(parse_vkey, keys))
        known = tuple(map(parse_vkey, witnesses))
        names = {key.name for key in logs}
        if len(names) > 1:
            raise NoteError("the keys are of several logs")
        trust = Trust(names.pop(), logs, known, len(known) if quorum is None else quorum)
    except NoteError as error:
        hint = "a key is what 'dbx checkpoint --key' prints behind 'log: ', or 'witness: '"
        raise Failure("the keys cannot be used", str(error), hint=hint) from None
    try:
        proven = check_file(raw, trust, verify)
        content = None if event is None else compare(proven, event)
    except ProofError as error:
        raise Failure("NOT PROVEN", str(error), code="storage") from None
    checkpoint = proven.checkpoint
    return {
        "proven": True,
        "kind": proven.kind,
        "proves": proven.words,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "content": content,
    }


def compare(proven: Proven, raw: bytes) -> str:
    """Say how the JSON of an event agrees with what was proven. Raises ProofError if it does not.

    Events as the command line shows them have their extensions among the metadata.
    """
    leaf = proven.leaf
    if leaf is None:
        raise ProofError("the proof is of no single event, so none can be compared with it")
    event = _event(raw)
    metadata = event.get("metadata")
    if type(metadata) is not dict:
        raise ProofError("the event has no metadata")
    _compare_names(leaf, event, metadata)
    if event.get("erased") is True:
        if event.get("payload") is not None:
            raise ProofError("the event is said to be erased, and has a payload")
        return "the event was erased, there is nothing to compare"
    if proven.salt == NO_SALT:
        return "not compared: the proof has no salt"
    extensions = event.get("extensions")
    among = {key: value for key, value in metadata.items() if key.startswith("@")}
    if extensions is not None and among:
        raise ProofError("the event has its metadata twice")
    kept = dump(among if extensions is None else extensions)
    note = metadata.get("note")
    if note is not None and type(note) is not str:
        raise ProofError("the note of the event is no text")
    # None at all and none in an object are shown alike.
    for option in (kept, None) if kept == b"{}" else (kept,):
        if commitment(proven.salt, dump(event.get("payload")), option, note) == leaf.committed:
            return "payload, metadata and note of the event are what was logged"
    raise ProofError("payload, metadata or note of the event are not what was logged")


def _event(raw: bytes) -> Document:
    try:
        event = parse(raw)
    except ValueError as error:
        raise ProofError(f"the event is unreadable: {error}") from None
    if type(event) is not dict:
        raise ProofError("the event must be a JSON object")
    return event


_MEMBERS = frozenset(
    "aggregate_type aggregate_id event_type event_type_raw version hash merkle_root payload "
    "extensions metadata erased schema position".split()
)
_METADATA = frozenset({"event_id", "created_at", "issued_by", "note"})


def _compare_names(leaf: Leaf, event: Document, metadata: Document) -> None:
    more = event.keys() - _MEMBERS
    more |= {name for name in metadata.keys() - _METADATA if not name.startswith("@")}
    if more:
        raise ProofError(f"the event has a member that no proof covers: {min(more)[:64]}")
    actor = leaf.issued_by
    said = {
        "aggregate_type": (event.get("aggregate_type"), leaf.aggregate_type),
        "aggregate_id": (event.get("aggregate_id"), leaf.aggregate_id),
        "event_type": (event.get("event_type"), leaf.event_type),
        "version": (event.get("version"), leaf.version),
        "event_id": (metadata.get("event_id"), str(leaf.event_id)),
        "created_at": (metadata.get("created_at"), format_ns(leaf.created_at)),
        "issued_by": (metadata.get("issued_by"), None if actor is None else actor._asdict()),
        "hash": (event.get("hash"), leaf.hash.hex()),
    }
    for name, (found, wanted) in said.items():
        if found != wanted or type(found) is not type(wanted):
            raise ProofError(f"the {name} of the event is not that of the proven one")

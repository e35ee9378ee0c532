"""Checkpoints on the control protocol: a row of :mod:`eventdbx.surfaces.control.integrity`.

The same document is what the Admin API answers and what ``dbx checkpoint --json`` prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from eventdbx.application.checkpointing import Checkpoints, Signed
from eventdbx.domain.notes import to_base64
from eventdbx.errors import Unauthorized, UnknownName
from eventdbx.storage.eventlog import AUDIT_PARTITION

if TYPE_CHECKING:
    from eventdbx.surfaces.control.integrity import Work

Document = dict[str, Any]
AUDIT_READS = "audit.read"


def checkpoint(work: Work) -> Deferred[Document]:
    """The newest checkpoint, or that of a ``size``; ``sign`` makes one of what there is now."""
    partition = 0
    if work.asked.flag("audit"):
        work.grant.require(AUDIT_READS)
        if work.grant.tenants:
            raise Unauthorized  # The trail tells how much was done to all domains.
        partition = AUDIT_PARTITION
    checkpoints = work.session.domain.checkpoints
    checkpoints.look_back()
    if work.asked.flag("sign"):
        signed = checkpoints.renew(partition)
        return signed.addCallback(lambda _note: newest_document(checkpoints, partition))
    size = work.asked.number("size")
    if size is None:
        return succeed(newest_document(checkpoints, partition))
    found = checkpoints.at(size, partition)
    if found is None:
        raise UnknownName(f"there is no checkpoint of size {size}")
    return succeed(checkpoint_document(checkpoints, found, partition))


def newest_document(checkpoints: Checkpoints, partition: int = 0) -> Document:
    """Return what there is to say of the newest checkpoint. Raises ConfigError without a key."""
    return checkpoint_document(checkpoints, checkpoints.newest(partition), partition)


def checkpoint_document(
    checkpoints: Checkpoints, signed: Signed | None, partition: int
) -> Document:
    """Return what there is to say of a checkpoint, None for one that is not there yet."""
    key = checkpoints.key(partition)
    witnessed = checkpoints.witnessed() if partition == 0 else None
    return {
        "origin": key.name,
        "key": key.vkey(),
        "witness_key": checkpoints.signer.witness_key.vkey(),
        "size": None if signed is None else signed.size,
        "root": None if signed is None else to_base64(signed.checkpoint.root),
        "checkpoint": None if signed is None else signed.note.encode().decode(),
        "cosigned_by": [] if signed is None else cosigners(signed, key.name),
        "witnessed_size": None if witnessed is None else witnessed.size,
        "unwitnessed": dict(checkpoints.unwitnessed) if partition == 0 else {},
        "problem": checkpoints.problem,
    }


def cosigners(signed: Signed, origin: str) -> list[str]:
    """Return the names of who signed besides the log itself."""
    return [one.name for one in signed.note.signatures if one.name != origin]

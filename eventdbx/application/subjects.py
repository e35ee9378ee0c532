"""Data subjects: whom events are about, each with a data key of its own, so that it can be erased.

The store has a row for each subject, under a keyed digest of its name: the slot of its key, and a
number, under which its events are indexed. An erasure takes the row away, so that later events
about the same name are those of another number, under another key.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from eventdbx.domain.aggregate import Head
from eventdbx.storage import keys
from eventdbx.storage.eventlog import Reads, ReadsAndPuts
from eventdbx.storage.records import DamagedRecord

SECRET_BYTES = 32
_DIGEST_BYTES = 32
_PERSON = b"dbx subject"
_FORMAT = 1
_RECORD = Struct(">BQI")


class Subject(NamedTuple):
    """A data subject: the number of its events, the slot of its data key, 0 without one."""

    number: int
    slot: int


def encode_subject(subject: Subject) -> bytes:
    """Return the record of a subject."""
    return _RECORD.pack(_FORMAT, *subject)


def decode_subject(record: bytes) -> Subject:
    """Return the subject of a record. Raises DamagedRecord."""
    if len(record) != _RECORD.size or record[0] != _FORMAT:
        raise DamagedRecord("unreadable record of a data subject")
    return Subject(*_RECORD.unpack(record)[1:])


def subject_key(reads: Reads, name: str) -> bytes | None:
    """Return the key of the row of a subject, None in a store that has never had any."""
    secret = reads.get(keys.SUBJECT_SECRET)
    return None if secret is None else _key(secret, name)


def find_subject(reads: Reads, name: str) -> Subject | None:
    """Return the subject of a name, None if no event is about it."""
    key = subject_key(reads, name)
    record = None if key is None else reads.get(key)
    return None if record is None else decode_subject(record)


class About:
    """What the writer needs for an event about somebody."""

    def __init__(
        self,
        step: ReadsAndPuts,
        *,
        new_slot: Callable[[], int],
        next_id: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._step = step
        self._new_slot = new_slot
        self._next_id = next_id
        self._entropy = entropy

    def note(self, name: str, aggregate: bytes, head: Head) -> tuple[Head, int]:
        """Index the next event of an aggregate as one about a subject.

        Returns the head to build on, which has a key for its state now, and the slot of the
        subject's key.
        """
        step = self._step
        key = subject_key(step, name)
        if key is None:
            secret = self._entropy(SECRET_BYTES)
            step.put(keys.SUBJECT_SECRET, secret)
            key = _key(secret, name)
        record = step.get(key)
        found = None if record is None else decode_subject(record)
        subject = Subject(self._next_id(), 0) if found is None else found
        if not subject.slot:
            subject = subject._replace(slot=self._new_slot())
        if subject != found:
            step.put(key, encode_subject(subject))
        step.put(keys.subject_event(subject.number, aggregate, head.version + 1), b"")
        head = head._replace(
            key_slot=head.key_slot or self._new_slot(),
            state_slot=head.state_slot or self._new_slot(),
        )
        return head, subject.slot if head.key_slot else 0


def _key(secret: bytes, name: str) -> bytes:
    made = blake2b(name.encode(), digest_size=_DIGEST_BYTES, key=secret, person=_PERSON)
    return keys.subject(made.digest())

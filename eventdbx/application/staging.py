"""Staging: events that are kept for their user until all of them are committed together.

What is staged lies in the domain's store (:mod:`eventdbx.storage.staged`). It is checked when it is
staged, on top of the store and of all that the same user has staged before, in a step whose writes
go nowhere; and again when it is committed, in the step that writes the events and takes the entries
away. So a crash leaves the entries or the events, and never both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from twisted.internet.defer import Deferred

from eventdbx import limits
from eventdbx.application.authorising import Authorise
from eventdbx.application.drafting import DraftWrite, draft_write, subject_of
from eventdbx.application.steps import Committed, Work
from eventdbx.application.writelimits import spend
from eventdbx.application.writer import Writer, no_slot
from eventdbx.domain.commands import Write
from eventdbx.domain.events import Actor
from eventdbx.domain.grants import Grant
from eventdbx.errors import EventDBXError, InvalidSchema, Unauthorized, UnknownName
from eventdbx.storage import keys
from eventdbx.storage.staged import (
    Entry,
    Wanted,
    all_entries,
    encode_entry,
    entries_of,
    keys_of,
)
from eventdbx.storage.store import Store, Transaction

T = TypeVar("T")

LOCAL = Actor("cli", "root")
"""Whose it is what is staged without a server: the user of the installation's own token, so that
the command line finds it when a server runs later, and the other way round."""


class Staging:
    """What is staged in one domain."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    def stage(
        self,
        writes: Sequence[Write],
        *,
        owner: Actor,
        actor: Actor | None,
        authorise: Authorise,
        render: Callable[[list[Entry]], T],
    ) -> Deferred[T]:
        """Keep some writes, all or none, on top of what the owner has staged.

        The Deferred fires with ``render`` of the new entries once they are durable. It fails with
        the error that writing them would fail with, or InvalidSchema beyond the bounds.
        """

        def change(work: Work, transaction: Transaction) -> T:
            if not writes:
                raise InvalidSchema("there is nothing to stage")
            present = entries_of(transaction, owner)
            _check_count(len(present) + len(writes))
            size = sum(length for _entry, length in present)
            trial = Work(self._writer, transaction.branch(), no_slot)
            entries = [entry for entry, _length in present]
            _write_all(trial, self._beneath(entries, writes), actor, authorise)
            added = []
            for number, write in enumerate(writes):
                with _of_many(number, len(writes)):
                    _check_stageable(write)
                    draft = draft_write(write, actor)
                    done = trial.write(draft, authorise)
                entry = self._entry(work, draft, done, owner)
                record = encode_entry(entry)
                size += len(record)
                _check_size(size)
                transaction.put(entry.key, record)
                added.append(entry)
            return render(added)

        return self._writer.carry_out(change)

    def _beneath(self, entries: list[Entry], writes: Sequence[Write]) -> list[tuple[int, Entry]]:
        """Return the entries, with their places, that can matter to what comes on top of them.

        Those are the ones of the same aggregates; and all, where it may refer to others.
        """
        references = self._writer.rules.references
        if any(references.paths(write.aggregate_type) for write in writes):
            return _numbered(entries)
        names = {write[1:3] for write in writes}
        return [one for one in _numbered(entries) if one[1].write[1:3] in names]

    def _entry(self, work: Work, draft: DraftWrite, done: Committed, owner: Actor) -> Entry:
        return Entry(
            work.next_id(),
            owner,
            draft.command,
            draft.draft.event_type,
            done.event.payload,
            subject_of(done.event),
            draft.draft.issued_by,
            work.now_ns,
            work.new_slot(),
        )

    def entries(self, owner: Actor) -> list[Entry]:
        """Return what a user has staged, oldest first."""
        return [entry for entry, _length in entries_of(self._store.view(), owner)]

    def all_entries(self) -> Iterator[Entry]:
        """Yield what all users have staged."""
        return (entry for entry, _length in all_entries(self._store.view()))

    def commit(
        self,
        *,
        owner: Actor,
        actor: Actor | None,
        authorise: Authorise,
        spender: Grant | None = None,
        render: Callable[[list[Committed]], T],
    ) -> Deferred[T]:
        """Write all that a user has staged, in one step, and keep none of it staged; or nothing.

        Fires with ``render`` of the events once they are durable. Fails with the error of the
        first entry that is refused, which it names; all entries are still there then.
        """

        def change(work: Work, transaction: Transaction) -> T:
            entries = [entry for entry, _length in entries_of(transaction, owner)]
            done = _write_all(work, _numbered(entries), actor, authorise)
            if spender is not None and spender.write_limit is not None:
                spend(transaction, self._store.view(), spender, work.made, work.now_ns)
            _drop_all(transaction, owner)
            return render(done)

        return self._writer.carry_out(change)

    def rehearse(
        self, *, owner: Actor, actor: Actor | None, authorise: Authorise
    ) -> Deferred[list[Entry]]:
        """Check what :meth:`commit` would; fires with the entries, and nothing changes."""

        def step(transaction: Transaction) -> list[Entry]:
            entries = [entry for entry, _length in entries_of(transaction, owner)]
            trial = Work(self._writer, transaction.branch(), no_slot)
            _write_all(trial, _numbered(entries), actor, authorise)
            return entries

        return self._store.transact(step)

    def drop(
        self,
        owner: Actor,
        ids: Collection[int] | None,
        *,
        seen: Wanted = lambda _entry: True,
    ) -> Deferred[int]:
        """Drop entries of a user, all for None; fires with how many there were.

        Those that are not ``seen`` are not there for who asks. Fails with UnknownName, and drops
        none, when one of them is not there.
        """

        def step(transaction: Transaction) -> int:
            present = [entry for entry, _length in entries_of(transaction, owner)]
            found = {entry.entry_id: entry.key for entry in present if seen(entry)}
            if ids is None and len(found) == len(present):
                _drop_all(transaction, owner)
                return len(found)
            for entry_id in found if ids is None else ids:
                if entry_id not in found:
                    raise unknown(entry_id)
                transaction.delete(found[entry_id])
            return len(found if ids is None else set(ids))

        return self._store.transact(step)

    def adopt(self, writes: Sequence[tuple[Write, Actor | None]], mark: bytes) -> Deferred[int]:
        """Take over what an older program has staged, once for each ``mark``.

        Each write comes with who issued it. Only what can be told without the store is checked: the
        rest is at the commit. Fires with how many were taken over; fails with InvalidSchema.
        """

        def change(work: Work, transaction: Transaction) -> int:
            if transaction.get(keys.STAGED_FILE) == mark:
                return 0
            for number, (write, issued_by) in enumerate(writes):
                with _of_many(number, len(writes)):
                    draft = draft_write(write, issued_by)
                entry = Entry(
                    work.next_id(),
                    LOCAL,
                    write,
                    draft.draft.event_type,
                    draft.draft.payload_json,
                    draft.draft.subject,
                    issued_by,
                    work.now_ns,
                    work.new_slot(),
                )
                transaction.put(entry.key, encode_entry(entry))
            transaction.put(keys.STAGED_FILE, mark)
            return len(writes)

        return self._writer.carry_out(change)

    def forget_mark(self) -> Deferred[None]:
        """Forget which file was taken over last: it is out of the way."""

        def step(transaction: Transaction) -> None:
            if transaction.get(keys.STAGED_FILE) is not None:
                transaction.delete(keys.STAGED_FILE)

        return self._store.transact(step)


def unknown(entry_id: int) -> UnknownName:
    """Return the error for an entry that its user does not have."""
    return UnknownName(f"no staged event has the id {entry_id}")


def _drop_all(transaction: Transaction, owner: Actor) -> None:
    for key in keys_of(transaction, owner):
        transaction.delete(key)


def _numbered(entries: Sequence[Entry]) -> list[tuple[int, Entry]]:
    return list(enumerate(entries, 1))


def _write_all(
    work: Work, entries: Sequence[tuple[int, Entry]], actor: Actor | None, authorise: Authorise
) -> list[Committed]:
    """Write entries on top of each other; an error says which of them it is about."""
    done = []
    for number, entry in entries:
        write = entry.write
        told = f"staged event {number} (id {entry.entry_id}"
        about = f"{write.aggregate_type}::{write.aggregate_id}, {entry.event_type}"
        with _named(f"{told}, {about})", unseen=f"{told})"):
            done.append(work.write(draft_write(write, entry.issued_by or actor), authorise))
    return done


@contextmanager
def _named(what: str, unseen: str | None = None) -> Iterator[None]:
    """Put what an error is about in front of its text; its code stays.

    Who has no right to it is told ``unseen`` of it.
    """
    try:
        yield
    except EventDBXError as error:
        if unseen is not None and isinstance(error, Unauthorized):
            what = unseen
        error.detail = f"{what}: {error.fixed or error.detail}"
        error.args = (error.prefix + error.detail,)
        raise


def _of_many(number: int, count: int) -> AbstractContextManager[None]:
    return _named(f"write {number + 1} of {count}") if count > 1 else nullcontext()


def _check_stageable(write: Write) -> None:
    if write.publish_targets:
        raise InvalidSchema("what is staged cannot name plugins to publish to")
    if write.receipt:
        raise InvalidSchema("what is staged has no receipt: there is none before it is committed")


def _check_count(count: int) -> None:
    most = limits.STAGED_EVENTS_MAX
    if count > most:
        raise InvalidSchema(
            f"a user can have {most} staged events, which are committed at once: commit or drop "
            "those there are before staging more"
        )


def _check_size(size: int) -> None:
    most = limits.STAGED_BYTES_MAX
    if size > most:
        raise InvalidSchema(
            f"what a user has staged can have {most} bytes, for it is committed at once: commit or "
            "drop it before staging more"
        )

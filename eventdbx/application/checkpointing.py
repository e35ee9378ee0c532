"""The checkpoints of one domain: made when the log has grown, kept in the store, shared by all.

When they are made unasked is decided in :mod:`eventdbx.services.checkpoints`. Proofs and receipts
ask for one that covers what they prove; however many ask, what is durable is signed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx import limits
from eventdbx.application.checkpoint_keys import Signer, verify
from eventdbx.domain import merkle
from eventdbx.domain.checkpoints import (
    Checkpoint,
    Trust,
    check_checkpoint,
    check_cosignatures,
    parse_checkpoint,
    sign_checkpoint,
)
from eventdbx.domain.notes import Note, NoteError, NoteKey, Signature, parse_note
from eventdbx.domain.proofs import consistency_proof, peaks, tree_root
from eventdbx.domain.tiles import Tile, tile_hashes
from eventdbx.domain.witnessing import Submission
from eventdbx.errors import ConfigError, EventDBXError, StorageError
from eventdbx.storage.checkpointing import (
    checkpoints,
    load_checkpoint,
    put_checkpoint,
    thin,
)
from eventdbx.storage.eventlog import AUDIT_PARTITION, Reads, end_position, log_nodes
from eventdbx.storage.store import Store, Transaction

PARTITIONS = (0, AUDIT_PARTITION)

Extensions = Callable[[], tuple[str, ...]]
"""Lines of a checkpoint below its root, as they are now; each speaks of no more than the view."""

log = Logger()


class Edge:
    """The root of one log at growing sizes; subtrees that were read once are not read again."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self._hashes: dict[tuple[int, int], bytes] = {}

    def root(self, reads: Reads, size: int) -> bytes:
        """Return the root of the first ``size`` entries, by O(log n) point reads at most."""
        node = log_nodes(reads, self.partition)
        places = peaks(size)
        known = self._hashes
        self._hashes = {at: known[at] if at in known else node(*at) for at in places}
        return merkle.root(tuple(self._hashes.values()))


class Signed(NamedTuple):
    """A checkpoint and its note, cosignatures included."""

    checkpoint: Checkpoint
    note: Note

    @property
    def size(self) -> int:
        """How many entries it covers."""
        return self.checkpoint.size


class _Log:
    """One partition: what was signed last, and who waits for it to be durable."""

    def __init__(self, partition: int, newest: Signed | None) -> None:
        self.edge = Edge(partition)
        self.newest = newest
        self.waiting: list[tuple[Signed, list[Deferred[Note]]]] = []
        self.made = 0


class Checkpoints:
    """Makes, keeps and finds the signed checkpoints of a domain.

    ``keeps`` False signs without storing, for a store that is only read. ``signer`` is asked at
    the first use; it raises ConfigError where no key is configured. ``past`` reads the copy of a
    log's newest checkpoint that is kept beside the store, None without one: a store that was put
    back as a whole does not contain what was signed, and nothing more is signed. All on one thread.

    - ``cover(size, partition=0) -> Deferred[Note]``: a checkpoint of at least that size.
    - ``renew(partition=0) -> Deferred[Note]``: one of everything that is durable now, with the
      extension lines of now; the newest one again if it says all that.
    - ``newest(partition=0) -> Signed | None``, ``at(size, partition=0) -> Signed | None``.
    - ``key(partition=0) -> NoteKey``: the public key, whose ``vkey()`` is for those who verify.
    """

    def __init__(
        self,
        store: Store,
        domain: str,
        signer: Callable[[], Signer],
        *,
        past: Callable[[int], bytes | None] = lambda _partition: None,
        keeps: bool = True,
    ) -> None:
        self._store = store
        self._domain = domain
        self._find_signer = signer
        self._past: Callable[[int], bytes | None] | None = past
        self._keeps = keeps
        self._logs: dict[int, _Log] = {}
        self._signer: Signer | None = None
        self._witnessed: tuple[Signed | None] | None = None
        self.extensions: Extensions = tuple
        """What the head map adds to checkpoints of the log of events."""
        self.on_signed: list[Callable[[int, Signed], None]] = []
        """Called with partition and checkpoint once a new one is durable."""
        self.trouble: str | None = None
        """Why the last try to make one failed, or None."""
        self.copy_trouble: str | None = None
        """Why the last try to write the copy beside the store failed, or None."""
        self.signed_ns: int | None = None
        """When the newest one was signed, None where nobody keeps the time."""
        self.unwitnessed: dict[str, str] = {}
        """Names of witnesses that were asked and did not cosign, each with the reason."""
        self.rolled_back: str | None = None
        """Why none may be signed any more, or None: the log is not the one signed before."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the checkpoints of the domain, or None."""
        return self.rolled_back or self.trouble or self.copy_trouble

    @property
    def goes_on(self) -> bool:
        """Whether the log has been found to be the one that was signed before.

        Until then the copy beside the store may be all that tells, and nothing replaces it.
        """
        return self._past is None and self.rolled_back is None

    @property
    def signer(self) -> Signer:
        """What signs. Raises ConfigError without a key."""
        if self._signer is None:
            self._signer = self._find_signer()
        return self._signer

    def key(self, partition: int = 0) -> NoteKey:
        """Return the public key of a log of the domain. Raises ConfigError without one."""
        return self.signer.log_key(self._domain, partition)

    def newest(self, partition: int = 0) -> Signed | None:
        """Return the newest checkpoint that is durable. Raises StorageError."""
        return self._log(partition).newest

    def at(self, size: int, partition: int = 0) -> Signed | None:
        """Return the stored checkpoint of exactly that size, or None. Raises StorageError."""
        note = load_checkpoint(self._store.view(), partition, size)
        return None if note is None else read_signed(note)

    def listed(self, count: int, *, below: int | None = None, partition: int = 0) -> list[Signed]:
        """Return stored checkpoints, largest first, from those smaller than ``below``."""
        bounds = {} if below is None else {"below": below}
        found = checkpoints(self._store.view(), partition, **bounds)
        return [read_signed(one.note) for one, _ in zip(found, range(count), strict=False)]

    def cover(self, size: int, partition: int = 0) -> Deferred[Note]:
        """Fire with a checkpoint of at least that size; one is signed now if there is none.

        ``size`` counts entries that are durable. Who asks while one is on its way to the disk
        shares it.
        """
        try:
            entry = self._log(partition)
        except EventDBXError as error:
            return fail(error)
        if entry.newest is not None and entry.newest.size >= size:
            return succeed(entry.newest.note)
        for signed, waiters in entry.waiting:
            if signed.size >= size:
                return _one_more(waiters)
        made = self.renew(partition)

        def covers(note: Note) -> Note:
            if parse_checkpoint(note.text).size < size:
                raise StorageError(f"the log has no {size} entries that are durable")
            return note

        return made.addCallback(covers)

    def grown(self, partition: int = 0) -> bool:
        """Return whether there is more to say than was signed last. Raises EventDBXError."""
        entry = self._log(partition)
        last = entry.waiting[-1][0] if entry.waiting else entry.newest
        size = end_position(self._store.view(), partition)
        if last is None:
            return size > 0
        lines = self.extensions() if partition == 0 else ()
        return size > last.size or (size == last.size and lines != last.checkpoint.extensions)

    def renew(self, partition: int = 0) -> Deferred[Note]:
        """Fire with a checkpoint of all that is durable, once it is durable itself."""
        try:
            entry = self._log(partition)
            nothing_yet = entry.newest is None and not entry.waiting
            if self.grown(partition) or (nothing_yet and partition == 0):
                signed = self._sign(entry, partition)
            elif entry.waiting:
                return _one_more(entry.waiting[-1][1])
            else:
                if entry.newest is None:
                    raise StorageError("there is no audit trail yet")
                return succeed(entry.newest.note)
        except Exception as error:
            self._failed(Failure())
            return fail(error)
        return self._keep(entry, partition, signed)

    def tile(self, tile: Tile) -> bytes:
        """Return the hashes of a tile that a checkpoint covers; on any thread."""
        return tile_hashes(log_nodes(self._store.view(), 0), tile)

    def submission(self, signed: Signed, old: int) -> Submission:
        """Return what a witness is asked, whose last tree of this log had ``old`` entries."""
        ours = (self.key().name, self.key().id)
        lines = tuple(one for one in signed.note.signatures if (one.name, one.key_id) == ours)
        proof: list[bytes] = []
        if old:
            proof = consistency_proof(log_nodes(self._store.view(), 0), old, signed.size)
        return Submission(old, tuple(proof), Note(signed.note.text, lines))

    def witnessed(self) -> Signed | None:
        """Return the newest checkpoint that a witness cosigned, or None. Raises StorageError."""
        if self._witnessed is None:
            self._witnessed = (self._newest_of_ours(0, cosigned=True),)
        return self._witnessed[0]

    def add_signatures(
        self, size: int, signatures: Sequence[Signature], witnesses: Sequence[NoteKey]
    ) -> Deferred[Note]:
        """Store cosignatures of known witnesses with the checkpoint of a size; fire with its note.

        Lines that are not in the name of one are dropped. Fails with NoteError, and changes
        nothing, if there is no such checkpoint, if none is left, or if one does not hold.
        """
        names = {(key.name, key.id) for key in witnesses}
        ours = [one for one in signatures if (one.name, one.key_id) in names]

        def step(transaction: Transaction) -> Note:
            stored = load_checkpoint(transaction, 0, size)
            if stored is None:
                raise NoteError(f"there is no checkpoint of size {size}")
            note = parse_note(stored)
            if not ours:
                raise NoteError("no known witness cosigned")
            check_cosignatures(Note(note.text, tuple(ours)), witnesses, verify)
            note = note.signed_by(*ours)
            if (encoded := note.encode()) != stored:
                put_checkpoint(transaction, 0, size, encoded)
            return note

        def kept(note: Note) -> Note:
            entry = self._log(0)
            if entry.newest is not None and entry.newest.note.text == note.text:
                entry.newest = Signed(entry.newest.checkpoint, note)
            last = self.witnessed()
            if last is None or size >= last.size:
                self._witnessed = (Signed(parse_checkpoint(note.text), note),)
            return note

        # Whoever hangs up stops waiting; what has been stored is taken note of all the same.
        done: Deferred[Note] = Deferred()
        self._store.transact(step).addCallback(kept).addBoth(done.callback)
        return done

    def look_back(self) -> str | None:
        """Return why the log is not the one that was signed before, or None; looks once.

        Raises EventDBXError where that cannot be found out.
        """
        if self._past is not None:
            found = [self._look_at(self._past, partition) for partition in PARTITIONS]
            self._past = None
            self.rolled_back = next((one for one in found if one is not None), None)
            if self.rolled_back is not None:
                log.critical(
                    "{domain}: {reason}; the store was put back or changed, and no checkpoint "
                    "is signed",
                    domain=self._domain,
                    reason=self.rolled_back,
                )
        return self.rolled_back

    def _look_at(self, past: Callable[[int], bytes | None], partition: int) -> str | None:
        newest = self.newest(partition)
        kept = (past(partition), newest and newest.note.encode())
        found = (self._compare(raw, partition) for raw in kept if raw is not None)
        return next((one for one in found if one is not None), None)

    def _compare(self, raw: bytes, partition: int) -> str | None:
        key = self.key(partition)
        try:
            trust = Trust(key.name, (key,))
            checkpoint = check_checkpoint(parse_note(raw), trust, verify).checkpoint
        except NoteError:
            return None  # Of another name or key: it proves nothing of this log.
        view = self._store.view()
        size = end_position(view, partition)
        name = "the audit trail" if partition else "the log"
        if checkpoint.size > size:
            return f"{name} has {size} events, and {checkpoint.size} were signed"
        if tree_root(log_nodes(view, partition), checkpoint.size) != checkpoint.root:
            which = "" if not partition else " of the audit trail"
            return f"the first {checkpoint.size} events{which} are not those that were signed"
        return None

    def _log(self, partition: int) -> _Log:
        found = self._logs.get(partition)
        if found is None:
            newest = self._newest_of_ours(partition)
            found = self._logs[partition] = _Log(partition, newest)
        return found

    def _newest_of_ours(self, partition: int, *, cosigned: bool = False) -> Signed | None:
        """Return the newest checkpoint that is stored. Under another origin, or signed with another
        key, one is of no use to who verifies now: the log begins anew."""
        try:
            key = self.key(partition)
        except ConfigError:
            key = None  # Nothing can be signed; what there is can be shown.
        for stored in checkpoints(self._store.view(), partition):
            if stored.cosigned or not cosigned:
                signed = read_signed(stored.note)
                lines = [(one.name, one.key_id) for one in signed.note.signatures]
                if key is None or (key.name, key.id) in lines:
                    return signed
        return None

    def _sign(self, entry: _Log, partition: int) -> Signed:
        if self.look_back() is not None:
            raise StorageError(f"no checkpoint is signed: {self.rolled_back}")
        view = self._store.view()
        size = end_position(view, partition)
        key = self.key(partition)
        lines = self.extensions() if partition == 0 else ()
        checkpoint = Checkpoint(key.name, size, entry.edge.root(view, size), lines)
        return Signed(checkpoint, sign_checkpoint(checkpoint, key, self.signer.sign))

    def _keep(self, entry: _Log, partition: int, signed: Signed) -> Deferred[Note]:
        if not self._keeps:
            entry.newest = signed
            return succeed(signed.note)
        waiters: list[Deferred[Note]] = []
        done = _one_more(waiters)
        entry.waiting.append((signed, waiters))
        entry.made += 1
        thins = entry.made % limits.CHECKPOINT_THINNING == 1

        def step(transaction: Transaction) -> None:
            put_checkpoint(transaction, partition, signed.size, signed.note.encode())
            if thins:
                thin(transaction, partition)

        def forget() -> None:
            entry.waiting = [one for one in entry.waiting if one[0] is not signed]

        def kept(_none: None) -> None:
            forget()
            entry.newest = signed
            self.trouble = None
            seen = self._witnessed and self._witnessed[0]
            if partition == 0 and seen and seen.size == signed.size:
                self._witnessed = None  # It was replaced by one with other extension lines.
            for waiter in waiters:
                waiter.callback(signed.note)
            for call in tuple(self.on_signed):
                call(partition, signed)

        def lost(failure: Failure) -> None:
            forget()
            self._failed(failure)
            for waiter in waiters:
                waiter.errback(failure)

        self._store.transact(step).addCallbacks(kept, lost).addErrback(
            lambda failure: log.failure("who was told of a checkpoint failed", failure=failure)
        )
        return done

    def _failed(self, failure: Failure) -> None:
        reason = failure.getErrorMessage()
        if reason != self.trouble:
            self.trouble = reason
            log.error(
                "{domain}: no checkpoint could be made: {reason}",
                domain=self._domain,
                reason=reason,
            )


def _one_more(waiters: list[Deferred[Note]]) -> Deferred[Note]:
    done: Deferred[Note] = Deferred()
    waiters.append(done)
    return done


def read_signed(raw: bytes) -> Signed:
    """Return a checkpoint that was stored, its signatures not verified. Raises StorageError."""
    try:
        note = parse_note(raw)
        return Signed(parse_checkpoint(note.text), note)
    except NoteError as error:
        raise StorageError(f"a stored checkpoint is damaged: {error}") from None

"""The data keys of a domain: which configured key wraps them, and what is not sealed yet.

Both are put right in bounded steps, on a thread where there is one, beside everything else. A step
that is killed has not happened: the file of keys is the old one, a value is as it was, and the next
process begins where there is something left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed

from eventdbx.application.drafting import subject_of
from eventdbx.application.steps import Work
from eventdbx.application.subjects import decode_subject, encode_subject, subject_key
from eventdbx.application.writer import Writer
from eventdbx.storage import keys
from eventdbx.storage.contents import FAMILIES, parts, with_slots
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.keyslots import KeySlots
from eventdbx.storage.records import decode_event
from eventdbx.storage.sealed import ALL_KEY, SealedView, Seals
from eventdbx.storage.store import Store, Transaction

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Runs a plain function on another thread."""

SEALED_AT_ONCE = 64
"""Values that are sealed in one step, so that nobody waits for long."""

_HEADS, _EVENTS = ord("h"), ord("e")
_EVERYTHING = (b"\x01", b"\xff" * 8)


class Sealing(NamedTuple):
    """How far the sealing of what is plain has come: values so far, where it is (0 to 1)."""

    values: int
    share: float


def _at_once(work: Callable[[], Any]) -> Deferred[Any]:
    return succeed(work())


class DataKeys:
    """The data keys of one store, which need not be sealed at all."""

    def __init__(self, store: Store, writer: Writer, seals: Seals | None = None) -> None:
        self._store = store
        self._writer = writer
        self._seals = seals
        self._rewrap: Iterator[tuple[int, int]] | None = None
        self._after = b"\x01"
        self._values = 0
        self.trouble: str | None = None
        """What keeps the keys from being wrapped anew, or values from being sealed."""
        self.on_purge: Sequence[Callable[[], None]] = ()
        """Called before files are rewritten: for who holds views of what was there."""

    @property
    def slots(self) -> KeySlots | None:
        """The keys, None where there are none."""
        return None if self._seals is None else self._seals.slots

    @property
    def has_plain(self) -> bool:
        """Whether there may be values that are not sealed, though they should be."""
        return self._seals is not None and self._seals.sealing and not self._seals.strict

    @property
    def all_sealed(self) -> bool:
        """Whether no value is plain, and none would be believed."""
        return self._seals is not None and self._seals.strict

    def sealing(self) -> Sealing | None:
        """How far the pass is that seals what is plain; None while there is none to make."""
        if not self.has_plain:
            return None
        begins = self._after[:2].ljust(2, b"\0")
        return Sealing(self._values, round(int.from_bytes(begins, "big") / 0x7FFF, 3))

    def plain_values(self) -> int:
        """Count the values that are plain, all of them if sealing is off. Any thread may ask."""
        view = self._store.view()
        if self.all_sealed or not isinstance(view, SealedView):
            return 0
        return plain_values(view)

    def is_wrapped_by(self, wrapping: bytes) -> bool:
        """Tell whether a configured key is the one that wraps the data keys, if there are any."""
        return self.slots is None or self.slots.wrapped_by(wrapping)

    async def rewrap_some(self, wrapping: bytes, run_slowly: RunSlowly = _at_once) -> bool:
        """Wrap some more keys by a configured key. Return False once all of them are.

        Raises StorageError; then, and after :meth:`give_up`, the file is as it was before.
        """
        if self._rewrap is None:
            if self.slots is None or self.is_wrapped_by(wrapping):
                return False
            self._rewrap = self.slots.rewrap(wrapping)
        steps = self._rewrap
        try:
            done: tuple[int, int] | None = await run_slowly(lambda: next(steps, None))
        except BaseException:
            self._rewrap = None
            raise
        if done is None:
            self._rewrap = None
        return done is not None

    def give_up(self) -> None:
        """Let go of a rewrap between two steps."""
        steps, self._rewrap = self._rewrap, None
        if steps is not None:
            steps.close()  # type: ignore[attr-defined]

    async def seal_some(self, run_slowly: RunSlowly = _at_once) -> bool:
        """Seal some of what is plain. Return False once nothing is, which the store then knows.

        Raises StorageError where a record is damaged, and nothing changes.
        """
        seals = self._seals
        if not self.has_plain or seals is None:
            return False
        found, rest = await run_slowly(_looking(self._store.view(), self._after))
        if found:
            await self._store.transact(lambda transaction: self._put_again(transaction, found))
            self._values += len(found)
        if rest is not None:
            self._after = rest
            return True
        # First of all what was there before is gone from the files: whoever is killed here
        # looks through the store again, and does this again.
        for call in self.on_purge:
            call()
        await run_slowly(lambda: self._store.purge((_EVERYTHING,), logs=True))
        assert seals.slots is not None
        identity = seals.slots.identity
        await self._store.transact(lambda transaction: transaction.put(ALL_KEY, identity))
        seals.strict = True
        return False

    def _put_again(self, transaction: Transaction, found: Sequence[bytes]) -> None:
        """Put values as they are: on their way down they are sealed, if they still are there."""
        work = Work(self._writer, transaction)
        for key in found:
            value = transaction.get(key)
            if value is None:
                continue
            if key[0] in FAMILIES and not parts(value)[2]:
                value = with_slots(value, self._slots(work, transaction, key, value))
            transaction.put(key, value)
        work.finish(keep_new=False)

    def _slots(
        self, work: Work, transaction: Transaction, key: bytes, value: bytes
    ) -> tuple[int, ...]:
        """Return the slots for the content of a record, as if it were written now.

        An aggregate that has no key gets one, and a data subject does. Events come before what is
        made of them, so a subject is known by then.
        """
        assert self._seals is not None
        if key.startswith(keys.STAGED):
            return (self._seals.new_slot(),)
        name = key[2:] if key[0] == _HEADS else key[1:-8]
        before = head = work.load(name)
        if head is None or before is None:
            return ()
        subject = self._subject_slot(transaction, value) if key[0] == _EVENTS else 0
        if not head.key_slot:
            head = work.with_new_keys(head)
        if subject and not head.state_slot:
            head = head._replace(state_slot=self._seals.new_slot())
        if head is not before:
            work.move(name, before, head)
        if key[0] == _EVENTS:
            return (head.key_slot, subject) if subject else (head.key_slot,)
        return head.content_slots

    def _subject_slot(self, transaction: Transaction, record: bytes) -> int:
        """Return the slot of whom an event is about; 0 for nobody."""
        assert self._seals is not None
        name = subject_of(decode_event(record))
        key = None if name is None else subject_key(transaction, name)
        row = None if key is None else transaction.get(key)
        if key is None or row is None:
            return 0
        subject = decode_subject(row)
        if not subject.slot:
            subject = subject._replace(slot=self._seals.new_slot())
            transaction.put(key, encode_subject(subject))
        return subject.slot


def _looking(view: IReadView, after: bytes) -> Callable[[], tuple[list[bytes], bytes | None]]:
    """Return what looks at a part of a view, once, and lets go of it: a thread may remember what
    it has run last, and files cannot be rewritten while somebody has a view."""
    views = [view]

    def look() -> tuple[list[bytes], bytes | None]:
        view = views.pop()
        return view.unsealed(after, SEALED_AT_ONCE) if isinstance(view, SealedView) else ([], None)

    return look


def plain_values(view: SealedView) -> int:
    """Count the values of a store that are not sealed as they should be. Reads all of it."""
    found, after = 0, b"\x01"
    while True:
        keys, rest = view.unsealed(after, 1_000)
        found += len(keys)
        if rest is None:
            return found
        after = rest

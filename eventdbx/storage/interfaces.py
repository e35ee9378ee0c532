"""The port of the store: ordered keys, point reads, range scans and one atomic batch.

Nothing above this file knows which adapter it speaks to. What keys and records look like is
in ``storage.keys`` and ``storage.records``; batching and acknowledgement are in
``storage.store``. Both adapters run the same contract suite (tests/storage).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from zope.interface import Attribute, Interface

Changes: TypeAlias = Mapping[bytes, "bytes | None"]
"""One batch: key to new value; None deletes, and deleting what is not there is no error."""


class IReadView(Interface):
    """What the store held at one moment. Later writes never show.

    A view may be read from any thread. It costs the store memory or disk while it is
    referenced, so keep it for one request, not for a session. Reading a view after its store
    was closed raises :class:`eventdbx.errors.StorageError`.
    """

    def get(key: bytes) -> bytes | None:
        """The value of ``key``, or None."""

    def scan(start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with ``start <= key < stop`` in byte order, descending if ``reverse``.

        Lazy: taking the first k pairs costs O(log n + k). ``stop <= start`` yields nothing.
        """


class IOrderedStore(Interface):
    """Ordered keys and values, both bytes.

    Foreign errors are translated: every method raises :class:`eventdbx.errors.StorageError`
    and nothing else. Reads come from any thread, writes from one thread at a time.
    """

    watch = Attribute("Whom to tell of reads and writes (storage.watching), or None.")

    def view() -> IReadView:
        """A view of everything written so far; cheap (about a microsecond)."""

    def get(key: bytes) -> bytes | None:
        """The newest value of ``key``, or None."""

    def write(changes: Changes, *, sync: bool) -> None:
        """Apply one batch: all of it or, after a crash, nothing of it.

        On return with ``sync`` true the batch, and every batch before it, survives a power
        cut. With ``sync`` false it survives the death of this process only. The interpreter
        lock is not held while the disk works.
        """

    def sync() -> None:
        """Make every batch written so far survive a power cut."""

    def used_bytes() -> int:
        """What is stored, in bytes: tables, memory that will become one, the log of that memory.

        Cheap (microseconds), and from any thread.
        """

    def statistics() -> dict[str, int]:
        """Sizes for operators: ``bytes_on_disk``, ``keys`` (estimated) and what else is known."""

    def checkpoint(path: str) -> None:
        """Write a consistent copy of the store to the new folder ``path``."""

    def purge(ranges: Sequence[tuple[bytes, bytes]], *, logs: bool) -> None:
        """Rewrite what is stored of some ranges (start, stop), so that no file holds any more what
        was overwritten or deleted there; with ``logs`` the write-ahead logs as well, and views of
        earlier moments are waited for, because of which it would be kept.

        Blocks for as long as it takes: for another thread, while the store is written.
        """

    def close() -> None:
        """Release the store and its lock. Closing twice is no error."""


class IHop(Interface):
    """Where commits run: a thread in life, the caller itself offline, a stepper in tests."""

    def gather(depart: Callable[[], None]) -> None:
        """Call ``depart`` once, when what arrives together has arrived; at once if unknown."""

    def quick() -> bool:
        """Whether a ``brief`` errand given to :meth:`run` now would be over when it returns."""

    def run(work: Callable[[], None], done: Callable[[], None], *, brief: bool) -> None:
        """Call ``work`` once, which may block, then ``done`` on the caller's thread.

        Pairs are called in order, one at a time; neither callable raises. ``brief`` says that
        nothing else waits for the disk and that the work is one sync, so that blocking for it
        may be cheaper than going elsewhere.
        """

    def stop() -> None:
        """No call follows. Resources go once the last ``done`` has been called."""

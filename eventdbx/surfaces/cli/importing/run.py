"""One import at work: rows to batches, batches to the store, and what becomes of refused ones.

One batch is on its way while the next one is read, so that a server works on one while this
process works on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from eventdbx import limits
from eventdbx.domain.commands import Write
from eventdbx.errors import EventDBXError, IoError, StorageError
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.importing.lines import Lines, Mark
from eventdbx.surfaces.cli.importing.rows import REFUSED, Bad, Row, reason
from eventdbx.surfaces.cli.importing.skipping import Skipped
from eventdbx.surfaces.cli.importing.state import State
from eventdbx.surfaces.cli.output import note
from eventdbx.surfaces.cli.progress import Progress

if TYPE_CHECKING:
    from eventdbx.surfaces.cli.session import Database
    from eventdbx.surfaces.control.calls import Call, Calls


class Batch(NamedTuple):
    """What consecutive lines come to, and the file up to behind them."""

    items: list[Row | Bad]
    begin: Mark
    end: int
    line: int
    digest: str

    def writes(self) -> list[Write]:
        """Return what it writes."""
        return [one.write for one in self.items if isinstance(one, Row)]

    def bads(self) -> list[Bad]:
        """Return what is left out of it."""
        return [one for one in self.items if isinstance(one, Bad)]


class _Wrong(Exception):
    """A line that is refused, where none is left out."""

    def __init__(self, bad: Bad) -> None:
        self.bad = bad
        super().__init__()


class Way:
    """Carries out commits; through a server, one can be on its way while others are made."""

    def __init__(self, way: Database, calls: Calls) -> None:
        from eventdbx.surfaces.control.blocking import BlockingClient

        self._way = way
        self._calls = calls
        self._client = way if isinstance(way, BlockingClient) else None
        self._call: Call[Any] | None = None
        self._identifier = 0

    def start(self, writes: list[Write], key: str) -> None:
        """Begin to commit these writes under a key."""
        self._call = self._calls.commit_batch(writes, idempotency_key=key, answer="receipts")
        if self._client is not None:
            self._identifier = self._client.start(self._call)

    def finish(self) -> list[dict[str, Any]]:
        """Return the receipts when they are committed. Raises EventDBXError if they are not."""
        assert self._call is not None
        call, self._call = self._call, None
        if self._client is None:
            return self._way.call(call)
        return self._client.finish(call, self._identifier)

    def commit(self, writes: list[Write], key: str) -> list[dict[str, Any]]:
        """Commit these writes under a key."""
        self.start(writes, key)
        return self.finish()


class Importer:
    """Writes the rows of a file behind the place of a state.

    ``known`` says of rows whether they are in the log already; it is asked of the first batches
    only, if their keys may be forgotten. Without ``skipped`` the first refused line ends it.
    """

    def __init__(
        self,
        name: str,
        lines: Lines,
        rows: Iterator[Row | Bad],
        state: State,
        way: Way,
        *,
        skipped: Skipped | None,
        known: Callable[[list[Write]], bool] | None,
        progress: Progress,
    ) -> None:
        self._name = name
        self._lines = lines
        self._rows = rows
        self._state = state
        self._way = way
        self._skipped = skipped
        self._known = known
        self._progress = progress
        self.batches = 0

    def run(self) -> None:
        """Write everything. Raises Failure with the line that was refused, or what else failed."""
        try:
            self._state.save()  # Before anything is written: the keys follow from it.
            batch = self._next(self._state.size or self._state.batch_size)
            while batch is not None:
                batch = self._written(batch)
        except _Wrong as wrong:
            self._stop(wrong.bad.line, wrong.bad.error)
        except KeyboardInterrupt:
            note(f"interrupted: {self._so_far()}")
            raise
        self._state.clear()

    def _written(self, batch: Batch) -> Batch | None:
        """Write a batch; return the next one, which is read meanwhile."""
        writes = batch.writes()
        sent = bool(writes) and not self._is_known(writes)
        if sent:
            self._send(writes)
        self._state.save()
        following: Batch | _Wrong | None
        try:
            following = self._next(self._state.batch_size)
        except _Wrong as wrong:
            following = wrong
        if sent:
            try:
                self._keep_last(writes, self._way.finish())
            except EventDBXError as error:
                self._refused(batch, error)
                batch = batch._replace(items=[])
        self._done(batch, len(batch.items and writes))
        if isinstance(following, _Wrong):
            raise following
        return following

    def _send(self, writes: list[Write]) -> None:
        try:
            self._way.start(writes, self._state.key)
        except EventDBXError as error:
            self._stop(None, error)

    def _is_known(self, writes: list[Write]) -> bool:
        """Say whether these are written already, though the store may have forgotten their key."""
        if self._known is not None and self._known(writes):
            return True
        self._known = None
        return False

    def _next(self, size: int) -> Batch | None:
        """Return the next batch of so many lines; None at the end. Raises _Wrong."""
        items: list[Row | Bad] = []
        begin = self._lines.mark()
        room = limits.IMPORT_BATCH_BYTES_MAX
        for one in self._rows:
            items.append(one)
            if isinstance(one, Row):
                room -= _size(one.write)
            elif self._skipped is None:
                raise _Wrong(one)
            if len(items) == size or room <= 0:
                break
        lines = self._lines
        return Batch(items, begin, lines.offset, lines.number, lines.digest()) if items else None

    def _done(self, batch: Batch, written: int) -> None:
        """Note that a batch is written, and put down what was left out of it."""
        state = self._state
        self._count(written)
        state.offset, state.line, state.digest = batch.end, batch.line, batch.digest
        state.size = None
        self._put_down(batch.bads())

    def _keep_last(self, writes: list[Write], receipts: list[dict[str, Any]]) -> None:
        one = writes[-1]
        self._state.last = receipts[-1]["event_id"], one.aggregate_type, one.aggregate_id

    def _count(self, written: int) -> None:
        if written:
            self._state.number += 1
            self._state.events += written
            self.batches += 1
            self._progress.advance(written)

    def _put_down(self, bads: list[Bad]) -> None:
        if bads:
            assert self._skipped is not None
            self._state.errors_bytes = self._skipped.add(bads)
            self._state.skipped += len(bads)

    def _refused(self, batch: Batch, error: EventDBXError) -> None:
        """Write what can be of a batch that was refused, in parts around the refused lines.

        Each part is noted before it is sent, so that it is the same one when it is sent again.
        Raises Failure where nothing is to be left out, and for what is not about a line.
        """
        items, mark = list(batch.items), batch.begin
        size = self._point(items, error)
        while items:
            part = batch._replace(items=items[:size])
            self._state.size = len(part.items)
            self._state.save()
            try:
                if part.writes():
                    made = self._way.commit(part.writes(), self._state.key)
                    self._keep_last(part.writes(), made)
            except EventDBXError as refusal:
                size = self._point(items, refusal, size)
                continue
            self._count(len(part.writes()))
            self._put_down(part.bads())
            mark = self._go_behind(mark, part.items[-1])
            items = items[size:]
            size = min(2 * size, self._state.batch_size)

    def _go_behind(self, mark: Mark, item: Row | Bad) -> Mark:
        """Note that everything up to behind an item is done; return the place, from another."""
        state = self._state
        state.offset, state.line = item.end, item.last
        if state.path is not None:
            mark = self._lines.mark_behind(mark, item.end)
            state.digest = mark.digest.hexdigest()
        return mark

    def _point(self, items: list[Row | Bad], error: EventDBXError, size: int | None = None) -> int:
        """Return how many items are to be written next, now that one of so many was refused.

        Those before the refused one are good; that one becomes bad when it is the first.
        """
        rows = [place for place, one in enumerate(items[:size]) if isinstance(one, Row)]
        number = error.write
        ours = f"'{self._state.key}'" in str(error)
        if number is None and len(rows) == 1 and isinstance(error, REFUSED) and not ours:
            number = 0
        if number is None:
            self._stop(None, error)
        place = rows[number]
        row = items[place]
        assert isinstance(row, Row)
        if self._skipped is None:
            self._stop(row.line, error)
        if place == 0:
            content = row.write.content or b""
            text = content if isinstance(content, bytes) else content.encode()
            items[0] = Bad(row.line, row.last, row.end, error, text)
        return max(place, 1)

    def _stop(self, line: int | None, error: EventDBXError) -> NoReturn:
        """Raise the failure that ends the import."""
        state = self._state
        where = self._name if line is None else f"{self._name} line {line}"
        why = reason(error)
        if f"'{state.key}'" in why:
            why = f"what is behind line {state.line} was written already, and was not the same"
        # A batch that was refused is not written; where no answer came, who knows.
        certain = not isinstance(error, IoError | StorageError)
        if certain and not (state.events or state.resumed):
            state.clear()
            raise Failure(f"{where}: {why}", "nothing was written", code=error.code)
        state.save()
        raise Failure(f"{where}: {why}", self._so_far(certain=certain), code=error.code)

    def _so_far(self, *, certain: bool = False) -> str:
        """Return what is written, and how to go on."""
        state = self._state
        done = f"{state.events:,} events up to line {state.line:,} are written"
        if state.path is not None:
            return f"{done}; --resume goes on there"
        return done if certain else f"{done}, those behind it perhaps"


def _size(write: Write) -> int:
    return len(write.content or b"") + len(write.metadata or b"") + 256

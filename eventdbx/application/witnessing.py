"""Being a witness of others' logs: what was cosigned last for each, and the answers (C2SP
tlog-witness).

A cosignature says that this is the largest tree of a log that was seen, and that it contains all
those seen before. So what was seen is kept before the cosignature is given, and never gets less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred, DeferredLock

from eventdbx import limits
from eventdbx.application.checkpoint_keys import Signer, verify
from eventdbx.domain.checkpoints import Checkpoint, cosign
from eventdbx.domain.notes import NoteError, NoteKey, check_note
from eventdbx.domain.proofs import ProofError
from eventdbx.domain.witnessing import OtherSize, Submission, check_submission, parse_submission

TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"


class Reply(NamedTuple):
    """An answer over HTTP."""

    status: int
    body: bytes
    content_type: str = TEXT


class Memory(Protocol):
    """Where it is kept what was cosigned last. Both may block, and raise EventDBXError."""

    def read(self) -> Mapping[str, Checkpoint]:
        """Return the last checkpoint of each log, by origin."""

    def keep(self, seen: Mapping[str, Checkpoint]) -> None:
        """Make them durable, all in one step."""


class Witness:
    """Cosigns checkpoints of the logs that ``keys`` names, one request after the other."""

    def __init__(
        self,
        keys: Callable[[], Sequence[NoteKey]],
        signer: Callable[[], Signer],
        memory: Memory,
        *,
        run_slowly: Callable[[Callable[[], None]], Deferred[None]],
        seconds: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._signer = signer
        self._memory = memory
        self._run_slowly = run_slowly
        self._seconds = seconds
        self._turn = DeferredLock()
        self._seen: dict[str, Checkpoint] | None = None

    async def add_checkpoint(self, raw: bytes) -> Reply:
        """Answer a request. Raises EventDBXError if what was seen cannot be kept or read."""
        try:
            submission = parse_submission(raw)
        except NoteError as error:
            return _refusal(400, error)
        origin = submission.checkpoint.origin
        keys = [key for key in self._keys() if key.name == origin]
        if not keys:
            return _refusal(404, "this log is not witnessed here")
        try:
            check_note(submission.note, keys, verify)
        except NoteError as error:
            return _refusal(403, error)
        if len(self._turn.waiting) >= limits.WITNESS_REQUESTS_WAITING_MAX:
            return _refusal(503, "too many requests wait")
        done: Deferred[Reply] = Deferred()
        # Whoever hangs up stops waiting; what is being written is not let out of sight.
        Deferred.fromCoroutine(self._in_turn(submission)).addBoth(done.callback)
        return await done

    async def _in_turn(self, submission: Submission) -> Reply:
        await self._turn.acquire()
        try:
            return await self._cosign(submission)
        finally:
            self._turn.release()

    async def _cosign(self, submission: Submission) -> Reply:
        if self._seen is None:
            await self._run_slowly(self._recall)
        before = self._seen
        assert before is not None
        checkpoint = submission.checkpoint
        last = before.get(checkpoint.origin)
        try:
            check_submission(submission, last)
        except OtherSize as error:
            return Reply(409, f"{error.size}\n".encode(), SIZE)
        except ProofError as error:
            return _refusal(422, error)
        # The same tree again, which anybody can send who has its checkpoint, costs no disk.
        if last is None or (last.size, last.root) != (checkpoint.size, checkpoint.root):
            seen = {**before, checkpoint.origin: checkpoint}
            self._seen = None  # If it fails, what is there now is read again.
            await self._run_slowly(lambda: self._memory.keep(seen))
            self._seen = seen
        signer = self._signer()
        line = cosign(
            submission.note.text,
            signer.witness_key,
            int(self._seconds()),
            signer.sign_as_witness,
        ).line()
        return Reply(200, line.encode())

    def _recall(self) -> None:
        self._seen = dict(self._memory.read())


def _refusal(status: int, reason: object) -> Reply:
    return Reply(status, f"{reason}\n".encode())

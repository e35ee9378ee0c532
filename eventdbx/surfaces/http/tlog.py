"""The logs of the installation for strangers: checkpoints and hashes as C2SP tlog-tiles has them,
cosignatures, and the witness of others' logs.

Entries are not served: they are events. Hashes tell how many there are and nothing of what is in
them. Nobody has to show a token; whoever posts nonsense has a budget, as with wrong tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from eventdbx import limits
from eventdbx.application.attempts import Attempts
from eventdbx.application.checkpointing import Checkpoints, Signed
from eventdbx.application.witnessing import TEXT, Reply, Witness
from eventdbx.domain.identifiers import check_domain_name
from eventdbx.domain.notes import NoteError, NoteKey, parse_decimal, parse_signatures
from eventdbx.domain.tiles import TileError, parse_path
from eventdbx.errors import AttemptsExceeded, ConfigError, EventDBXError

PREFIX = b"/tlog/"
_WITNESS = "witness/add-checkpoint"
_NEW = "public, max-age=1"
_FOREVER = "public, max-age=31536000, immutable"
_NOT_FOUND = Reply(404, b"not found\n")
_NONSENSE = frozenset((400, 403, 413, 422))

log = Logger()


class Logs(Protocol):
    """The logs of the domains, for whoever knows their names."""

    def newest(self, domain: str) -> Signed | None:
        """Return the newest checkpoint of a domain, open or not; None if there is none.

        Nothing is opened for it. Raises EventDBXError.
        """

    def checkpoints(self, domain: str) -> Checkpoints:
        """Return what a domain that has a checkpoint knows of its log, and open it."""


class Tlog:
    """The routes below ``/tlog``; ``publishes`` False hides those of our own logs."""

    def __init__(
        self,
        logs: Logs,
        witness: Witness,
        *,
        witnesses: Callable[[], Sequence[NoteKey]],
        publishes: Callable[[], bool],
        attempts: Attempts,
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
    ) -> None:
        self._logs = logs
        self._witness = witness
        self._witnesses = witnesses
        self._publishes = publishes
        self._attempts = attempts
        self._run_slowly = run_slowly

    def render(self, request: Any) -> Any:
        """Answer a request whose path is below the prefix."""
        working = Deferred.fromCoroutine(self._answer(request))
        finished = request.notifyFinish()
        finished.addErrback(lambda _gone: working.cancel())

        def write(outcome: Reply | Failure) -> None:
            if isinstance(outcome, Failure):
                if outcome.check(CancelledError):
                    return
                log.failure("a request below /tlog failed", failure=outcome)
                outcome = Reply(500, b"internal error\n")
            request.setResponseCode(outcome.status)
            request.setHeader("Content-Type", outcome.content_type)
            request.setHeader("X-Content-Type-Options", "nosniff")
            request.setHeader("Content-Length", str(len(outcome.body)))
            request.write(outcome.body)
            request.finish()

        working.addBoth(write)
        return NOT_DONE_YET

    async def _answer(self, request: Any) -> Reply:
        name, method = route_of(request.path), request.method
        if name == "":
            return _NOT_FOUND
        allowed = (b"POST",) if name in _POSTED else (b"GET", b"HEAD")
        if method not in allowed:
            request.setHeader("Allow", ", ".join(one.decode() for one in allowed))
            return Reply(405, b"")
        path = request.path[len(PREFIX) :].decode("ascii")
        domain, _, rest = path.partition("/")
        try:
            if name in _POSTED:
                return await self._posted(request, domain, path)
            if rest == "checkpoint":
                return self._checkpoint(request, domain)
            return await self._tile(request, domain, rest)
        except EventDBXError as error:
            log.error("{path} could not be answered: {reason}", path=path, reason=error.detail)
            return Reply(503, b"unavailable\n")

    # Reading

    def _checkpoint(self, request: Any, domain: str) -> Reply:
        newest = self._newest(domain)
        if newest is None:
            return _NOT_FOUND
        request.setHeader("Cache-Control", _NEW)
        return Reply(200, newest.note.encode())

    async def _tile(self, request: Any, domain: str, path: str) -> Reply:
        try:
            tile = parse_path(path)
        except TileError:
            return _NOT_FOUND
        newest = self._newest(domain)
        if newest is None or tile.level is None or not tile.within(newest.size):
            return _NOT_FOUND
        address = _address(request)
        try:
            self._attempts.check(address)
            checkpoints = self._logs.checkpoints(domain)
        except AttemptsExceeded as error:
            return _later(request, error)
        except EventDBXError:
            # Who asks on and on for what cannot be opened would have it tried on and on.
            self._attempts.failed(address)
            raise
        body = await self._run_slowly(lambda: checkpoints.tile(tile))
        request.setHeader("Cache-Control", _FOREVER)
        return Reply(200, body, "application/octet-stream")

    def _newest(self, domain: str) -> Signed | None:
        if not self._publishes():
            return None
        try:
            if check_domain_name(domain) != domain:
                return None
        except ConfigError:
            return None
        return self._logs.newest(domain)

    # Posting

    async def _posted(self, request: Any, domain: str, path: str) -> Reply:
        address = _address(request)
        try:
            self._attempts.check(address)
        except AttemptsExceeded as error:
            return _later(request, error)
        body = _body(request)
        if body is None:
            reply = Reply(413, b"the body is too long\n")
        elif path == _WITNESS:
            reply = await self._witness.add_checkpoint(body)
        else:
            reply = await self._cosigned(request, domain, body)
        if reply.status in _NONSENSE:
            self._attempts.failed(address)
        return reply

    async def _cosigned(self, request: Any, domain: str, body: bytes) -> Reply:
        """Take cosignatures of the newest checkpoint, or of that with ``?size=``."""
        newest = self._newest(domain)
        if newest is None:
            return _NOT_FOUND
        witnesses = self._witnesses()
        names = {(key.name, key.id) for key in witnesses}
        try:
            size = _size(request, newest)
            lines = parse_signatures(body)
            if not any((one.name, one.key_id) in names for one in lines):
                return Reply(403, b"none of these witnesses is known here\n")
            checkpoints = self._logs.checkpoints(domain)
            if checkpoints.at(size) is None:
                return Reply(404, f"there is no checkpoint of size {size}\n".encode())
            note = await checkpoints.add_signatures(size, lines, witnesses)
        except NoteError as error:
            return Reply(400, f"{error}\n".encode())
        return Reply(200, note.encode(), TEXT)


_POSTED = frozenset(("/tlog/witness/add-checkpoint", "/tlog/:domain/cosignature"))


def route_of(path: bytes) -> str:
    """Return the pattern of the route that a path has, "" if it has none."""
    if not path.startswith(PREFIX) or not path.isascii():
        return ""
    if path == PREFIX + _WITNESS.encode():
        return "/tlog/witness/add-checkpoint"
    _domain, slash, rest = path[len(PREFIX) :].partition(b"/")
    if rest in (b"checkpoint", b"cosignature"):
        return f"/tlog/:domain/{rest.decode()}"
    return "/tlog/:domain/tile" if slash and rest.startswith(b"tile/") else ""


def _address(request: Any) -> str:
    return str(getattr(request.getClientAddress(), "host", ""))


def _later(request: Any, error: AttemptsExceeded) -> Reply:
    request.setHeader("Retry-After", str(error.retry_after_s))
    return Reply(429, f"{error.detail}\n".encode())


def _body(request: Any) -> bytes | None:
    """Return the body, None when it is too long."""
    if request.too_large:
        return None
    body: bytes = request.content.read(limits.WITNESS_REQUEST_BYTES_MAX + 1)
    return None if len(body) > limits.WITNESS_REQUEST_BYTES_MAX else body


def _size(request: Any, newest: Signed) -> int:
    """Return which checkpoint is meant."""
    given = request.args.get(b"size")
    if given is None:
        return newest.size
    return parse_decimal(given[0].decode("latin-1"), limits.TREE_SIZE_MAX, "the size")

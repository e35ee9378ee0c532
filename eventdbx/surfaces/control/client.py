"""A client for Twisted: one connection, any number of calls at a time.

Every method returns a Deferred; it fails with the :mod:`eventdbx.errors` class of the server's
error code, or with IoError when the connection is lost. Calls are sent at once and answered in
order, so a caller that does not wait between them pipelines. Options of the three writes:
metadata, note, publish, expected_version, idempotency_key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from eventdbx.domain.commands import Write
from eventdbx.errors import IoError, SerializationError
from eventdbx.surfaces.control.async_follower import AsyncFollower
from eventdbx.surfaces.control.calls import (
    Call,
    Calls,
    Listed,
    OutboxRead,
    Waited,
    rejection,
    result_of,
    sends_token,
)
from eventdbx.surfaces.control.follower import WAIT_S, Course, FollowOptions
from eventdbx.surfaces.control.transport import unsent
from eventdbx.wire import requests as rq
from eventdbx.wire.client_connection import (
    AnswerReceived,
    BadServer,
    ClientConnection,
    Established,
)

T = TypeVar("T")
list_ = list
"""The built-in, where the method of that name hides it."""


class _ClientProtocol(Protocol):
    """The session's transport: feeds the wire and hands out answers in order."""

    def __init__(self, wire: ClientConnection) -> None:
        self.wire = wire
        self.established: Deferred[None] = Deferred()
        self.waiting: deque[tuple[Call[Any], Deferred[Any]]] = deque()
        self.lost: Deferred[None] = Deferred()
        self.reason: Exception | None = None
        self._reading = False

    def connectionMade(self) -> None:
        """Greet the server."""
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        """Hand answers to their callers."""
        try:
            events = self.wire.receive_data(data)
        except BadServer as error:
            self.end(IoError(str(error)))
            return
        # What the callers of these answers ask for in turn goes out together, at the end.
        self._reading = True
        for event in events:
            if isinstance(event, AnswerReceived):
                self._answer(event)
            elif isinstance(event, Established):
                self.established.callback(None)
            else:
                self.end(rejection(event))
        self._reading = False
        self._flush()

    def _answer(self, event: AnswerReceived) -> None:
        if not self.waiting:
            return
        call, deferred = self.waiting.popleft()
        try:
            result = result_of(call, event.reply)
        except Exception:
            deferred.errback(Failure())
        else:
            deferred.callback(result)

    def ask(self, call: Call[T], deferred: Deferred[T]) -> None:
        """Queue a request. Raises SerializationError.

        The first one goes out at once; those behind it, as the reactor would send them, together.
        """
        self.wire.send_request(call.request)
        self.waiting.append((call, deferred))
        if not self._reading:
            self._flush(at_once=len(self.waiting) == 1)

    def _flush(self, *, at_once: bool = True) -> None:
        """Send what is queued."""
        data = self.wire.data_to_send()
        transport: Any = self.transport
        if at_once and isinstance(transport, Connection) and not transport.TLS:
            data = unsent(transport, data)
        if data and transport is not None:
            transport.write(data)

    def end(self, reason: Exception) -> None:
        """Close, and let every waiting call fail with the reason."""
        self.reason = self.reason or reason
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail whatever still waits."""
        refused = self.wire.closed()
        closed = IoError("the server closed the connection")
        error = self.reason or (closed if refused is None else rejection(refused))
        self.reason = error
        if not self.established.called:
            self.established.errback(error)
        waiting, self.waiting = self.waiting, deque()
        for _call, deferred in waiting:
            deferred.errback(error)
        self.lost.callback(None)


class Client:
    """One session with a server; make it with :meth:`connect`."""

    def __init__(
        self, protocol: _ClientProtocol, token: str, another: Callable[[], Awaitable[Client]]
    ) -> None:
        self._protocol = protocol
        self._calls = Calls(token)
        self._another = another

    @classmethod
    async def connect(
        cls,
        endpoint: IStreamClientEndpoint,
        token: str,
        *,
        tenant: str | None = None,
        no_noise: bool = False,
        send_token: bool | None = None,
    ) -> Client:
        """Connect and open a session; raises IoError or ConfigError.

        The token is proven, not sent; ``send_token`` is for tokens that the server did not issue
        itself, None takes the word of EVENTDBX_SEND_TOKEN. For TLS give an endpoint that has it
        (``twisted.internet.endpoints.wrapClientTLS``).
        """
        sends = sends_token() if send_token is None else send_token

        def greeting() -> ClientConnection:
            return ClientConnection(token, tenant=tenant, no_noise=no_noise, send_token=sends)

        greeting()  # A token that cannot be shown is no reason to connect.
        factory = Factory.forProtocol(lambda: _ClientProtocol(greeting()))
        factory.noisy = False
        try:
            protocol = await endpoint.connect(factory)
        except Exception as error:
            raise IoError(f"cannot connect: {error}") from None
        assert isinstance(protocol, _ClientProtocol)
        await protocol.established
        return cls(
            protocol,
            token,
            lambda: cls.connect(
                endpoint, token, tenant=tenant, no_noise=no_noise, send_token=sends
            ),
        )

    def call(self, call: Call[T]) -> Deferred[T]:
        """Send one call; the Deferred fires with its result."""
        protocol = self._protocol
        if protocol.reason is not None:
            return fail(protocol.reason)
        deferred: Deferred[T] = Deferred()
        try:
            protocol.ask(call, deferred)
        except SerializationError as error:
            return fail(error)
        return deferred

    def close(self) -> Deferred[None]:
        """Close the session; fires when the connection is gone."""
        self._protocol.end(IoError("the client was closed"))
        return self._protocol.lost

    def create(
        self, aggregate_type: str, aggregate_id: str, event_type: str, payload: Any, **options: Any
    ) -> Deferred[dict[str, Any] | None]:
        """Create an aggregate with its first event; return the aggregate."""
        return self.call(
            self._calls.write(
                rq.CreateAggregate, aggregate_type, aggregate_id, event_type, payload, **options
            )
        )

    def append(
        self, aggregate_type: str, aggregate_id: str, event_type: str, payload: Any, **options: Any
    ) -> Deferred[dict[str, Any] | None]:
        """Append an event, creating the aggregate when there is none; return the event."""
        return self.call(
            self._calls.write(
                rq.AppendEvent, aggregate_type, aggregate_id, event_type, payload, **options
            )
        )

    def apply(
        self, aggregate_type: str, aggregate_id: str, event_type: str, payload: Any, **options: Any
    ) -> Deferred[dict[str, Any]]:
        """Append an event to an aggregate that must exist; return the event."""
        return self.call(
            self._calls.apply(aggregate_type, aggregate_id, event_type, payload, **options)
        )

    def patch(
        self, aggregate_type: str, aggregate_id: str, event_type: str, patch: Any, **options: Any
    ) -> Deferred[dict[str, Any] | None]:
        """Append the event that a JSON Patch (RFC 6902) of the state comes to; return it."""
        return self.call(
            self._calls.write(
                rq.PatchEvent, aggregate_type, aggregate_id, event_type, patch, **options
            )
        )

    def get(self, aggregate_type: str, aggregate_id: str) -> Deferred[dict[str, Any] | None]:
        """Return an aggregate, or None."""
        return self.call(self._calls.get(aggregate_type, aggregate_id))

    def select(
        self, aggregate_type: str, aggregate_id: str, *fields: str
    ) -> Deferred[dict[str, Any] | None]:
        """Return the values at dotted paths of the state, or None without the aggregate."""
        return self.call(self._calls.select(aggregate_type, aggregate_id, fields))

    def list(self, **options: Any) -> Deferred[Listed]:
        """Return a page of aggregates (take, cursor, filter, sort, include_archived, …)."""
        return self.call(self._calls.list(**options))

    def events(self, aggregate_type: str, aggregate_id: str, **options: Any) -> Deferred[Listed]:
        """Return a page of an aggregate's events (take, cursor, filter)."""
        return self.call(self._calls.events(aggregate_type, aggregate_id, **options))

    def verify(self, aggregate_type: str, aggregate_id: str) -> Deferred[str]:
        """Return the Merkle root, recomputed from the stored events."""
        return self.call(self._calls.verify(aggregate_type, aggregate_id))

    def archive(
        self, aggregate_type: str, aggregate_id: str, note: str | None = None
    ) -> Deferred[dict[str, Any] | None]:
        """Archive an aggregate; return it."""
        return self.call(self._calls.set_archive(aggregate_type, aggregate_id, True, note))

    def restore(
        self, aggregate_type: str, aggregate_id: str, note: str | None = None
    ) -> Deferred[dict[str, Any] | None]:
        """Bring an archived aggregate back; return it."""
        return self.call(self._calls.set_archive(aggregate_type, aggregate_id, False, note))

    def snapshot(
        self, aggregate_type: str, aggregate_id: str, comment: str | None = None
    ) -> Deferred[dict[str, Any]]:
        """Keep the present state under a snapshot id; return the snapshot."""
        return self.call(self._calls.snapshot(aggregate_type, aggregate_id, comment))

    def snapshots(
        self,
        aggregate_type: str | None = None,
        aggregate_id: str | None = None,
        version: int | None = None,
    ) -> Deferred[list_[dict[str, Any]]]:
        """Return snapshots, optionally of a type, an aggregate, a version."""
        return self.call(self._calls.snapshots(aggregate_type, aggregate_id, version))

    def snapshot_get(self, snapshot_id: int) -> Deferred[dict[str, Any] | None]:
        """Return one snapshot, or None."""
        return self.call(self._calls.snapshot_get(snapshot_id))

    def referrers(self, aggregate_type: str, aggregate_id: str) -> Deferred[list_[dict[str, Any]]]:
        """Return who refers to an aggregate."""
        return self.call(self._calls.referrers(aggregate_type, aggregate_id))

    def outbox(
        self, after_event_id: int | None = None, take: int | None = None
    ) -> Deferred[OutboxRead]:
        """Return events of the whole domain after an id, in commit order."""
        return self.call(self._calls.outbox(after_event_id, take))

    def commit_batch(
        self,
        writes: Sequence[Write],
        *,
        idempotency_key: str | None = None,
        answer: str = "receipts",
    ) -> Deferred[list_[dict[str, Any]]]:
        """Commit several writes, all or none; return a receipt, event or aggregate for each."""
        return self.call(
            self._calls.commit_batch(writes, idempotency_key=idempotency_key, answer=answer)
        )

    def aggregate_at(
        self, aggregate_type: str, aggregate_id: str, **options: Any
    ) -> Deferred[dict[str, Any]]:
        """Return ``{"aggregate", "events"?}`` as of version, time_ns, or now (include_events)."""
        return self.call(self._calls.aggregate_at(aggregate_type, aggregate_id, **options))

    def scan_aggregates(self, **options: Any) -> Deferred[Listed]:
        """Return a page of aggregates by every means that the command line has."""
        return self.call(self._calls.scan_aggregates(**options))

    def scan_events(self, **options: Any) -> Deferred[Listed]:
        """Return a page of events of everything, a type, an aggregate, or by event_id."""
        return self.call(self._calls.scan_events(**options))

    def scan_referrers(
        self, aggregate_type: str, aggregate_id: str, cursor: str | None = None, take: int = 0
    ) -> Deferred[Listed]:
        """Return a page of who refers to an aggregate; there may be more than a frame holds."""
        return self.call(self._calls.scan_referrers(aggregate_type, aggregate_id, cursor, take))

    def verify_store(self, **options: Any) -> Deferred[dict[str, Any]]:
        """Verify one aggregate or some of the store; ``next`` of the report says where to go on."""
        return self.call(self._calls.verify_store(**options))

    def schema(self, operation: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Carry out one operation on schemas (docs/protocol.md, "Schemas")."""
        return self.call(self._calls.schema(operation))

    def plugins(self, operation: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Carry out one operation on plugins or their queue (docs/protocol.md, "Plugins")."""
        return self.call(self._calls.plugins(operation))

    def integrity(self, operation: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """One operation on proofs, checkpoints and the like (docs/protocol.md, "Integrity")."""
        return self.call(self._calls.integrity(operation))

    def staging(self, operation: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Carry out one operation on events that are staged (docs/protocol.md, "Staging")."""
        return self.call(self._calls.staging(operation))

    def wait_for(
        self,
        plugin: str,
        *,
        position: str | None = None,
        event_id: int | str | None = None,
        timeout_s: float = 30.0,
        clock: IReactorTime | None = None,
    ) -> Deferred[Waited]:
        """Wait until a plugin has an event, or all up to a position, or all there is now."""
        time = _clock(clock)
        return Deferred.fromCoroutine(self._wait_for(plugin, position, event_id, timeout_s, time))

    async def _wait_for(
        self,
        plugin: str,
        position: str | None,
        event_id: int | str | None,
        timeout_s: float,
        clock: IReactorTime,
    ) -> Waited:
        if position is None and event_id is None:
            position = (await self.call(self._calls.follow("end"))).next
        deadline = clock.seconds() + timeout_s
        while True:
            left_s = max(0.0, deadline - clock.seconds())
            call = self._calls.wait_for(
                plugin, position=position, event_id=event_id, timeout_s=min(left_s, WAIT_S)
            )
            # It comes early, too, when this session has something else to ask.
            waited = await self.call(call)
            if waited.outcome != "timeout" or not left_s:
                return waited

    def follow(
        self, after: str = "end", *, clock: IReactorTime | None = None, **options: Any
    ) -> AsyncFollower:
        """Return an async iterator over events behind a token, ``start`` or ``end``, then live.

        Options: aggregate_type, aggregate_id, filter, take (of a page), raw, live, patience_s
        (:class:`eventdbx.surfaces.control.follower.FollowOptions`).
        """
        course = Course(self._calls, FollowOptions(after, **options), WAIT_S)
        # Where the end is now, not where it will be when the first event is asked for.
        starting = self.call(self._calls.follow("end")) if after == "end" else None
        return AsyncFollower(self._another, course, _clock(clock), starting)

    def status(self) -> Deferred[dict[str, Any]]:
        """Return how the server is doing."""
        return self.call(self._calls.status())


def _clock(clock: IReactorTime | None) -> IReactorTime:
    if clock is not None:
        return clock
    from twisted.internet import reactor

    return cast(IReactorTime, reactor)

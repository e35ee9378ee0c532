"""A client that waits: one connection, one call at a time, no Twisted.

Every method raises the :mod:`eventdbx.errors` class of the server's error code; IoError when the
server cannot be reached or goes away. Options of the three writes: metadata, note, publish,
expected_version, idempotency_key.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from eventdbx.domain.commands import Write
from eventdbx.errors import IoError
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
from eventdbx.surfaces.control.follower import WAIT_S, Course, Follower, FollowOptions
from eventdbx.wire import requests as rq
from eventdbx.wire.client_connection import (
    AnswerReceived,
    BadServer,
    ClientConnection,
    Established,
    Rejected,
)

if TYPE_CHECKING:
    from ssl import SSLContext

T = TypeVar("T")
list_ = list
"""The built-in, where the method of that name hides it."""

_READ_BYTES = 65_536
"""Of a larger buffer, which the allocator maps anew each time, the pages cost more than a call."""


def _connected(host: str, port: int, tls: SSLContext | None, timeout_s: float) -> socket.socket:
    """Return a socket that is connected, and through the key exchange of TLS."""
    try:
        connected = socket.create_connection((host, port), timeout_s)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connected if tls is None else tls.wrap_socket(connected, server_hostname=host)
        except OSError:
            connected.close()
            raise
    except OSError as error:
        reason = getattr(error, "verify_message", "") or error.strerror or str(error)
        raise IoError(f"cannot connect to {host}:{port}: {reason}") from None


class BlockingClient:
    """One session with a server; use it as a context manager or close it.

    ``timeout_s`` bounds the wait for the connection and for each answer. The token is proven, not
    sent; ``send_token`` is for tokens that the server did not issue itself, None takes the word of
    EVENTDBX_SEND_TOKEN. ``tls`` encrypts the connection as its context says.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        *,
        tenant: str | None = None,
        no_noise: bool = False,
        send_token: bool | None = None,
        tls: SSLContext | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        sends = sends_token() if send_token is None else send_token
        self._address = f"{host}:{port}"
        self._calls = Calls(token)
        self._timeout_s = timeout_s
        self._another = lambda: BlockingClient(
            host, port, token, tenant=tenant, no_noise=no_noise, send_token=sends, tls=tls,
            timeout_s=timeout_s,
        )  # fmt: skip
        self._socket = _connected(host, port, tls, timeout_s)
        try:
            self._wire = ClientConnection(token, tenant=tenant, no_noise=no_noise, send_token=sends)
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        for event in self._wait():
            if isinstance(event, Established):
                return
            if isinstance(event, Rejected):
                raise rejection(event)

    def _wait(self) -> list_[Any]:
        """Send what is queued; return the next events."""
        try:
            while True:
                data = self._wire.data_to_send()
                if data:
                    self._socket.sendall(data)
                received = self._socket.recv(_READ_BYTES)
                if not received:
                    refused = self._wire.closed()
                    if refused is not None:
                        raise rejection(refused)
                    raise IoError(f"the server at {self._address} closed the connection")
                events = self._wire.receive_data(received)
                if events:
                    return events
        except OSError as error:
            raise self._failure(error) from None
        except BadServer as error:
            raise IoError(f"{self._address}: {error}") from None

    def _failure(self, error: OSError) -> IoError:
        """Return what it means that the connection failed; close it if nothing came in time."""
        if isinstance(error, TimeoutError):
            self.close()
            return IoError(f"the server at {self._address} did not answer in time")
        return IoError(f"connection to {self._address} failed: {error.strerror}")

    def call(self, call: Call[T]) -> T:
        """Carry out one call and return its result."""
        return self.finish(call, self._wire.send_request(call.request))

    def start(self, call: Call[Any]) -> int:
        """Send a call without waiting for its answer, which :meth:`finish` returns.

        There must be no other call until then.
        """
        identifier = self._wire.send_request(call.request)
        try:
            self._socket.sendall(self._wire.data_to_send())
        except OSError as error:
            raise self._failure(error) from None
        return identifier

    def finish(self, call: Call[T], identifier: int) -> T:
        """Return the result of the call that was sent under this identifier."""
        for event in self._wait():
            assert isinstance(event, AnswerReceived)
            if event.reply.id == identifier:
                return result_of(call, event.reply)
        raise IoError(f"the server at {self._address} answered another request")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def create(
        self, aggregate_type: str, aggregate_id: str, event_type: str, payload: Any, **options: Any
    ) -> dict[str, Any] | None:
        """Create an aggregate with its first event; return the aggregate."""
        return self.call(
            self._calls.write(
                rq.CreateAggregate, aggregate_type, aggregate_id, event_type, payload, **options
            )
        )

    def append(
        self, aggregate_type: str, aggregate_id: str, event_type: str, payload: Any, **options: Any
    ) -> dict[str, Any] | None:
        """Append an event, creating the aggregate when there is none; return the event."""
        return self.call(
            self._calls.write(
                rq.AppendEvent, aggregate_type, aggregate_id, event_type, payload, **options
            )
        )

    def apply(
        self, aggregate_type: str, aggregate_id: str, event_type: str, payload: Any, **options: Any
    ) -> dict[str, Any]:
        """Append an event to an aggregate that must exist; return the event."""
        return self.call(
            self._calls.apply(aggregate_type, aggregate_id, event_type, payload, **options)
        )

    def patch(
        self, aggregate_type: str, aggregate_id: str, event_type: str, patch: Any, **options: Any
    ) -> dict[str, Any] | None:
        """Append the event that a JSON Patch (RFC 6902) of the state comes to; return it."""
        return self.call(
            self._calls.write(
                rq.PatchEvent, aggregate_type, aggregate_id, event_type, patch, **options
            )
        )

    def get(self, aggregate_type: str, aggregate_id: str) -> dict[str, Any] | None:
        """Return an aggregate, or None."""
        return self.call(self._calls.get(aggregate_type, aggregate_id))

    def select(self, aggregate_type: str, aggregate_id: str, *fields: str) -> dict[str, Any] | None:
        """Return the values at dotted paths of the state, or None without the aggregate."""
        return self.call(self._calls.select(aggregate_type, aggregate_id, fields))

    def list(self, **options: Any) -> Listed:
        """Return a page of aggregates (take, cursor, filter, sort, include_archived, …)."""
        return self.call(self._calls.list(**options))

    def events(self, aggregate_type: str, aggregate_id: str, **options: Any) -> Listed:
        """Return a page of an aggregate's events (take, cursor, filter)."""
        return self.call(self._calls.events(aggregate_type, aggregate_id, **options))

    def verify(self, aggregate_type: str, aggregate_id: str) -> str:
        """Return the Merkle root, recomputed from the stored events."""
        return self.call(self._calls.verify(aggregate_type, aggregate_id))

    def archive(
        self, aggregate_type: str, aggregate_id: str, note: str | None = None
    ) -> dict[str, Any] | None:
        """Archive an aggregate; return it."""
        return self.call(self._calls.set_archive(aggregate_type, aggregate_id, True, note))

    def restore(
        self, aggregate_type: str, aggregate_id: str, note: str | None = None
    ) -> dict[str, Any] | None:
        """Bring an archived aggregate back; return it."""
        return self.call(self._calls.set_archive(aggregate_type, aggregate_id, False, note))

    def snapshot(
        self, aggregate_type: str, aggregate_id: str, comment: str | None = None
    ) -> dict[str, Any]:
        """Keep the present state under a snapshot id; return the snapshot."""
        return self.call(self._calls.snapshot(aggregate_type, aggregate_id, comment))

    def snapshots(
        self,
        aggregate_type: str | None = None,
        aggregate_id: str | None = None,
        version: int | None = None,
    ) -> list_[dict[str, Any]]:
        """Return snapshots, optionally of a type, an aggregate, a version."""
        return self.call(self._calls.snapshots(aggregate_type, aggregate_id, version))

    def snapshot_get(self, snapshot_id: int) -> dict[str, Any] | None:
        """Return one snapshot, or None."""
        return self.call(self._calls.snapshot_get(snapshot_id))

    def referrers(self, aggregate_type: str, aggregate_id: str) -> list_[dict[str, Any]]:
        """Return who refers to an aggregate."""
        return self.call(self._calls.referrers(aggregate_type, aggregate_id))

    def outbox(self, after_event_id: int | None = None, take: int | None = None) -> OutboxRead:
        """Return events of the whole domain after an id, in commit order."""
        return self.call(self._calls.outbox(after_event_id, take))

    def commit_batch(
        self,
        writes: Sequence[Write],
        *,
        idempotency_key: str | None = None,
        answer: str = "receipts",
    ) -> list_[dict[str, Any]]:
        """Commit several writes, all or none; return a receipt, event or aggregate for each."""
        return self.call(
            self._calls.commit_batch(writes, idempotency_key=idempotency_key, answer=answer)
        )

    def aggregate_at(
        self, aggregate_type: str, aggregate_id: str, **options: Any
    ) -> dict[str, Any]:
        """Return ``{"aggregate", "events"?}`` as of version, time_ns, or now (include_events)."""
        return self.call(self._calls.aggregate_at(aggregate_type, aggregate_id, **options))

    def scan_aggregates(self, **options: Any) -> Listed:
        """Return a page of aggregates by every means that the command line has."""
        return self.call(self._calls.scan_aggregates(**options))

    def scan_events(self, **options: Any) -> Listed:
        """Return a page of events of everything, a type, an aggregate, or by event_id."""
        return self.call(self._calls.scan_events(**options))

    def scan_referrers(
        self, aggregate_type: str, aggregate_id: str, cursor: str | None = None, take: int = 0
    ) -> Listed:
        """Return a page of who refers to an aggregate; there may be more than a frame holds."""
        return self.call(self._calls.scan_referrers(aggregate_type, aggregate_id, cursor, take))

    def verify_store(self, **options: Any) -> dict[str, Any]:
        """Verify one aggregate or some of the store; ``next`` of the report says where to go on."""
        return self.call(self._calls.verify_store(**options))

    def schema(self, operation: dict[str, Any]) -> dict[str, Any]:
        """Carry out one operation on schemas (docs/protocol.md, "Schemas")."""
        return self.call(self._calls.schema(operation))

    def plugins(self, operation: dict[str, Any]) -> dict[str, Any]:
        """Carry out one operation on plugins or their queue (docs/protocol.md, "Plugins")."""
        return self.call(self._calls.plugins(operation))

    def integrity(self, operation: dict[str, Any]) -> dict[str, Any]:
        """One operation on proofs, checkpoints and the like (docs/protocol.md, "Integrity")."""
        return self.call(self._calls.integrity(operation))

    def staging(self, operation: dict[str, Any]) -> dict[str, Any]:
        """Carry out one operation on events that are staged (docs/protocol.md, "Staging")."""
        return self.call(self._calls.staging(operation))

    def wait_for(
        self,
        plugin: str,
        *,
        position: str | None = None,
        event_id: int | str | None = None,
        timeout_s: float = 30.0,
    ) -> Waited:
        """Wait until a plugin has an event, or all up to a position, or all there is now."""
        if position is None and event_id is None:
            position = self.call(self._calls.follow("end")).next
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            part_s = min(left_s, WAIT_S, self._timeout_s / 2)
            waited = self.call(
                self._calls.wait_for(plugin, position=position, event_id=event_id, timeout_s=part_s)
            )
            if waited.outcome != "timeout" or left_s <= part_s:
                return waited

    def follow(self, after: str = "end", **options: Any) -> Follower:
        """Return an iterator over events behind a token, ``start`` or ``end``, then live ones.

        Options: aggregate_type, aggregate_id, filter, take (of a page), raw, live, patience_s
        (:class:`eventdbx.surfaces.control.follower.FollowOptions`).
        """
        if after == "end":
            # Where it is now, not where it will be when the first event is asked for.
            after = self.call(self._calls.follow(after)).next
        wait_s = min(WAIT_S, self._timeout_s / 2)
        return Follower(self._another, Course(self._calls, FollowOptions(after, **options), wait_s))

    def status(self) -> dict[str, Any]:
        """Return how the server is doing."""
        return self.call(self._calls.status())

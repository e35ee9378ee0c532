"""The client's side: what it sends is what the schemas describe, and both sides get along."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.errors import SerializationError
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs
from eventdbx.wire.client_connection import (
    AnswerReceived,
    BadServer,
    ClientConnection,
    Established,
    Rejected,
)
from eventdbx.wire.codec_client import Reply, any_reply, decode_reply, encode_request, flat_reply
from eventdbx.wire.codec_extensions import ANSWERS
from eventdbx.wire.codec_requests import decode_request
from eventdbx.wire.connection import ServerConnection
from eventdbx.wire.events import HelloReceived, RequestReceived
from eventdbx.wire.messages import control_message, data_message
from eventdbx.wire.pointers import MalformedMessage
from tests.wire import peers

NAME = st.text(alphabet='a9"{ \tä\U0001f600', max_size=9)
FILLED = NAME.map(lambda text: f"x{text}x")
ABSENT = st.none() | FILLED
MAYBE = st.none() | st.binary(max_size=20)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
DEPTH = st.none() | st.integers(0, 2**32 - 1)
COUNT = st.none() | U64
TARGETS = st.none() | st.lists(
    st.builds(PublishTarget, NAME, ABSENT, ABSENT), min_size=1, max_size=3
).map(tuple)
WRITTEN: Any = (NAME, NAME, NAME, NAME, ABSENT, st.none() | NAME, ABSENT, TARGETS, COUNT, ABSENT,
                st.booleans())  # fmt: skip
WRITE = st.builds(
    Write, st.sampled_from(("create", "append", "patch", "apply")), NAME, NAME, NAME, ABSENT,
    ABSENT, st.none() | NAME, st.just(()) | TARGETS.map(lambda found: found or ()), COUNT, ABSENT,
    st.booleans(),
)  # fmt: skip
TIMES = st.one_of(
    st.tuples(st.none(), st.none()),
    st.tuples(U64, st.none()),
    st.tuples(st.none(), st.integers(-(2**63), 2**63 - 1)),
)

REQUESTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        rq.ListAggregates, NAME, ABSENT, COUNT, ABSENT, ABSENT, st.booleans(), st.booleans(),
        st.booleans(), st.none() | U32, st.none(), st.none(),
    ),
    st.builds(rq.GetAggregate, NAME, NAME, NAME, st.booleans(), st.none() | U32),
    st.builds(rq.ListEvents, NAME, NAME, NAME, ABSENT, COUNT, ABSENT, st.none()),
    st.builds(rq.AppendEvent, *WRITTEN),
    st.builds(rq.PatchEvent, *WRITTEN),
    st.builds(rq.CreateAggregate, *WRITTEN),
    st.builds(rq.VerifyAggregate, NAME, NAME),
    st.builds(rq.SelectAggregate, NAME, NAME, NAME, st.lists(NAME, max_size=4).map(tuple)),
    st.builds(rq.SetAggregateArchive, NAME, NAME, NAME, st.booleans(), ABSENT),
    st.builds(rq.CreateSnapshot, NAME, NAME, NAME, ABSENT),
    st.builds(rq.ListSnapshots, NAME, ABSENT, ABSENT, COUNT),
    st.builds(rq.GetSnapshot, NAME, U64),
    st.builds(rq.ListReferrers, NAME, NAME, NAME),
    st.builds(rq.ReadOutbox, NAME, COUNT, COUNT),
    st.builds(
        rq.CommitBatch, NAME, st.lists(WRITE, max_size=4).map(tuple), ABSENT,
        st.sampled_from(ANSWERS),
    ),
    TIMES.flatmap(
        lambda at: st.builds(
            rq.ReadAggregate, NAME, NAME, NAME, st.just(at[0]), st.just(at[1]), st.booleans(),
            st.booleans(), DEPTH, st.booleans(),
        )  # fmt: skip
    ),
    st.builds(
        rq.ScanAggregates, NAME, ABSENT, ABSENT, U64, U64, ABSENT, ABSENT, ABSENT,
        st.booleans(), DEPTH,
    ),
    st.builds(
        rq.ScanEvents, NAME, ABSENT, ABSENT, st.none() | st.integers(1, 2**64 - 1), ABSENT, U64,
        U64, ABSENT, ABSENT, ABSENT, st.booleans(),
    ),
    st.builds(rq.ScanReferrers, NAME, NAME, NAME, ABSENT, U64),
    st.builds(rq.Verify, NAME, ABSENT, ABSENT, ABSENT, U64),
    st.builds(rq.Status, NAME),
    st.builds(rq.SchemaOperation, NAME, st.binary(max_size=40)),
    st.builds(rq.PluginOperation, NAME, st.binary(max_size=40)),
    st.builds(rq.AdminOperation, NAME, st.binary(max_size=40)),
    st.builds(rq.IntegrityOperation, NAME, st.binary(max_size=40)),
    st.builds(rq.StagingOperation, NAME, st.binary(max_size=40)),
    st.builds(
        rq.Follow, NAME, NAME, ABSENT, ABSENT, ABSENT, U32, U32, st.booleans(),
    ),
    st.builds(rq.ListSchemas, NAME),
    st.builds(rq.ReplaceSchemas, NAME, NAME),
    st.builds(rq.TenantAssign, NAME, NAME, NAME),
    st.builds(rq.TenantQuotaSet, NAME, NAME, U64),
    st.builds(rq.TenantUnassign, NAME, NAME),
    st.builds(rq.TenantQuotaClear, NAME, NAME),
    st.builds(rq.TenantQuotaRecalc, NAME, NAME),
    st.builds(rq.TenantReload, NAME, NAME),
    st.builds(
        rq.TenantSchemaPublish, NAME, NAME, st.none() | NAME, st.none() | NAME,
        st.lists(NAME, max_size=3).map(tuple), st.booleans(), st.booleans(), st.booleans(),
    ),
)  # fmt: skip


def trimmed(request: Any) -> Any:
    """Return a request as the server sees it: texts that may be blank without space around."""
    keep = {"note", "key", "token", "idempotency_key", "aggregate_type", "aggregate_id", "after"}
    if isinstance(request, rq.SetAggregateArchive):
        keep.remove("note")
    if isinstance(request, rq.ListSnapshots):
        keep -= {"aggregate_type", "aggregate_id"}
    if type(request) in rq.SCHEMA_AND_TENANT:
        return request
    if isinstance(request, rq.ScanReferrers):
        keep.add("cursor")  # Its path may begin or end with a blank.
    if isinstance(request, rq.CommitBatch):
        return request._replace(writes=tuple(trimmed(write) for write in request.writes))
    return request._replace(
        **{
            name: value.strip()
            for name, value in request._asdict().items()
            if isinstance(value, str) and name not in keep and name not in ("event_type", "kind")
        }
    )


class Requests(SynchronousTestCase):
    """What a client sends."""

    @settings(deadline=None, max_examples=200)
    @given(REQUESTS, U64)
    def test_understood(self, request: Any, identifier: int) -> None:
        """The server understands every request as it was meant."""
        self.assertEqual(
            decode_request(encode_request(identifier, request)),
            (identifier, trimmed(request), None),
        )

    @settings(deadline=None, max_examples=60)
    @given(st.builds(rq.AppendEvent, *WRITTEN))
    def test_one_event_agrees_with_the_schema(self, request: rq.AppendEvent) -> None:
        """One event, joined from bytes, reads as if it were built through the schema."""
        request = request._replace(publish_targets=None)
        encoded = encode_request(3, request)
        with peers.schema("control").ControlRequest.from_bytes(encoded) as message:
            body = message.payload.appendEvent
            self.assertEqual(
                (body.token, body.aggregateType, body.aggregateId, body.eventType),
                (request.token, request.aggregate_type, request.aggregate_id, request.event_type),
            )
            self.assertEqual(body.payloadJson, request.content or "")
            self.assertEqual((body.hasNote, body.note), (request.note is not None,
                                                         request.note or ""))  # fmt: skip
            self.assertEqual(
                (body.hasMetadata, body.metadataJson),
                (request.metadata is not None, request.metadata or ""),
            )
            version = request.expected_version
            self.assertEqual(body.options.hasExpectedVersion, version is not None)
            self.assertEqual(body.options.expectedVersion, version or 0)
            self.assertEqual(body.options.idempotencyKey, request.idempotency_key or "")
            self.assertEqual(body.options.receipt, request.receipt)

    @settings(deadline=None, max_examples=60)
    @given(NAME, NAME, ABSENT, COUNT, ABSENT)
    def test_events_agree_with_the_schema(
        self, token: str, name: str, cursor: str | None, take: int | None, wanted: str | None
    ) -> None:
        """A page of events, joined from bytes, is what the schema would build."""
        encoded = encode_request(3, rq.ListEvents(token, "order", name, cursor, take, wanted))
        with peers.schema("control").ControlRequest.from_bytes(encoded) as message:
            body = message.payload.listEvents
            self.assertEqual(
                (body.token, body.aggregateType, body.aggregateId), (token, "order", name)
            )
            self.assertEqual(body.cursor if body.hasCursor else None, cursor)
            self.assertEqual(body.take if body.hasTake else None, take)
            self.assertEqual(body.filter if body.hasFilter else None, wanted)

    @settings(deadline=None, max_examples=60)
    @given(NAME, NAME, TIMES, st.booleans(), st.booleans(), DEPTH, st.booleans())
    def test_reading_agrees_with_the_schema(
        self, token: str, name: str, at: Any, events: bool, resolve: bool, depth: Any, raw: bool
    ) -> None:
        """What a command line asks for one aggregate, joined from bytes, is as the schema says."""
        version, time_ns = at
        asked = rq.ReadAggregate(
            token, "order", name, version, time_ns, events, resolve, depth, raw
        )
        with peers.schema("control").ControlRequest.from_bytes(encode_request(3, asked)) as message:
            self.assertEqual(message.payload.extension.token, token)
            body = message.payload.extension.readAggregate
            self.assertEqual(body.at.which(), "version" if version is not None else
                             "latest" if time_ns is None else "timeNs")  # fmt: skip
            if version is not None:
                self.assertEqual(body.at.version, version)
            elif time_ns is not None:
                self.assertEqual(body.at.timeNs, time_ns)
            self.assertEqual((body.aggregateType, body.aggregateId), ("order", name))
            self.assertEqual((body.includeEvents, body.resolve, body.raw), (events, resolve, raw))
            self.assertEqual(body.resolveDepth if body.hasResolveDepth else None, depth)

    @settings(deadline=None, max_examples=60)
    @given(st.builds(rq.ScanEvents, NAME, ABSENT, ABSENT, COUNT, ABSENT, U64, U64, ABSENT, ABSENT,
                     ABSENT, st.booleans()))  # fmt: skip
    def test_scanning_events_agrees_with_the_schema(self, asked: rq.ScanEvents) -> None:
        """So is what it asks for a page of events."""
        with peers.schema("control").ControlRequest.from_bytes(encode_request(3, asked)) as message:
            self.assertEqual(message.payload.extension.token, asked.token)
            body = message.payload.extension.scanEvents
            texts = (body.aggregateType, body.aggregateId, body.cursor, body.filter, body.sort,
                     body.scope)  # fmt: skip
            wanted = (asked.aggregate_type, asked.aggregate_id, asked.cursor, asked.filter,
                      asked.sort, asked.scope)  # fmt: skip
            self.assertEqual(texts, tuple(text or "" for text in wanted))
            self.assertEqual(
                (body.eventId, body.skip, body.take, body.raw),
                (asked.event_id or 0, asked.skip, asked.take, asked.raw),
            )

    def test_get_agrees_with_the_schema(self) -> None:
        """The reading of one aggregate, joined from bytes, is what the schema would build."""
        encoded = encode_request(3, rq.GetAggregate("t", "order", "o-1", True, 7))
        with peers.schema("control").ControlRequest.from_bytes(encoded) as message:
            self.assertEqual(
                message.payload.to_dict()["getAggregate"],
                {
                    "aggregateType": "order",
                    "aggregateId": "o-1",
                    "token": "t",
                    "resolve": True,
                    "resolveDepth": 7,
                    "hasResolveDepth": True,
                },
            )

    @settings(deadline=None, max_examples=60)
    @given(st.lists(WRITE, max_size=5), ABSENT, st.sampled_from(ANSWERS))
    def test_batch_agrees_with_the_schema(
        self, writes: list[Write], key: str | None, answer: Any
    ) -> None:
        """A batch, joined from bytes, reads as if it were built through the schema."""
        encoded = encode_request(3, rq.CommitBatch("t", tuple(writes), key, answer))
        with peers.schema("control").ControlRequest.from_bytes(encoded) as message:
            extension = message.payload.extension
            batch = extension.commitBatch
            self.assertEqual(extension.token, "t")
            self.assertEqual((batch.idempotencyKey, str(batch.answer)), (key or "", answer))
            for read, write in zip(batch.writes, writes, strict=True):
                self.assertEqual(
                    (str(read.kind), read.aggregateType, read.aggregateId, read.eventType),
                    write[:4],
                )
                self.assertEqual(
                    (read.contentJson, read.metadataJson), (write.content or "",
                                                            write.metadata or ""))  # fmt: skip
                self.assertEqual(read.note if read.hasNote else None, write.note)
                options = read.options
                self.assertEqual(
                    options.expectedVersion if options.hasExpectedVersion else None,
                    write.expected_version,
                )
                self.assertEqual(options.idempotencyKey, write.idempotency_key or "")
                self.assertEqual(
                    [(one.plugin, one.mode, one.priority) for one in read.publishTargets],
                    [(one[0], one[1] or "", one[2] or "") for one in write.publish_targets],
                )

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.builds(
                Write, st.sampled_from(("create", "append", "patch")), st.just("order"),
                st.sampled_from(("o-1", "o-2")), st.just("order_made"),
                st.none() | st.text(alphabet="xä", min_size=1, max_size=17),
                st.sampled_from((None, "{}", '{"@trace":"ä"}')), st.sampled_from((None, None, "n")),
                st.just(()), st.none(), st.none(),
            ),
            max_size=9,
        ),
        st.booleans(),
    )  # fmt: skip
    def test_alike(self, writes: list[Write], in_bytes: bool) -> None:
        """Writes of one batch with the same names or others, with texts or bytes for JSON."""
        sent = writes
        if in_bytes:
            sent = [each._replace(content=str(each.content or "").encode()) for each in writes]
        request = rq.CommitBatch("token", tuple(sent))
        _id, read, _error = decode_request(encode_request(3, request))
        self.assertEqual(read, rq.CommitBatch("token", tuple(writes)))


class Answers(SynchronousTestCase):
    """What a client reads."""

    @given(U64, st.integers(0, 22), st.lists(U64, max_size=3), st.lists(MAYBE, max_size=5))
    def test_read(
        self, identifier: int, member: int, words: list[int], texts: list[bytes | None]
    ) -> None:
        """Words and texts come out as they went in; the short way is taken and says the same."""
        assume(words or texts)
        raw = control_message(identifier, member, words, texts)
        wanted = Reply(identifier, member, tuple(words), tuple(text or b"" for text in texts))
        self.assertEqual(decode_reply(raw), wanted)
        self.assertEqual(flat_reply(raw), wanted)
        self.assertEqual(any_reply(raw), wanted)

    @given(U64, st.booleans(), st.binary(max_size=20))
    def test_parts(self, identifier: int, more: bool, data: bytes) -> None:
        """A part of an extension answer is data, which nothing ends."""
        raw = data_message(identifier, 23, (more,), data)
        wanted = Reply(identifier, 23, (more,), (data,), more)
        self.assertEqual((flat_reply(raw), any_reply(raw)), (wanted, wanted))

    @settings(max_examples=500)
    @given(
        st.sampled_from((2, 23)), st.lists(MAYBE, min_size=1, max_size=3),
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=3),
    )  # fmt: skip
    def test_spoilt(
        self, member: int, texts: list[bytes | None], changes: list[tuple[int, int]]
    ) -> None:
        """Whatever bytes are wrong, the short way says what the careful one says, or nothing."""
        raw = bytearray(control_message(1, member, (1,), texts))
        for place, value in changes:
            raw[place % len(raw)] = value
        short = flat_reply(bytes(raw))
        if short is not None:
            self.assertEqual(short, any_reply(bytes(raw)))

    def test_short(self) -> None:
        """A message that ends too early is refused, wherever it ends."""
        raw = control_message(1, 2, (1,), (b"abc", b"de"))
        for size in range(0, len(raw), 8):
            self.assertRaises(MalformedMessage, decode_reply, raw[:size])


class Session(SynchronousTestCase):
    """Our client and our server, back to back."""

    def open(
        self, *, allowed: bool = False, no_noise: bool = False
    ) -> tuple[ClientConnection, ServerConnection]:
        """Open a session."""
        client = ClientConnection("token", tenant="acme", no_noise=no_noise, send_token=True)
        server = ServerConnection(plaintext_allowed=allowed)
        (hello,) = server.receive_data(client.data_to_send())
        assert isinstance(hello, HelloReceived)
        self.assertEqual((hello.token, hello.tenant), ("token", "acme"))
        server.accept_hello()
        events = client.receive_data(server.data_to_send())
        if not (allowed and no_noise):
            server.receive_data(client.data_to_send())
            events = client.receive_data(server.data_to_send())
        self.assertEqual(events, [Established()])
        return client, server

    def serve(self, server: ServerConnection, data: bytes, response: Any) -> list[Any]:
        """Answer every request in these bytes; return the requests."""
        events = server.receive_data(data)
        for event in events:
            assert isinstance(event, RequestReceived)
            server.send_response(event, response)
        return [event.request for event in events if isinstance(event, RequestReceived)]

    def test_pipelined(self) -> None:
        """Answers come in the order of the requests, with and without encryption."""
        for no_noise in (False, True):
            client, server = self.open(allowed=True, no_noise=no_noise)
            ids = [client.send_request(rq.GetAggregate("t", "a", str(n))) for n in range(9)]
            served = self.serve(server, client.data_to_send(), rs.AggregateFound(b"{}"))
            self.assertEqual([request.aggregate_id for request in served], list("012345678"))
            answers = client.receive_data(server.data_to_send())
            read = [event.reply.id for event in answers if isinstance(event, AnswerReceived)]
            self.assertEqual(read, ids)

    def test_rejected(self) -> None:
        """A refused client learns the reason."""
        client, server = (
            ClientConnection("t", send_token=True),
            ServerConnection(plaintext_allowed=False),
        )
        server.receive_data(client.data_to_send())
        server.reject_hello("invalid control token")
        self.assertEqual(
            client.receive_data(server.data_to_send()), [Rejected("invalid control token")]
        )

    def test_no_plaintext(self) -> None:
        """A client that insists on plain text is told that the server does not offer it."""
        client = ClientConnection("t", no_noise=True)
        server = ServerConnection(plaintext_allowed=False)
        server.receive_data(client.data_to_send())
        server.accept_hello()
        (event,) = client.receive_data(server.data_to_send())
        self.assertIsInstance(event, Rejected)

    def test_large(self) -> None:
        """Requests and extension answers beyond a frame go through in parts."""
        client, server = self.open()
        content = '"' + "x" * 250_000 + '"'
        writes = tuple(Write("append", "a", str(n), "e", content) for n in range(3))
        client.send_request(rq.CommitBatch("t", writes))
        json = os.urandom(300_000)
        (served,) = self.serve(server, client.data_to_send(), rs.Extension(json))
        self.assertEqual(served, rq.CommitBatch("t", writes))
        (event,) = client.receive_data(server.data_to_send())
        assert isinstance(event, AnswerReceived)
        self.assertEqual(event.reply.texts, (json,))

    def test_not_to_be_sent(self) -> None:
        """A request beyond the server's bound, or one with a broken value, is not sent at all."""
        client, _server = self.open()
        content = '"' + "x" * limits.REQUEST_BYTES_MAX + '"'
        for request in (
            rq.AppendEvent("t", "a", "1", "e", content),
            rq.AppendEvent("t", "a", "1", "\ud800", "1"),
            rq.GetAggregate("t", "a", "\ud800"),
            rq.AppendEvent("t", "a", "1", "e", "1", expected_version=-1),
            rq.CommitBatch("t", (Write("append", "a", "1", "e", "1", expected_version=2**64),)),
        ):
            self.assertRaises(SerializationError, client.send_request, request)
        self.assertEqual(client.data_to_send(), b"")

    def test_another_server(self) -> None:
        """A server that does not hold the token's key, or speaks otherwise, is noticed."""
        client, _server = self.open()
        self.assertRaises(BadServer, client.receive_data, peers.frame(b"x" * 40))
        other = ClientConnection("t", send_token=True)
        self.assertRaises(BadServer, other.receive_data, b"HTTP/1.1 400 Bad Request\r\n")

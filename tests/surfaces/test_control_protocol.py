"""The control listener on an in-memory transport: hello, order, limits, errors, the end."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import errors, limits
from eventdbx.config import Limits
from eventdbx.domain.commands import Write
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import synchronous
from eventdbx.surfaces.control.calls import Call, Calls, result_of
from eventdbx.surfaces.control.protocol import ControlProtocol
from eventdbx.wire import requests as rq
from eventdbx.wire.client_connection import (
    AnswerReceived,
    ClientConnection,
    Established,
    Rejected,
)
from eventdbx.wire.codec_client import Reply
from tests.storage.stepper import Stepper
from tests.surfaces.listener import NOW_S, listener, token


class Session:
    """A client and a server whose transports are the two ends of one string."""

    def __init__(self, protocol: ControlProtocol, hello: str, **options: Any) -> None:
        self.wire = ClientConnection(hello, **{"send_token": True, **options})
        self.protocol = protocol
        self.transport = StringTransportWithDisconnection()
        self.transport.setTcpNoDelay = lambda _on: None  # type: ignore[attr-defined]
        self.transport.protocol = protocol
        self.events: list[object] = []
        protocol.makeConnection(self.transport)  # type: ignore[no-untyped-call]
        self.exchange()

    def exchange(self, size: int = 1 << 20) -> None:
        """Carry bytes to and fro until both sides are silent, ``size`` at a time."""
        while True:
            sent = self.wire.data_to_send()
            for start in range(0, len(sent), size):
                self.protocol.dataReceived(sent[start : start + size])
            received = self.transport.value()
            self.transport.clear()
            if not sent and not received:
                return
            self.events += self.wire.receive_data(received)

    def send(self, call: Call[Any]) -> None:
        """Queue a request without waiting for anything."""
        self.wire.send_request(call.request)

    @property
    def replies(self) -> list[Reply]:
        """Return the answers so far."""
        return [event.reply for event in self.events if isinstance(event, AnswerReceived)]

    def call(self, call: Call[Any]) -> Any:
        """Carry out one call."""
        self.send(call)
        self.exchange()
        return result_of(call, self.replies[-1])


class ProtocolCase(SynchronousTestCase):
    """A listener on a memory store; commits land at once unless a test steps them."""

    bounds = Limits()
    run_result: Deferred[Any] | None = None

    def setUp(self) -> None:
        self.clock = Clock()
        self.make(synchronous())

    def make(self, hop: Any, **settings: Any) -> None:
        """Make the server over a way to the disk."""
        self.factory, self.domain = listener(
            MemoryStore(),
            hop,
            self.clock,
            bounds=self.bounds,
            run_slowly=self.run_slowly,
            **settings,
        )
        self.calls = Calls(token())

    def run_slowly(self, work: Any) -> Deferred[Any]:
        """Run at once what the server would run on a thread, unless a test says otherwise."""
        if self.run_result is not None:
            return self.run_result
        done: Deferred[Any] = Deferred()
        try:
            done.callback(work())
        except Exception as error:
            done.errback(error)
        return done

    def open(self, hello: str | None = None, **options: Any) -> Session:
        """Return a session; the hello carries a root token unless told otherwise."""
        protocol = self.factory.buildProtocol(None)
        return Session(protocol, token() if hello is None else hello, **options)

    def append(self, number: int, **options: Any) -> Call[Any]:
        """Return an append to one order."""
        return self.calls.write(rq.AppendEvent, "order", "o-1", "paid", {"n": number}, **options)


class HelloTests(ProtocolCase):
    """Greeting."""

    def rejected(self, hello: str, **options: Any) -> str:
        """Return the message that a hello is rejected with, having seen the connection close."""
        session = self.open(hello, **options)
        (event,) = session.events
        assert isinstance(event, Rejected)
        self.assertFalse(session.transport.connected)
        self.assertEqual(self.factory.connection_count, 0)
        return event.message

    def test_accepted(self) -> None:
        """A good token opens an encrypted session."""
        session = self.open()
        self.assertIsInstance(session.events[0], Established)

    def test_byte_by_byte(self) -> None:
        """It does not matter how the bytes are cut."""
        protocol = self.factory.buildProtocol(None)
        session = Session(protocol, token())
        session.send(self.append(1))
        session.exchange(size=1)
        self.assertEqual(orjson.loads(session.replies[0].texts[0])["version"], 1)

    def test_rejections(self) -> None:
        """Each fault of a hello has the message that clients know."""
        self.assertEqual(self.rejected(""), "missing control token")
        self.assertEqual(self.rejected("a.b.c"), "invalid control token")
        with capturedLogs() as lines:
            self.assertEqual(self.rejected(token(not_before=NOW_S + 1000)), "invalid control token")
        said = [formatEvent(line) for line in lines]
        self.assertIn("control handshake rejected due to invalid token: unauthorized", said)
        self.assertIn("control handshake rejected: invalid control token", said)
        self.assertEqual(
            self.rejected(token(), tenant="nope"),
            "failed to initialise tenant 'nope': configuration error: domain 'nope' does not exist",
        )
        self.assertEqual(
            self.rejected(token(tenants=["other"]), tenant="nope"),
            "token does not grant access to tenant 'nope'",
        )

    def test_plaintext(self) -> None:
        """Plaintext needs the configuration's consent."""
        (event,) = self.open(no_noise=True).events
        assert isinstance(event, Rejected)
        self.assertIn("refused plaintext", event.message)
        self.make(synchronous(), no_noise=True)
        session = self.open(no_noise=True)
        self.assertEqual(session.call(self.append(1))["version"], 1)

    def test_silence_ends(self) -> None:
        """Who does not greet, or does not ask, is not waited for."""
        silent = self.factory.buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.setTcpNoDelay = lambda _on: None  # type: ignore[attr-defined]
        transport.protocol = silent
        silent.makeConnection(transport)  # type: ignore[no-untyped-call]
        self.clock.advance(limits.HELLO_TIMEOUT_S)
        self.assertFalse(transport.connected)
        self.factory.startFactory()
        session = self.open()
        session.call(self.append(1))
        self.clock.pump([60.0] * 12)
        self.assertFalse(session.transport.connected)
        self.factory.stopFactory()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_noise_in_the_session_closes_it(self) -> None:
        """A frame that does not decrypt closes the connection without an answer."""
        session = self.open()
        session.protocol.dataReceived(b"\x00\x00\x00\x20" + bytes(32))
        self.assertFalse(session.transport.connected)
        self.assertEqual(session.transport.value(), b"")


class OrderTests(ProtocolCase):
    """Pipelined requests."""

    def test_a_read_sees_the_writes_before_it(self) -> None:
        """Requests sent at once are answered in order, and a read waits for the writes."""
        hop = Stepper()
        self.make(hop)
        session = self.open()
        for call in (self.append(1), self.append(2), self.calls.get("order", "o-1"),
                     self.append(3)):  # fmt: skip
            session.send(call)
        session.exchange()
        self.assertEqual(session.replies, [])
        hop.settle()
        session.exchange()
        hop.settle()
        session.exchange()
        versions = [orjson.loads(reply.texts[0])["version"] for reply in session.replies]
        self.assertEqual(versions, [1, 2, 2, 3])
        self.assertEqual([reply.id for reply in session.replies], [1, 2, 3, 4])

    def test_errors_keep_their_place(self) -> None:
        """A refused write between good ones is answered in its place and changes nothing."""
        session = self.open()
        for call in (self.append(1), self.append(2, expected_version=7), self.append(3)):
            session.send(call)
        session.exchange()
        self.assertEqual([reply.member for reply in session.replies], [3, 6, 3])
        self.assertEqual(session.call(self.calls.get("order", "o-1"))["version"], 2)

    def test_too_many_at_once_pause_the_socket(self) -> None:
        """A client with more on its way than allowed is not read from until answers are out."""
        hop = Stepper()
        self.make(hop)
        session = self.open()
        for number in range(limits.REQUESTS_IN_FLIGHT_MAX + 5):
            session.send(self.append(number))
        session.exchange()
        self.assertEqual(session.transport.producerState, "paused")
        while hop.underway:
            hop.step()
            session.exchange()
        self.assertEqual(session.transport.producerState, "producing")
        self.assertEqual(len(session.replies), limits.REQUESTS_IN_FLIGHT_MAX + 5)

    def test_hang_up_does_not_undo(self) -> None:
        """A write whose client has gone is committed all the same."""
        hop = Stepper()
        self.make(hop)
        session = self.open()
        session.send(self.append(1))
        session.exchange()
        session.transport.loseConnection()
        hop.settle()
        reader = self.domain.reader()
        self.assertIsNotNone(reader.aggregate("order", "o-1"))
        self.assertEqual(self.factory.connection_count, 0)

    def test_hang_up_cancels_a_slow_read(self) -> None:
        """What a client asked for and no longer waits for is not worked on."""
        session = self.open()
        session.call(self.append(1))
        cancelled: list[Deferred[Any]] = []
        slow: Deferred[Any] = Deferred(cancelled.append)
        self.run_result = slow
        session.send(self.calls.verify("order", "o-1"))
        session.exchange()
        session.transport.loseConnection()
        self.assertEqual(cancelled, [slow])
        self.assertEqual(self.factory.connection_count, 0)

    def test_drain_answers_what_is_in_flight(self) -> None:
        """Stopping answers the requests in flight, then closes; new ones are not taken."""
        hop = Stepper()
        self.make(hop)
        session = self.open()
        session.send(self.append(1))
        session.exchange()
        drained = self.factory.drain()
        self.assertNoResult(drained)
        hop.settle()
        session.exchange()
        self.successResultOf(drained)
        self.assertEqual(len(session.replies), 1)
        self.assertFalse(session.transport.connected)

    def test_connection_cap(self) -> None:
        """One address cannot take all connections."""
        self.bounds = Limits(connections_per_peer_max=2)
        self.make(synchronous())
        kept = [self.open(), self.open()]
        refused = self.factory.buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.protocol = refused
        refused.makeConnection(transport)  # type: ignore[no-untyped-call]
        self.assertFalse(transport.connected)
        kept[0].transport.loseConnection()
        self.assertIsInstance(self.open().events[0], Established)


class OperationTests(ProtocolCase):
    """What the operations answer, through the whole wire."""

    def test_every_operation(self) -> None:
        """Writes, reads, archive, snapshots, verification, outbox and extensions answer."""
        session = self.open()
        call = session.call
        created = call(
            self.calls.write(rq.CreateAggregate, "order", "o-1", "order.made", {"n": 1, "z": "07"})
        )
        self.assertEqual((created["version"], created["state"]), (1, {"n": "1", "z": "07"}))
        event = call(self.append(2, metadata={"@source": "web"}, note="hi"))
        self.assertEqual(event["extensions"], {"@source": "web"})
        self.assertEqual(event["metadata"]["issued_by"], {"group": "ops", "user": "kim"})
        patched = call(
            self.calls.write(
                rq.PatchEvent, "order", "o-1", "e", [{"op": "replace", "path": "/n", "value": 3}]
            )
        )
        self.assertEqual(patched["payload"], {"n": 3})
        got = call(self.calls.get("order", "o-1"))
        self.assertEqual((got["version"], got["@source"]), (3, "web"))
        self.assertIsNone(call(self.calls.get("order", "none")))
        self.assertEqual(
            call(self.calls.select("order", "o-1", ["n", "z", " x.y ", " "])),
            {"n": 3, "x.y": None, "z": "07"},
        )
        self.assertEqual([one["version"] for one in call(self.calls.list()).items], [3])
        self.assertEqual(len(call(self.calls.events("order", "o-1", take=2)).items), 2)
        self.assertEqual(call(self.calls.verify("order", "o-1")), got["merkle_root"])
        snapshot = call(self.calls.snapshot("order", "o-1", "c"))
        self.assertEqual(call(self.calls.snapshots("order", None, None)), [snapshot])
        number = int(snapshot["snapshot_id"])
        self.assertEqual(call(self.calls.snapshot_get(number)), snapshot)
        self.assertTrue(call(self.calls.set_archive("order", "o-1", True, None))["archived"])
        self.assertNotIn("archived", call(self.calls.set_archive("order", "o-1", False, None)))
        self.assertEqual(call(self.calls.referrers("order", "o-1")), [])
        outbox = call(self.calls.outbox(None, 2))
        self.assertEqual(len(outbox.items), 2)
        self.assertEqual(len(call(self.calls.outbox(outbox.next_after, 9)).items), 1)
        batch = [Write("append", "order", f"b-{n}", "e", "{}", expected_version=0) for n in (1, 2)]
        self.assertEqual(
            [one["version"] for one in call(self.calls.commit_batch(batch, answer="receipts"))],
            [1, 1],
        )
        first = call(self.calls.aggregate_at("order", "o-1", version=1, include_events=True))
        self.assertEqual((first["aggregate"]["version"], len(first["events"])), (1, 1))
        listed = call(self.calls.scan_aggregates(sort="updated_at:desc", take=1))
        self.assertEqual(len(listed.items), 1)
        self.assertEqual(len(call(self.calls.scan_events(aggregate_type="order")).items), 5)
        self.assertEqual(call(self.calls.verify_store())["findings"], [])
        self.assertEqual(call(self.calls.status())["domain"], "default")

    def test_lists_are_cut_and_go_on(self) -> None:
        """What does not fit a frame is left to the next page, nothing is lost."""
        session = self.open()
        for number in range(30):
            text = orjson.dumps({"text": "x" * 5_000}).decode()
            call = self.calls.write(rq.AppendEvent, "order", f"o-{number:02}", "e", text)
            session.call(call)
        for resolve in (False, True):
            found: list[str] = []
            cursor = None
            while True:
                listed = session.call(self.calls.list(take=30, cursor=cursor, resolve=resolve))
                found += [one["aggregate_id"] for one in listed.items]
                cursor = listed.next_cursor
                if cursor is None:
                    break
            self.assertEqual(found, [f"o-{number:02}" for number in range(30)])
        after, ids = None, []
        while True:
            outbox = session.call(self.calls.outbox(after, 100))
            if not outbox.items:
                break
            ids += [one["aggregate_id"] for one in outbox.items]
            after = outbox.next_after
        self.assertEqual(len(ids), 30)

    def test_one_document_too_large(self) -> None:
        """A document that fits no frame is an error; the session goes on, nothing is lost."""
        session = self.open()
        call = self.calls.write(rq.AppendEvent, "order", "big", "e", {"text": "x" * 200_000})
        self.assertEqual(len(session.call(call)["payload"]["text"]), 200_000)
        error = self.assertRaises(
            errors.SerializationError, session.call, self.calls.get("order", "big")
        )
        self.assertEqual(str(error), "control response exceeds frame limit (65535 bytes)")
        whole = session.call(self.calls.aggregate_at("order", "big"))
        self.assertEqual(len(whole["aggregate"]["state"]["text"]), 200_000)
        archived = session.call(self.calls.set_archive("order", "big", True, None))
        self.assertIsNone(archived, "a committed write is never answered with an error")

    def test_terse(self) -> None:
        """With verbose_responses off a write is answered with an empty text."""
        self.make(synchronous(), verbose_responses=False)
        self.assertIsNone(self.open().call(self.append(1)))


class PermissionTests(ProtocolCase):
    """Each request is authorised by its own token."""

    def setUp(self) -> None:
        super().setUp()
        self.session = self.open()
        self.session.call(self.append(1))

    def fails(self, kind: type[errors.EventDBXError], text: str, call: Call[Any]) -> None:
        """Check that a call fails with an error of this kind and text."""
        error = self.assertRaises(kind, self.session.call, call)
        self.assertEqual(str(error), text)

    def test_tokens(self) -> None:
        """Bad, expired, foreign and too weak tokens have their own codes."""
        get = ("order", "o-1")
        for given, kind, text in (
            ("", errors.InvalidToken, "token not found or inactive"),
            ("x.y.z", errors.InvalidToken, "token not found or inactive"),
            (token(actions=["aggregate.append"]), errors.Unauthorized, "unauthorized"),
            (token(resources=["aggregate:other:*"]), errors.Unauthorized, "unauthorized"),
            (token(tenants=["other"]), errors.Unauthorized, "unauthorized"),
        ):
            self.fails(kind, text, Calls(given).get(*get))

    def test_lists_show_what_may_be_seen(self) -> None:
        """Aggregates that the token does not cover are left out silently."""
        self.session.call(self.calls.write(rq.AppendEvent, "farm", "f-1", "e", {}))
        some = Calls(token(resources=["aggregate:farm:*"]))
        self.assertEqual(
            [one["aggregate_type"] for one in self.session.call(some.list()).items], ["farm"]
        )
        self.assertEqual(len(self.session.call(some.outbox(None, 9)).items), 1)
        self.assertEqual(len(self.session.call(some.scan_events()).items), 1)
        self.assertEqual(self.session.call(some.snapshots(None, None, None)), [])

    def test_writer_without_a_name(self) -> None:
        """A token that names nobody may read and not write."""
        nobody = Calls(token(user=""))
        self.assertEqual(self.session.call(nobody.get("order", "o-1"))["version"], 1)
        call = nobody.write(rq.AppendEvent, "order", "o-1", "e", {})
        self.fails(errors.Unauthorized, "unauthorized", call)

    def test_verify_uses_the_hello(self) -> None:
        """Verification, which carries no token, is authorised by the session's."""
        weak = self.open(token(actions=["aggregate.append"]))
        self.assertRaises(errors.Unauthorized, weak.call, self.calls.verify("order", "o-1"))

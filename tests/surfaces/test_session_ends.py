"""Sessions by the id of a token, how they end with it, and wrong tokens on the wire."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from eventdbx.application.admission import Issued
from eventdbx.application.domains import Domain
from eventdbx.application.token_keys import PublicKey
from eventdbx.application.tokens import Verifier
from eventdbx.config import Limits
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import synchronous
from eventdbx.surfaces.control.calls import Calls
from eventdbx.wire import requests as rq
from eventdbx.wire.client_connection import AnswerReceived, Established, Rejected
from eventdbx.wire.noise import pre_shared_key
from tests.surfaces.listener import KEY, NOW_S, listener, token
from tests.surfaces.test_control_protocol import Session


class OneToken:
    """A ledger with the one token that tests use."""

    def __init__(self) -> None:
        self._token = token()
        reader = Verifier([PublicKey("key-1", KEY.public)], "eventdbx://self", "eventdbx-clients",
                          0, lambda: NOW_S, lambda _jti: False)  # fmt: skip
        self._issued = Issued(reader.verify(self._token), pre_shared_key(self._token))

    def find(self, jti: str) -> Issued | None:
        """Return the token for its id."""
        return self._issued if jti == self._issued.grant.jti else None

    def has(self, text: str) -> bool:
        """Tell whether it is this token."""
        return text == self._token


class Case(SynchronousTestCase):
    """A server with a ledger, whose time and revocations a test sets."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.set_back_s = 0
        self.revoked: set[str] = set()
        self.asked: list[Deferred[Any]] = []
        self.opened: list[str] = []
        self.factory, self.domain = self.made()
        self.factory.startFactory()
        self.addCleanup(self.factory.stopFactory)
        self.calls = Calls(token())

    def made(self) -> tuple[Any, Domain]:
        """Return a server that takes three wrong tokens a minute from an address."""
        return listener(
            MemoryStore(),
            synchronous(),
            self.clock,
            bounds=Limits(idle_timeout_secs=86_400),
            run_slowly=self.slowly,
            now_s=lambda: NOW_S + self.set_back_s + int(self.clock.seconds()),
            issued=OneToken(),
            is_revoked=self.revoked.__contains__,
            failures_per_minute=3,
            opened=lambda: self.opened.append("default"),
        )

    def slowly(self, _work: Any) -> Deferred[Any]:
        """Keep slow reads waiting."""
        self.asked.append(Deferred())
        return self.asked[-1]

    def open(self, text: str | None = None, **options: Any) -> Session:
        """Return a session whose hello names its token by the id, unless it is to be sent."""
        options.setdefault("send_token", False)
        return Session(
            self.factory.buildProtocol(None), token() if text is None else text, **options
        )

    def code(self, session: Session, text: str) -> str:
        """Return the code of the error that a request with this token is answered with."""
        session.events.clear()
        session.send(Calls(text).get("order", "o-1"))
        session.exchange()
        (event,) = session.events
        assert isinstance(event, AnswerReceived)
        return event.reply.texts[0].decode()

    def rejected(self, text: str, **options: Any) -> str:
        """Return why a hello is rejected."""
        session = self.open(text, **options)
        (event,) = session.events
        assert isinstance(event, Rejected)
        self.assertFalse(session.transport.connected)
        return event.message


class Proof(Case):
    """Whoever only names a token opens nothing, and is not said to be accepted."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: Any) -> None:
            if event.get("log_namespace", "").endswith("ControlProtocol"):
                self.lines.append(str(formatEvent(event)))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def accepted(self) -> bool:
        """Tell whether the log says that somebody was accepted."""
        return any("accepted" in line for line in self.lines)

    def test_named(self) -> None:
        """The domain is opened with the first request, which proves the token."""
        session = self.open(tenant="default")
        self.assertEqual(session.events, [Established()])
        self.assertFalse(self.opened or self.accepted())
        self.assertEqual(self.code(session, token()), "")
        self.assertEqual(self.opened, ["default"])
        self.assertTrue(self.accepted())

    def test_sent(self) -> None:
        """A token that was sent needs no other proof."""
        self.open(send_token=True)
        self.assertEqual(self.opened, ["default"])
        self.assertTrue(self.accepted())

    def test_overheard(self) -> None:
        """Repeating the key exchange of somebody else proves nothing."""
        heard: list[bytes] = []
        protocol = self.factory.buildProtocol(None)
        receive = protocol.dataReceived

        def overhear(data: bytes) -> None:
            heard.append(data)
            receive(data)

        protocol.dataReceived = overhear
        Session(protocol, token(), send_token=False)
        again = self.factory.buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.setTcpNoDelay = lambda _on: None  # type: ignore[attr-defined]
        transport.protocol = again
        again.makeConnection(transport)
        for data in heard:
            again.dataReceived(data)
        self.assertTrue(transport.connected)
        self.assertFalse(self.opened or self.accepted())
        again.dataReceived((64).to_bytes(4, "big") + bytes(64))
        self.assertFalse(transport.connected)
        self.assertFalse(self.opened or self.accepted())

    def test_unknown_tenant(self) -> None:
        """What does not exist is told in the answer to the hello, as ever."""
        session = self.open(tenant="nowhere")
        (event,) = session.events
        assert isinstance(event, Rejected)
        self.assertIn("failed to initialise tenant 'nowhere'", event.message)


class Ends(Case):
    """A session lives no longer than its token."""

    def lives(self, session: Session) -> bool:
        """Tell whether the session has not been closed."""
        return bool(session.transport.connected)

    def test_revoked(self) -> None:
        """A silent session is closed within a second; the others go on."""
        session, other = self.open(), self.open(token(jti="j-2"), send_token=True)
        self.assertEqual(session.events, [Established()])
        self.clock.pump([0.5] * 4)
        self.assertTrue(self.lives(session))
        self.revoked.add("j-1")
        self.clock.pump([0.5])
        self.assertFalse(self.lives(session))
        self.assertTrue(self.lives(other))

    def test_expired(self) -> None:
        """So is one whose token has run out, skew included."""
        session = self.open()
        self.assertEqual(self.code(session, token()), "")
        self.clock.pump([300] * 11 + [300, 29])
        self.assertTrue(self.lives(session))
        self.clock.pump([1.0, 1.0])
        self.assertFalse(self.lives(session))

    def test_clock_set_back(self) -> None:
        """A wall clock that is set back meanwhile gives it no more time."""
        session, endless = self.open(), self.open(token(ttl_s=0, jti="j-2"), send_token=True)
        for one in (session, endless):
            self.assertEqual(self.code(one, token()), "")
        self.clock.pump([300] * 7)
        self.set_back_s = -1800
        self.clock.pump([300] * 4 + [300, 29])
        self.assertTrue(self.lives(session))
        self.clock.pump([1.0, 1.0])
        self.assertFalse(self.lives(session))
        self.assertTrue(self.lives(endless))

    def test_next_request(self) -> None:
        """Before that, its very next request is refused, also one without a token of its own."""
        session = self.open()
        session.send(self.calls.write(rq.AppendEvent, "order", "o-1", "paid", {}))
        session.exchange()
        self.revoked.add("j-1")
        self.assertEqual(self.code(session, token()), "invalid_token")
        session.events.clear()
        session.send(self.calls.verify("order", "o-1"))
        session.exchange()
        (event,) = session.events
        assert isinstance(event, AnswerReceived)
        self.assertEqual(event.reply.texts[0], b"invalid_token")

    def test_something_in_flight(self) -> None:
        """What is being answered may take until the next look, then the connection is cut."""
        session = self.open()
        session.send(self.calls.write(rq.AppendEvent, "order", "o-1", "paid", {}))
        session.exchange()
        session.send(self.calls.verify("order", "o-1"))
        session.exchange()
        self.assertEqual(len(self.asked), 1)
        self.revoked.add("j-1")
        self.clock.pump([0.5])
        self.assertTrue(self.lives(session))
        self.clock.pump([0.5])
        self.assertFalse(self.lives(session))


class Strangers(Case):
    """Wrong tokens, in hellos and in requests."""

    def test_hellos(self) -> None:
        """After so many the address is told to wait, and good clients behind it are let in."""
        good = self.open()
        for _ in range(3):
            self.assertEqual(self.rejected("a.b.c", send_token=True), "invalid control token")
        told = self.rejected("a.b.c", send_token=True)
        self.assertEqual(told, "too many failed attempts; try again in 20 s")
        self.assertTrue(self.rejected(token(jti="j-9")).startswith("too many failed attempts"))
        self.assertEqual(self.open().events, [Established()])
        self.assertEqual(self.open(send_token=True).events, [Established()])
        self.assertEqual(self.code(good, token()), "")
        self.clock.advance(20)
        self.assertEqual(self.rejected("a.b.c", send_token=True), "invalid control token")

    def test_requests(self) -> None:
        """Requests spend of the same budget; the session's own token goes on."""
        session = self.open()
        codes = [self.code(session, f"a.b.{number}") for number in range(5)]
        self.assertEqual(codes, ["invalid_token"] * 3 + ["unauthorized"] * 2)
        self.assertEqual(self.code(session, token()), "")
        self.assertTrue(self.rejected("a.b.c", send_token=True).startswith("too many failed"))

    def test_proofs(self) -> None:
        """Naming a token that one does not hold is an attempt, too."""
        forged = token()[:-8] + "AAAAAAAA"
        for _ in range(3):
            session = self.open(forged)
            self.assertEqual(session.events, [])
            self.assertFalse(session.transport.connected)
        self.assertTrue(self.rejected("a.b.c", send_token=True).startswith("too many failed"))
        self.assertEqual(self.open().events, [Established()])

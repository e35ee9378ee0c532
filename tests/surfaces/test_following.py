"""Following events over the control protocol: catching up, waiting, giving way, coming back."""

from __future__ import annotations

import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from eventdbx.application.following import Followed as Page
from eventdbx.client import BlockingClient, Client, Followed, Write
from eventdbx.errors import InvalidCursor, InvalidSchema, IoError, TokenExpired, Unauthorized
from eventdbx.storage.store import synchronous
from eventdbx.surfaces.control.calls import Call, Calls, result_of
from eventdbx.surfaces.control.following import GATHER_S
from tests.daemon import Workspace, free_port, running
from tests.surfaces.listener import NOW_S, token
from tests.surfaces.test_control_protocol import ProtocolCase, Session


class Polls(ProtocolCase):
    """One request, on a listener whose time the test moves."""

    def follow(self, session: Session, after: str = "", **options: Any) -> None:
        """Send a request."""
        session.send(self.calls.follow(after, **options))
        session.exchange()

    def last(self, session: Session) -> Followed:
        """Return the newest answer."""
        call: Call[Followed] = self.calls.follow("")
        return result_of(call, session.replies[-1])

    def numbers(self, session: Session) -> list[int]:
        """Return the numbers of the events in it."""
        return [event["payload"]["n"] for event in self.last(session).events]

    def test_at_once(self) -> None:
        """What is there is answered at once, with a token behind it."""
        session = self.open()
        for number in range(3):
            session.call(self.append(number))
        self.follow(session, take=2, wait_ms=30_000)
        self.assertEqual(self.numbers(session), [0, 1])
        self.assertEqual(self.last(session)[1:], ("0-1", True))
        self.follow(session, "0-1", wait_ms=30_000)
        self.assertEqual(self.numbers(session), [2])
        self.assertEqual(self.last(session)[1:], ("0-2", False))
        self.assertEqual(self.last(session).events[0]["position"], "0-2")

    def test_waits_for_a_commit(self) -> None:
        """With nothing there the answer comes with the next commit, and not before."""
        session, other = self.open(), self.open()
        self.follow(session, wait_ms=30_000)
        self.clock.advance(5)
        session.exchange()
        self.assertEqual(session.replies, [])
        other.call(self.append(7))
        other.call(self.append(8))
        self.clock.advance(GATHER_S)
        session.exchange()
        self.assertEqual(self.numbers(session), [7, 8])
        self.assertEqual(self.clock.getDelayedCalls()[1:], [], "a timer is left")
        self.assertEqual(self.domain.store.on_commit, [])

    def test_waits_on_over_what_it_does_not_want(self) -> None:
        """A commit of something else does not end the wait; the token moves on over it."""
        session, other = self.open(), self.open()
        self.follow(session, aggregate_type="bill", wait_ms=5_000)
        other.call(self.append(7))
        self.clock.advance(1)
        session.exchange()
        self.assertEqual(session.replies, [])
        self.clock.advance(4)
        session.exchange()
        self.assertEqual(self.last(session), Followed([], "0-0", False))

    def test_the_time_is_over(self) -> None:
        """An answer without events comes when the time is over, after 30 seconds at the latest."""
        session = self.open()
        for wait_ms, wait_s in ((1_500, 1.5), (2**32 - 1, 30)):
            self.follow(session, wait_ms=wait_ms)
            count = len(session.replies)
            self.clock.advance(wait_s - 0.1)
            session.exchange()
            self.assertEqual(len(session.replies), count)
            self.clock.advance(0.1)
            session.exchange()
            self.assertEqual(self.last(session), Followed([], "", False))
        self.follow(session)
        self.assertEqual(len(session.replies), 3)

    def test_gives_way(self) -> None:
        """Another request of the connection is not held up: who waits is answered before it."""
        session = self.open()
        self.follow(session, wait_ms=30_000)
        self.assertEqual(session.call(self.append(1))["version"], 1)
        self.assertEqual(len(session.replies), 2)
        self.follow(session, "0-0", wait_ms=30_000)
        self.assertEqual(session.call(self.calls.status())["domain"], "default")
        self.assertEqual(len(session.replies), 4)
        self.assertEqual(self.domain.store.on_commit, [])

    def test_many_at_once(self) -> None:
        """Of many requests in a row the last one waits."""
        session, other = self.open(), self.open()
        for _ in range(50):
            session.send(self.calls.follow("", wait_ms=30_000))
        session.exchange()
        self.assertEqual(len(session.replies), 49)
        self.assertEqual(len(self.domain.store.on_commit), 1)
        other.call(self.append(3))
        self.clock.advance(GATHER_S)
        session.exchange()
        self.assertEqual(self.numbers(session), [3])

    def test_hurried_while_it_reads(self) -> None:
        """Another request that comes while the log is read waits for that alone."""
        session = self.open()
        reading: Deferred[Any] = Deferred()
        self.run_result = reading
        self.follow(session, wait_ms=30_000)
        session.send(self.calls.status())
        session.exchange()
        self.assertEqual(session.replies, [])
        self.run_result = None
        reading.callback(Page([], -1, False))
        session.exchange()
        self.assertEqual(len(session.replies), 2)

    def test_the_connection_goes(self) -> None:
        """Nothing is left of who waited on a connection that is gone, reading or not."""
        for reads in (False, True):
            session = self.open()
            if reads:
                self.run_result = Deferred()
            self.follow(session, wait_ms=30_000)
            session.transport.loseConnection()
            self.assertEqual(self.domain.store.on_commit, [])
            if self.run_result is not None:
                self.run_result.errback(IoError("gone"))
        self.run_result = None
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_server_stops(self) -> None:
        """A server that stops answers who waits, and does not wait for them."""
        session = self.open()
        self.follow(session, wait_ms=30_000)
        drained = self.factory.drain()
        session.exchange()
        self.assertEqual(self.last(session), Followed([], "", False))
        self.successResultOf(drained)

    def test_not_quiet(self) -> None:
        """A connection that waits is not closed for being quiet."""
        session = self.open()
        self.factory.startFactory()
        self.addCleanup(self.factory.stopFactory)
        for _ in range(60):
            self.follow(session, wait_ms=30_000)
            self.clock.pump([15, 15])
            session.exchange()
        self.assertTrue(session.transport.connected)

    def test_rights(self) -> None:
        """Only what the token may read is there; the token moves on over the rest."""
        session, names = self.open(), ("o-1", "o-2", "o-1")
        for number, name in enumerate(names):
            write = Write("append", "order", name, "paid", f'{{"n":{number}}}')
            session.call(self.calls.commit_batch((write,), answer="receipts"))
        self.calls = Calls(token(actions=["aggregate.read"], resources=["aggregate:order:o-1"]))
        self.follow(session)
        self.assertEqual(self.numbers(session), [0, 2])
        self.follow(session, "0-0", take=1)
        self.assertEqual(self.numbers(session), [2])
        self.follow(session, aggregate_type="order", aggregate_id="o-2")
        self.assertRaises(Unauthorized, self.last, session)
        self.calls = Calls(token(actions=["aggregate.append"]))
        self.follow(session)
        self.assertRaises(Unauthorized, self.last, session)

    def test_wrong_requests(self) -> None:
        """Wrong tokens, filters and names are refused, and the session goes on."""
        session = self.open()
        for kind, after, options in (
            (InvalidCursor, "0-7", {}),
            (InvalidCursor, "first", {}),
            (InvalidSchema, "", {"filter": "n >"}),
            (InvalidSchema, "", {"aggregate_type": "Not A Type"}),
            (InvalidSchema, "", {"aggregate_id": "o-1"}),
        ):
            self.follow(session, after, **options)
            self.assertRaises(kind, self.last, session)
        self.assertEqual(session.call(self.calls.status())["domain"], "default")


class Revoked(ProtocolCase):
    """A token that ends while its request waits."""

    def test_expires(self) -> None:
        """What comes after the end of the token is not shown."""
        self.make(synchronous(), now_s=lambda: NOW_S + int(self.clock.seconds()))
        calls = Calls(token(ttl_s=60))
        session, other = self.open(), self.open()
        for one in (session, other):
            one.call(self.calls.status())
        self.clock.advance(75)  # A token is good for half a minute after its time.
        session.send(calls.follow("", wait_ms=30_000))
        session.exchange()
        self.clock.advance(20)
        other.call(self.append(1))
        self.clock.advance(GATHER_S)
        session.exchange()
        self.assertRaises(TokenExpired, result_of, calls.follow(""), session.replies[-1])


class Blocking(SynchronousTestCase):
    """The client that waits, on a real server."""

    def setUp(self) -> None:
        space = running()
        self.client = BlockingClient("127.0.0.1", space.port, space.token)
        self.addCleanup(self.client.close)

    def fill(self, kind: str, numbers: range) -> None:
        """Append events, one after another."""
        for number in numbers:
            self.client.append(kind, f"f-{number % 3}", "made", {"n": number})

    def test_catch_up(self) -> None:
        """Everything of a type, of one aggregate, or that a filter matches, and then the end."""
        self.fill("followed", range(20))
        kind = {"aggregate_type": "followed", "live": False}
        with self.client.follow("start", take=7, **kind) as follower:
            events = list(follower)
        self.assertEqual([event["payload"]["n"] for event in events], list(range(20)))
        for options, expected in (
            ({"aggregate_id": "f-1"}, list(range(1, 20, 3))),
            ({"filter": "payload.n > 16"}, [17, 18, 19]),
        ):
            found = self.client.follow("start", **kind, **options)
            self.assertEqual([event["payload"]["n"] for event in found], expected)

    def test_live(self) -> None:
        """Events that are committed later come by themselves, none twice, none missed; the token
        is good for going on with another follower."""
        follower = self.client.follow(aggregate_type="watched")
        self.addCleanup(follower.close)
        self.fill("watched", range(3))
        self.assertEqual([next(follower)["payload"]["n"] for _ in range(2)], [0, 1])
        writing = threading.Timer(0.05, self.fill, ("watched", range(3, 6)))
        again = self.client.follow(follower.token, aggregate_type="watched")
        self.addCleanup(again.close)
        self.assertEqual(next(again)["payload"]["n"], 2)
        writing.start()
        self.addCleanup(writing.join)
        self.assertEqual([next(again)["payload"]["n"] for _ in range(3)], [3, 4, 5])

    def test_another_server(self) -> None:
        """A follower lives through a restart of the server."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        space = Workspace(Path(folder.name) / "database")
        space.start()
        self.addCleanup(space.stop)
        with BlockingClient("127.0.0.1", space.port, space.token) as client:
            client.append("order", "o-1", "made", {"n": 0})
            follower = client.follow("start")
        self.addCleanup(follower.close)
        self.assertEqual(next(follower)["payload"], {"n": 0})
        space.stop()
        space.start()
        with BlockingClient("127.0.0.1", space.port, space.token) as client:
            client.append("order", "o-1", "made", {"n": 1})
        self.assertEqual(next(follower)["payload"], {"n": 1})
        self.assertEqual(follower.token, "0-1")

    def test_gives_up(self) -> None:
        """A server that is away for longer than a follower has patience is an error."""
        space = running()
        port = free_port()
        follower = self.client.follow("start", patience_s=0.1)

        def nobody() -> BlockingClient:
            return BlockingClient("127.0.0.1", port, space.token)

        follower._dial = nobody
        self.assertRaises(IoError, next, follower)

    def test_refused(self) -> None:
        """What the server refuses is raised, not tried again."""
        follower = self.client.follow("first")
        self.addCleanup(follower.close)
        self.assertRaises(InvalidCursor, next, follower)


class Asynchronous(TestCase):
    """The client for Twisted, on a real server."""

    async def connect(self) -> Client:
        """Open a session that the test closes."""
        space = running()
        client = await Client.connect(
            HostnameEndpoint(reactor, b"127.0.0.1", space.port), space.token
        )
        self.addCleanup(client.close)
        return client

    async def test_live(self) -> None:
        """Events come as they are committed; other calls of the client are not held up."""
        client = await self.connect()
        follower = client.follow(aggregate_type="seen")
        self.addCleanup(follower.close)
        for number in range(3):
            await client.append("seen", "s-1", "made", {"n": number})
        found = []
        async for event in follower:
            found.append(event["payload"]["n"])
            if len(found) == 5:
                break
            if found[-1] == 2:
                waiting = Deferred.fromCoroutine(follower.__anext__())
                self.assertNoResult(waiting)
                await client.append("seen", "s-1", "made", {"n": 3})
                found.append((await waiting)["payload"]["n"])
                await client.append("seen", "s-1", "made", {"n": 4})
        self.assertEqual(found, [0, 1, 2, 3, 4])

    async def test_catch_up(self) -> None:
        """Without waiting it ends where the log ends now."""
        client = await self.connect()
        writes = [Write("append", "caught", "c-1", "made", f'{{"n":{n}}}') for n in range(30)]
        await client.commit_batch(writes)
        follower = client.follow("start", aggregate_type="caught", take=4, live=False)
        self.assertEqual([event["payload"]["n"] async for event in follower], list(range(30)))
        calls = Calls(running().token)
        self.assertEqual(follower.token, (await client.call(calls.follow("end"))).next)

    async def test_another_server(self) -> None:
        """A follower lives through a restart of the server."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        space = Workspace(Path(folder.name) / "database")
        await deferToThread(space.start)
        self.addCleanup(space.stop)
        endpoint = HostnameEndpoint(reactor, b"127.0.0.1", space.port)
        client = await Client.connect(endpoint, space.token)
        await client.append("order", "o-1", "made", {"n": 0})
        follower = client.follow("start")
        self.addCleanup(follower.close)
        await follower.__anext__()
        await client.close()
        waiting = Deferred.fromCoroutine(follower.__anext__())
        await deferToThread(space.stop)
        await deferToThread(space.start)
        client = await Client.connect(endpoint, space.token)
        self.addCleanup(client.close)
        await client.append("order", "o-1", "made", {"n": 1})
        self.assertEqual((await waiting)["payload"], {"n": 1})

"""What the Admin API refuses to whom: rates, budgets, browsers, sockets, senders without end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from eventdbx import limits
from eventdbx.application.admission import Admission
from eventdbx.application.attempts import Attempts
from eventdbx.application.token_keys import PublicKey
from eventdbx.application.tokens import Verifier
from eventdbx.domain.grants import Grant
from eventdbx.errors import SchemaExists, SerializationError
from eventdbx.surfaces.admin.admission import Door, Peer, may_call
from eventdbx.surfaces.admin.rates import Buckets
from eventdbx.surfaces.admin.repeating import Repeats
from eventdbx.surfaces.admin.table import Answer, Call, Problem, Row
from tests.surfaces.admin.site import AdminSite, taken_apart
from tests.surfaces.listener import KEY, NOW_S, token


def rows() -> list[Row]:
    """Return one route that tells who asks."""
    return [
        Row(
            method="GET",
            path="/admin/who",
            operation="who",
            summary="Who",
            action="token.read",
            handle=lambda call: Answer(document=[call.grant.subject, call.request_id]),
            answers={200: "Who"},
            tag="who",
        )
    ]


class LimitCase(TestCase):
    """A listener with that route."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.site = AdminSite(rows())
        await self.site.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.site.stop()))

    async def status(self, **more: Any) -> int:
        """Return the status of an answer."""
        return (await self.site.ask("GET", "/admin/who", **more)).status


class RateTests(LimitCase):
    """So many requests, and so many failures."""

    async def test_requests_of_one_token(self) -> None:
        """A token has its own bucket, which fills again; the headers say how full it is."""
        self.site.set(requests_per_second=2, requests_burst=3)
        left = []
        for _attempt in range(3):
            answer = await self.site.ask("GET", "/admin/who")
            left.append((answer.status, answer.headers["ratelimit-remaining"]))
        self.assertEqual(left, [(200, "2"), (200, "1"), (200, "0")])
        answer = await self.site.ask("GET", "/admin/who")
        self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "1"))
        self.site.clock.advance(0.5)
        self.assertEqual([await self.status(), await self.status()], [200, 429])

    async def test_failures_of_one_address(self) -> None:
        """Ten wrong tokens, then the next is not even looked at; a known one goes on."""
        self.assertEqual(await self.status(), 200)
        found = [await self.status(bearer="a.b.c") for _attempt in range(11)]
        self.assertEqual(found, [401] * 10 + [429])
        answer = await self.site.ask("GET", "/admin/who", bearer="d.e.f")
        self.assertEqual((answer.status, answer.document["code"]), (429, "rate_limited"))
        self.assertIn("retry-after", answer.headers)
        problem = {"accept": "application/problem+json", "x_request_id": "r-1"}
        answer = await self.site.ask("GET", "/admin/who", bearer="d.e.f", **problem)
        kinds = (answer.headers["content-type"], answer.headers["x-request-id"])
        self.assertEqual(kinds, ("application/problem+json", "r-1"))
        self.assertEqual(await self.status(), 200)
        self.site.clock.advance(60)
        self.assertEqual(await self.status(bearer="a.b.c"), 401)

    async def test_strangers_use_up_their_own_bucket(self) -> None:
        """Requests without a good token count on their address, never on the tokens behind it."""
        self.site.set(requests_per_second=1, requests_burst=2)
        found = [await self.status(bearer="") for _attempt in range(3)]
        self.assertEqual(found, [401, 401, 429])
        self.assertEqual(await self.status(), 200)


class DoorTests(SynchronousTestCase):
    """Who is turned away before anything else."""

    def test_stars_are_no_letters(self) -> None:
        """A pattern that fits the text ``*`` does not stand for everything."""
        for actions, resources, wanted in (
            (("?.?",), (), False),
            (("*.?",), ("*",), False),
            (("token.read",), ("?",), False),
            (("token.read",), ("**",), True),
            (("*",), (), True),
            (("token.*",), ("*",), True),
        ):
            grant = Grant("j", "s", actions=actions, resources=resources)
            self.assertIs(may_call(grant, "token.read"), wanted, (actions, resources))

    def test_revocations_that_cannot_be_read(self) -> None:
        """A known token is not turned away for them, but refused, as everybody is."""
        broken = False

        def is_revoked(_jti: str) -> bool:
            if broken:
                raise SerializationError("revocations")
            return False

        verifier = Verifier(
            [PublicKey("key-1", KEY.public)], "eventdbx://self", "eventdbx-clients", 30,
            lambda: NOW_S, is_revoked,
        )  # fmt: skip
        admission = Admission(verifier, Attempts(lambda: 0.0, 10))
        door = Door(admission, Buckets(lambda: 0.0, lambda: (1, 1)))
        admission.verify(token(), "a")
        broken = True
        self.assertIsNone(door.turns_away(token(), "a"))
        with self.assertRaises(Problem) as raised:
            door.admit(Peer("a", None), {"x-admin-key": token()})
        self.assertEqual(raised.exception.status, 401)


class BucketTests(SynchronousTestCase):
    """The buckets themselves."""

    def test_memory_is_bounded(self) -> None:
        """Whoever comes under ever new names makes us remember no more than so many."""
        buckets = Buckets(lambda: 0.0, lambda: (1, 1))
        for number in range(limits.HTTP_BUCKETS_MAX + 10):
            buckets.take(str(number))
        self.assertEqual(len(buckets), limits.HTTP_BUCKETS_MAX)

    def test_clock_that_is_set_back(self) -> None:
        """It takes nothing out of a bucket."""
        now = 7200.0
        buckets = Buckets(lambda: now, lambda: (1, 5))
        buckets.take("a")
        now = 3600.0
        self.assertEqual(buckets.take("a").remaining, 3)


class RepeatTests(SynchronousTestCase):
    """Answers that are kept."""

    def test_memory_is_bounded(self) -> None:
        """The oldest answer makes room; a key without end is refused."""
        repeats = Repeats(lambda: 0.0)
        done: list[int] = []

        def work() -> Deferred[Answer]:
            done.append(len(done))
            return succeed(Answer(document=done[-1]))

        for number in range(limits.REPEATS_MAX + 1):
            repeats.once(("jti", "POST /x", str(number)), b"", work)
        again = self.successResultOf(repeats.once(("jti", "POST /x", "1"), b"", work))
        self.assertEqual(again.document, 1)
        self.successResultOf(repeats.once(("jti", "POST /x", "0"), b"", work))
        self.assertEqual(len(done), limits.REPEATS_MAX + 2)
        with self.assertRaisesRegex(Problem, "longer than 256 bytes"):
            repeats.once(("jti", "POST /x", "k" * 257), b"", work)

    def test_keys_of_others(self) -> None:
        """The key of one token or route is not that of another."""
        repeats = Repeats(lambda: 0.0)
        for number, key in enumerate([("a", "/x", "k"), ("b", "/x", "k"), ("a", "/y", "k")]):
            work = partial(succeed, Answer(document=number))
            answer = self.successResultOf(repeats.once(key, b"", work))
            self.assertEqual(answer.document, number)

    def test_failed_work_may_be_tried_again(self) -> None:
        """What was refused is not kept: the cause may be gone."""
        repeats, key = Repeats(lambda: 0.0), ("a", "POST /x", "k")
        self.failureResultOf(repeats.once(key, b"", lambda: fail(SchemaExists())), SchemaExists)
        answer = self.successResultOf(repeats.once(key, b"", lambda: succeed(Answer(status=201))))
        self.assertEqual(answer.status, 201)


class BrowserTests(LimitCase):
    """Pages that call."""

    async def test_no_headers_unless_asked_for(self) -> None:
        """By default no page of another site reads anything."""
        answer = await self.site.ask("GET", "/admin/who", origin="https://ops.example")
        self.assertFalse([name for name in answer.headers if name.startswith("access-control")])
        self.assertEqual(await self.preflight("https://ops.example"), (405, None))

    async def preflight(self, origin: str) -> tuple[int, str | None]:
        """Ask as browsers do before they ask."""
        answer = await self.site.ask(
            "OPTIONS", "/admin/who", origin=origin, access_control_request_method="GET"
        )
        return answer.status, answer.headers.get("access-control-allow-origin")

    async def test_listed_origins(self) -> None:
        """Exactly the listed origins may read, and are told so one by one."""
        self.site.set(cors_origins=("https://ops.example",))
        self.assertEqual(await self.preflight("https://ops.example"), (204, "https://ops.example"))
        self.assertEqual(await self.preflight("https://ops.example.evil"), (405, None))
        answer = await self.site.ask("GET", "/admin/who", origin="https://ops.example")
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://ops.example")
        self.assertEqual(answer.headers["vary"], "Origin")
        self.assertNotIn("access-control-allow-credentials", answer.headers)

    async def test_hosts(self) -> None:
        """With a list of names, the server answers under no other: a page cannot rename it."""
        self.site.set(hosts=("admin.example", "[::1]:7171"))
        for host, wanted in (
            ("admin.example", 200),
            ("Admin.example:7171", 200),
            ("[::1]:7171", 200),
            ("evil.example", 403),
            ("", 403),
        ):
            self.assertEqual(await self.status(host=host), wanted, host)


class HeaderTests(LimitCase):
    """What is said beside the body."""

    async def test_request_ids(self) -> None:
        """A sensible id is taken over and echoed; anything else gets one of ours."""
        answer = await self.site.ask("GET", "/admin/who", x_request_id="trace-1.a~b")
        self.assertEqual(answer.headers["x-request-id"], "trace-1.a~b")
        self.assertEqual(answer.document[1], "trace-1.a~b")
        answer = await self.site.ask("GET", "/admin/who", x_request_id="a b")
        self.assertRegex(answer.headers["x-request-id"], r"\A[0-9a-f]{32}\Z")

    async def test_always_there(self) -> None:
        """No sniffing, no version of the server for strangers."""
        for bearer in ("", None):
            answer = await self.site.ask("GET", "/admin/who", bearer=bearer)
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["server"], "EventDBX")
            self.assertEqual("x-eventdbx-version" in answer.headers, bearer is None)


class SenderTests(LimitCase):
    """Bytes that never become a request."""

    async def test_a_slow_sender_is_cut_off(self) -> None:
        """A request has 30 s to arrive, however steadily it drips."""
        conversation = await self.site.open()
        assert conversation.transport is not None
        for _second in range(3):
            conversation.transport.write(b"GET /admin/who HTTP/1.1\r\nx: y\r\n"[:9])
            await self.site.ask("GET", "/admin/who")
            self.site.site_clock.advance(11)
        self.assertEqual(await conversation.ended, b"")

    async def test_heads_are_bounded(self) -> None:
        """9,000 bytes of headers pass, 34,000 do not; a path of 17,000 is too long."""
        self.assertEqual(await self.status(x_big="z" * 9_000), 200)
        more = {"x_big": "z" * 17_000, "x_more": "z" * 17_000}
        self.assertEqual((await self.refused("/admin/who", **more)), 431)
        self.assertEqual((await self.refused("/admin/who", x_big="z" * 100_000)), 431)
        self.assertEqual((await self.refused("/" + "z" * 100_000)), 414)
        answer = await self.site.ask("GET", "/admin/" + "z" * 17_000)
        self.assertEqual(answer.status, 414)

    async def refused(self, path: str, **headers: str) -> int:
        """Return the status for a head that never became a request."""
        asking = Deferred.fromCoroutine(self.site.ask("GET", path, **headers))
        while not self.site.site.refusing:
            await self.status()
        self.site.site_clock.advance(1)
        return (await asking).status

    async def test_bodies_without_end(self) -> None:
        """A body that goes on after it has become too large ends with the connection."""
        conversation = await self.site.open()
        assert conversation.transport is not None
        head = f"POST /admin/who HTTP/1.1\r\nauthorization: Bearer {token()}\r\n"
        conversation.transport.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        for _megabyte in range(10):
            conversation.transport.write(piece)
        self.assertEqual(await conversation.ended, b"")

    async def test_connections_are_bounded(self) -> None:
        """Connections that ask nothing make room for one more, the oldest first."""
        held = [await self.site.open() for _number in range(limits.HTTP_CONNECTIONS_MAX)]
        self.assertEqual(await self.status(), 200)
        self.assertEqual(await held[0].ended, b"")
        self.assertEqual(self.site.site.connection_count, limits.HTTP_CONNECTIONS_MAX - 1)
        self.assertFalse(held[1].ended.called)

    async def test_requests_at_work_keep_their_connection(self) -> None:
        """With requests at work on all connections, one too many is closed."""
        waiting: list[Deferred[Answer]] = []

        def wait(_call: Call) -> Deferred[Answer]:
            waiting.append(Deferred())
            return waiting[-1]

        row = replace(rows()[0], handle=wait)
        site = AdminSite([row])
        await site.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(site.stop()))
        asking = [
            Deferred.fromCoroutine(site.ask("GET", "/admin/who"))
            for _number in range(limits.HTTP_CONNECTIONS_MAX)
        ]
        while len(waiting) < limits.HTTP_CONNECTIONS_MAX:
            await self.status()
        extra = await site.open()
        self.assertEqual(await extra.ended, b"")
        for one in waiting:
            one.callback(Answer(document="done"))
        self.assertEqual({(await answer).status for answer in asking}, {200})

    async def test_stopping(self) -> None:
        """Stopping ends idle connections at once and waits for nobody without end."""
        idle = await self.site.open()
        draining = self.site.site.drain(5.0)
        self.assertEqual(await idle.ended, b"")
        await draining
        self.assertEqual(self.site.site_clock.getDelayedCalls(), [])


class UnixTests(TestCase):
    """A socket in the file system."""

    async def test_the_account_at_the_other_end(self) -> None:
        """The server's own account may do everything without a token; a bad token is still bad."""
        site = AdminSite(rows())
        path = self.mktemp()
        await site.start(f"unix:{path}:mode=600")
        self.addCleanup(lambda: Deferred.fromCoroutine(site.stop()))
        answer = await site.ask("GET", "/admin/who", bearer="")
        self.assertEqual(answer.status, 200)
        self.assertRegex(answer.document[0], r"\Aunix:\d+\Z")
        self.assertEqual((await site.ask("GET", "/admin/who", bearer="bad")).status, 401)


class TakenApartTests(SynchronousTestCase):
    """The reader of answers that these tests rely on."""

    def test_an_answer(self) -> None:
        """Status, headers and body are told apart."""
        answer = taken_apart(b"HTTP/1.1 200 OK\r\nA: b: c\r\n\r\n{}")
        self.assertEqual(answer, (200, {"a": "b: c"}, b"{}", "OK"))

"""Ways around the rights of a token, and changes of tokens and keys while they are in use."""

from __future__ import annotations

import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import orjson

from eventdbx.domain.commands import Write
from eventdbx.errors import ConfigError, EventDBXError, IoError
from eventdbx.surfaces.control.calls import Calls
from eventdbx.wire import requests as rq
from tests.permissions.operations import SEEN
from tests.permissions.place import AWAY_TEXT
from tests.permissions.rules import AWAY, ELSEWHERE, HERE, READER, ROOT, SCOPED, Holder
from tests.permissions.test_admin import AdminCase

PATIENCE_S = 30.0
"""Longer than anything here takes, for what would otherwise wait for ever."""


def write(identifier: str, **options: Any) -> Write:
    """Return a write to an order."""
    return Write("append", "order", identifier, "order_paid", "{}", **options)


class Ways(AdminCase):
    """What a clever holder of a small token tries."""

    def answered(self, request: rq.Request) -> str:
        """Return the answer to a request: its text, or the code of the error."""
        try:
            return b"".join(self.place.ask(request).texts).decode()
        except EventDBXError as error:
            return error.code

    def test_batch(self) -> None:
        """One write that is not allowed spoils its batch: nothing of it is written."""
        one = self.place.fresh(SEEN)
        before = self.place.state()
        token = self.place.tokens[SCOPED]
        for writes in (write(one), write(f"{AWAY}-1")), (write(f"{AWAY}-1"), write(one)):
            self.assertEqual(self.answered(rq.CommitBatch(token, writes)), "unauthorized")
        self.assertEqual(self.place.state(), before)

    def test_idempotency_keys(self) -> None:
        """A known key does not hand out the first result to whoever could not have written it."""
        one = self.place.fresh(SEEN)
        root = self.place.tokens[ROOT]
        batch = rq.CommitBatch(root, (write(one),), f"batch-{one}", "events")
        single = rq.AppendEvent(root, "order", one, "order_paid", "{}", idempotency_key=f"k-{one}")
        for request in batch, single:
            first = self.answered(request)
            self.assertIn(one, first)
            for holder in (ELSEWHERE, READER):
                repeated = request._replace(token=self.place.tokens[holder])
                self.assertEqual(self.answered(repeated), "unauthorized")

    def test_jobs(self) -> None:
        """Jobs of the queue, which hold payloads, are shown for aggregates that one may see."""
        number = self.place.dead_job()
        for resources, sees in ((f"aggregate:order:{AWAY}-*",), False), (
            (f"aggregate:order:{HERE}-*",), True
        ):  # fmt: skip
            limited = Holder("limited", "", actions=("*.read",), resources=resources)
            token, _jti = self.place.issue(limited)
            for asked in {"do": "job", "id": number}, {"do": "queue"}:
                answer = self.answered(rq.PluginOperation(token, orjson.dumps(asked)))
                self.assertEqual(f"{HERE}-dead" in answer, sees, asked)
                self.assertIn("null" if asked["do"] == "job" and not sees else "{", answer)

    def test_cursors(self) -> None:
        """Where a list goes on is said without naming what the token may not see."""
        token = self.place.tokens[SCOPED]
        for request in (
            rq.ScanAggregates(token, take=1),
            rq.ScanAggregates(token, take=1, filter='aggregate_id != "none"'),
            rq.ScanEvents(token, take=1),
            rq.ListAggregates(token, take=1),
        ):
            answer = self.answered(request)
            self.assertIn(HERE, answer)
            cursor = orjson.loads(answer)["next_cursor"] if answer[0] == "{" else answer[-60:]
            shown = f"{cursor}{decoded(str(cursor))}"
            self.assertNotIn(AWAY, shown)

    def test_filters(self) -> None:
        """A filter finds nothing that the list would not show, in payloads neither."""
        for holder in (SCOPED, ELSEWHERE):
            token = self.place.tokens[holder]
            other = AWAY if holder is SCOPED else HERE
            for text in (
                f'aggregate_id = "{other}-1"',
                f'aggregate_id = "{other}-1" OR version > 99',
            ):
                found = orjson.loads(self.answered(rq.ScanAggregates(token, filter=text)))
                self.assertEqual(found["items"], [])
                everything = rq.ScanAggregates(self.place.tokens[ROOT], filter=text)
                self.assertIn(f"{other}-1", self.answered(everything))
        text = f'text = "{AWAY_TEXT}"'
        token = self.place.tokens[SCOPED]
        self.assertNotIn(AWAY_TEXT, self.answered(rq.ScanAggregates(token, filter=text)))

    def test_handing_on(self) -> None:
        """A token makes no token that may do more, neither anew nor by refreshing another's."""
        limited = Holder(
            "limited", "", actions=("token.*", "aggregate.read"), resources=("*",), tenants=()
        )
        token, _jti = self.place.issue(limited)
        asked = {"group": "g", "user": "u"}
        for actions, status in (
            (["aggregate.read"], 201), (["token.read"], 201), (["token.*"], 201),
            (["*.*"], 403), (["*"], 403), (["aggregate.*"], 403), (["*.read"], 403),
            (["aggregate.read", "schema.read"], 403), (["?*"], 403), (["**"], 403),
        ):  # fmt: skip
            told = self.ask("POST", "/admin/tokens", token, {**asked, "actions": actions})
            self.assertEqual(told.status, status, actions)
        _root, jti = self.place.issue(ROOT)
        told = self.ask("POST", f"/admin/tokens/{jti}/refresh", token, {})
        self.assertEqual(told.status, 403)
        told = self.ask("POST", "/admin/tokens/refresh", token, {"token": jti})
        self.assertEqual(told.status, 403)

    def test_token_that_is_too_long(self) -> None:
        """A token that no server would accept is not issued."""
        asked = {"group": "g", "user": "u", "actions": ["aggregate.read"]}
        resources = [f"aggregate:order:{number}" for number in range(1_000)]
        root = self.place.tokens[ROOT]
        before = len(orjson.loads(self.ask("GET", "/admin/tokens", root).body))
        told = self.ask("POST", "/admin/tokens", root, {**asked, "resources": resources})
        self.assertEqual(told.status, 400)
        self.assertIn(b"longer than 16384 characters", told.body)
        told = self.ask("POST", "/admin/tokens", root, {**asked, "resources": resources[:300]})
        token = orjson.loads(told.body)["token"]
        self.place.open(token).close()
        self.assertEqual(len(orjson.loads(self.ask("GET", "/admin/tokens", root).body)), before + 1)

    def test_limited_writes(self) -> None:
        """Connections side by side do not write more than their token may in all."""
        asked = {"group": "g", "user": "u", "actions": ["*.*"], "write_limit": 25}
        told = self.ask("POST", "/admin/tokens", self.place.tokens[ROOT], asked)
        token = orjson.loads(told.body)["token"]
        ended: list[str] = []
        orders = [self.place.fresh(SEEN) for _number in range(4)]

        def append(one: str) -> None:
            calls = Calls(token)
            with self.place.open(token) as client:
                try:
                    for _attempt in range(30):
                        client.call(calls.write(rq.AppendEvent, "order", one, "order_paid", {}))
                except EventDBXError as error:
                    ended.append(error.code)

        threads = [threading.Thread(target=append, args=(one,)) for one in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.assertEqual(ended, ["token_limit_reached"] * len(orders))
        found = [self.place.root.get("order", one) for one in orders]
        self.assertEqual(sum(one["version"] - 1 for one in found if one), 25)
        batch = rq.CommitBatch(token, (write(orders[0]),))
        self.assertEqual(self.answered(batch), "token_limit_reached")

    def test_headers(self) -> None:
        """A second credential does not help a bad one, and two of a kind are none."""
        good, bad = self.place.tokens[ROOT], self.place.forged(ROOT)
        for headers, status in (
            ({"Authorization": f"bearer  {good}"}, 200),
            ({"X-Admin-Key": good, "Authorization": f"Bearer {bad}"}, 200),
            ({"X-Admin-Key": bad, "Authorization": f"Bearer {good}"}, 401),
            ({"Authorization": f"Basic {good}"}, 401),
            ({"Authorization": good}, 401),
            ({"Authorization": f"Bearer {good} {good}"}, 401),
            ({"Authorization": f"Bearer {good},{good}"}, 401),
            ({"Cookie": f"token={good}"}, 401),
        ):
            self._connection.request("GET", "/admin/status", headers=headers)
            answer = self._connection.getresponse()
            answer.read()
            self.assertEqual(
                answer.status, status, {name: text[:8] for name, text in headers.items()}
            )
        for path in ("/admin/status/", "/admin//status", "/admin/./status", "/admin/%73tatus",
                     "//admin/status", "/ADMIN/status", "/admin/x/../status"):  # fmt: skip
            self.assertNotEqual(self.ask("GET", path, "").status, 200, path)

    def test_domain(self) -> None:
        """Another domain than the token's tenants cannot be asked for, whether it exists or not."""
        only = Holder("only default", "", tenants=("default",))
        token, _jti = self.place.issue(only)
        for domain, status in (("default", 200), ("other", 403), ("DEFAULT", 200), ("a/b", 403)):
            told = self.ask("GET", f"/admin/schemas?domain={domain}", token)
            self.assertEqual(told.status, status, domain)


def decoded(text: str) -> str:
    """Return what a text says if it is base64, nothing otherwise."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("latin-1")
    except ValueError:
        return ""


class Meanwhile(AdminCase):
    """Tokens and keys that change while others work."""

    def loops(self, count: int, work: Callable[[int], None]) -> Callable[[], None]:
        """Begin threads that each repeat some work; return what ends them."""
        over = threading.Event()

        def repeat(number: int) -> None:
            while not over.is_set():
                work(number)

        threads = [threading.Thread(target=repeat, args=(one,)) for one in range(count)]
        for thread in threads:
            thread.start()

        def end() -> None:
            over.set()
            for thread in threads:
                thread.join(PATIENCE_S)

        self.addCleanup(end)
        return end

    def test_revoked_while_writing(self) -> None:
        """After a revocation no write of the token is taken; what was acknowledged is there."""
        token, jti = self.place.issue(ROOT)
        one = self.place.fresh(SEEN)
        begun = threading.Event()
        acknowledged: list[float] = []
        ended: list[str] = []

        def append() -> None:
            client = self.place.open(token)
            calls = Calls(token)
            try:
                while True:
                    client.call(calls.write(rq.AppendEvent, "order", one, "order_paid", {}))
                    acknowledged.append(time.monotonic())
                    begun.set()
            except EventDBXError as error:
                ended.append(error.code)
            finally:
                client.close()

        thread = threading.Thread(target=append)
        thread.start()
        self.assertTrue(begun.wait(PATIENCE_S))
        told = self.ask("POST", f"/admin/tokens/{jti}/revoke", self.place.tokens[ROOT])
        revoked_at = time.monotonic()
        self.assertEqual(told.status, 204)
        thread.join(PATIENCE_S)
        self.assertFalse(thread.is_alive(), "the revoked token goes on writing")
        self.assertIn(ended, (["invalid_token"], ["io"]))
        # What was under way when the answer left may have been acknowledged after it.
        self.assertLess(sum(at > revoked_at for at in acknowledged), 20)
        found = self.place.root.get("order", one)
        assert found is not None
        self.assertIn(found["version"] - 1, (len(acknowledged), len(acknowledged) + 1))
        self.assertRaises(ConfigError, self.place.open, token)

    def test_rotated_while_reading(self) -> None:
        """Rotating the key locks nobody out: old tokens and new ones open sessions meanwhile."""
        failures: list[str] = []
        rounds = [0, 0]
        issued = [self.place.issue(READER)[0], self.place.tokens[READER]]

        def read(number: int) -> None:
            token = issued[number]
            try:
                with self.place.open(token, send_token=rounds[number] % 2 == 0) as client:
                    if client.get("order", SEEN) is None:
                        failures.append("nothing was found")
            except (EventDBXError, IoError) as error:
                failures.append(f"{number}: {error.code} {error}")
            rounds[number] += 1

        end = self.loops(2, read)
        for _rotation in range(4):
            done = self.ask("POST", "/admin/keys/rotate", self.place.tokens[ROOT])
            self.assertEqual(done.status, 200, done.body)
            issued[0] = orjson.loads(
                self.ask("POST", "/admin/tokens", self.place.tokens[ROOT],
                         {"group": "g", "user": "u", "actions": ["*.read"]}).body
            )["token"]  # fmt: skip
            before = list(rounds)
            self.waited(lambda seen=before: min(map(int.__sub__, rounds, seen)) > 2)  # type: ignore[misc]
        end()
        self.assertEqual(failures, [])

    def waited(self, done: Callable[[], bool]) -> None:
        """Wait until something has happened."""
        for _attempt in range(int(PATIENCE_S * 100)):
            if done():
                return
            threading.Event().wait(0.01)
        self.fail("it does not happen")

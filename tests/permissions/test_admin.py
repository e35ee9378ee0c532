"""Every route of the Admin API, asked by everybody, against a running server."""

from __future__ import annotations

import http.client
import re
from typing import Any, NamedTuple

import orjson
from twisted.trial.unittest import SynchronousTestCase

from tests.permissions.admin_routes import NAME, ROUTES, Route, refusal
from tests.permissions.operations import SEEN
from tests.permissions.place import AWAY_TEXT, HERE_TEXT, Place, running_place
from tests.permissions.rules import HOLDERS, NOBODY, OWN, Holder, allowed, expected


class Told(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    headers: http.client.HTTPMessage


class AdminCase(SynchronousTestCase):
    """Requests to the Admin API of the one server."""

    maxDiff = None

    def setUp(self) -> None:
        self.place: Place = running_place()
        self._connection = http.client.HTTPConnection("127.0.0.1", self.place.admin_port)
        self.addCleanup(self._connection.close)
        self.known = self._described()

    def ask(self, method: str, path: str, token: str, body: Any = None) -> Told:
        """Carry out one request."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else orjson.dumps(body)
        self._connection.request(method, path, content, headers)
        answer = self._connection.getresponse()
        return Told(answer.status, answer.read(), answer.headers)

    def _described(self) -> dict[str, tuple[str, str]]:
        """Return method and path of every operation that the server describes."""
        document = orjson.loads(self.ask("GET", "/admin/openapi.json", "").body)
        return {
            operation["operationId"]: (method.upper(), path)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if method in ("get", "post", "put", "patch", "delete")
        }

    def request(self, name: str, token: str, one: str) -> Told:
        """Ask for an operation by its name."""
        method, path = self.known[name]
        route = ROUTES[name]
        filling = {
            "jti": self.place.spare,
            "token": self.place.spare,
            "aggregate": "case",
            "event": "case_paid",
            "version": "latest",
            "name": NAME,
            "job": "none",
            "type": "order",
            "id": one if "{type}" in path else str(self.place.dead_job()),
            "area": "tokens",
            **route.params,
        }
        filled = re.sub(r"\{(\w+)\}", lambda found: filling[found[1]], path)
        query = f"?{route.query}" if route.query else ""
        body = route.body
        if isinstance(body, dict) and body.get("token") == "{token}":
            body = {"token": self.place.spare}
        return self.ask(method, filled + query, token, body)


class Matrix(AdminCase):
    """Who may do what."""

    def test_every_route(self) -> None:
        """Each route is in the table, and the table holds no other."""
        self.assertEqual(set(self.known), set(ROUTES))

    def test_refused(self) -> None:
        """Who may not do a thing is told so, in the words that everyone gets, and no more."""
        wrong = []
        for holder in HOLDERS:
            before = self.place.state()
            for name, route in ROUTES.items():
                status = refusal(route.needs, holder)
                if not status:
                    continue
                told = self.request(name, self.place.tokens[holder], SEEN)
                document = orjson.loads(told.body)
                if (told.status, document["code"]) != (status, "unauthorized"):
                    wrong.append(f"{name}: {holder.name} gets {told.status} {told.body[:80]!r}")
                if document["message"] != "unauthorized":
                    wrong.append(f"{name}: {holder.name} is told {document['message']}")
                if status == 401 and told.headers["WWW-Authenticate"] != "Bearer":
                    wrong.append(f"{name}: {holder.name} is not told how to authenticate")
            self.assertEqual(self.place.state(), before, holder.name)
        self.assertEqual("\n".join(wrong), "")

    def test_let_in(self) -> None:
        """Who may do a thing can do it, and sees of lists what they may read."""
        wrong = []
        for holder in HOLDERS:
            for name, route in ROUTES.items():
                if refusal(route.needs, holder):
                    continue
                for where, members in route.before:
                    getattr(self.place.root, where)(members)
                told = self.request(name, self.place.tokens[holder], SEEN)
                if told.status != route.ends if route.ends else told.status // 100 != 2:
                    wrong.append(f"{name}: {holder.name} gets {told.status} {told.body[:160]!r}")
                if route.needs.on == "items":
                    wrong += self.seen(route, holder, told.body.decode())
        self.assertEqual("\n".join(wrong), "")

    def seen(self, route: Route, holder: Holder, said: str) -> list[str]:
        """Return what is wrong about the items of a list."""
        here = allowed(route.needs._replace(on="aggregate"), holder)
        away = expected(route.needs, holder) != OWN or not here
        wanted = ((HERE_TEXT, here), (AWAY_TEXT, away))
        return [f"{holder.name}: {text}" for text, sees in wanted if (text in said) != sees]

    def test_existence(self) -> None:
        """Who may not read an aggregate does not learn whether there is one."""
        wrong = []
        for holder in HOLDERS:
            for name, route in ROUTES.items():
                if route.needs.on != "aggregate" or not refusal(route.needs, holder):
                    continue
                there = self.request(name, self.place.tokens[holder], SEEN)
                missing = self.request(name, self.place.tokens[holder], f"{SEEN}-none")
                if there.body.replace(SEEN.encode(), b"") != missing.body.replace(
                    f"{SEEN}-none".encode(), b""
                ):
                    wrong.append(f"{name}: {holder.name} {there.body!r} {missing.body!r}")
        self.assertEqual("\n".join(wrong), "")

    def test_unknown_paths(self) -> None:
        """Which paths there are below /admin is told to those alone who have a good token."""
        for holder in HOLDERS:
            told = self.ask("GET", "/admin/none", self.place.tokens[holder])
            self.assertEqual(told.status, 401 if holder.ended else 404, holder.name)
        self.assertEqual(self.ask("GET", "/admin", self.place.tokens[NOBODY]).status, 401)

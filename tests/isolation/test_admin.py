"""The Admin API and the HTTP port: nothing of one domain says anything about another one."""

from __future__ import annotations

import http.client
import re
import uuid
from typing import Any

import orjson
from twisted.trial.unittest import SynchronousTestCase

from tests.isolation.place import Names, document_renamed, scrubbed, secrets_in, two_domains
from tests.permissions.admin_routes import NAME, ROUTES
from tests.permissions.operations import SEEN


class AdminCase(SynchronousTestCase):
    """Requests with a token of the tenant ``default``."""

    maxDiff = None

    def setUp(self) -> None:
        self.two = two_domains()
        self._connection = http.client.HTTPConnection("127.0.0.1", self.two.place.admin_port)
        self.addCleanup(self._connection.close)
        document = orjson.loads(self.ask("GET", "/admin/openapi.json").partition(b"|")[2])
        self.known = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if method in ("get", "post", "put", "patch", "delete")
        }

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """Return status and body of an answer."""
        headers = {"Authorization": f"Bearer {self.two.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else orjson.dumps(body)
        self._connection.request(method, path, content, headers)
        answer = self._connection.getresponse()
        return b"%d|%s" % (answer.status, answer.read())

    def path(self, name: str, filling: dict[str, str], query: str) -> tuple[str, str]:
        """Return method and path of a route."""
        method, path, _operation = self.known[name]
        filled = re.sub(r"\{(\w+)\}", lambda found: filling[found[1]], path)
        asked = "&".join(one for one in (ROUTES[name].query, query) if one)
        return method, f"{filled}?{asked}" if asked else filled

    def about(self, name: str, names: Names, jti: str, query: str = "") -> tuple[str, bytes]:
        """Return what is asked of a route about things of these names, and the answer."""
        route = ROUTES[name]
        filling = {
            "jti": jti, "token": jti, "aggregate": names.type, "event": "case_paid",
            "version": names.version, "name": names.plugin, "job": str(names.job),
            "tenant": names.domain, "type": names.type, "id": names.id, "area": "tokens",
            **{key: value for key, value in route.params.items() if key == "version"},
        }  # fmt: skip
        if "{type}" not in self.known[name][1]:
            filling["id"] = str(names.job)
        method, path = self.path(name, filling, query)
        body = None if route.body is None else document_renamed(route.body, names)
        if isinstance(body, dict) and body.get("token"):
            body = {"token": jti}
        return f"{method} {path} {body}", self.ask(method, path, body)

    def here(self, name: str) -> tuple[str, bytes]:
        """Return what is asked of a route about what is here, and the answer."""
        route, spare = ROUTES[name], self.two.place.spare
        filling = {
            "jti": spare, "token": spare, "aggregate": "case", "event": "case_paid",
            "version": "latest", "name": NAME, "job": "none", "type": "order", "id": SEEN,
            "area": "tokens", "tenant": "default", **route.params,
        }  # fmt: skip
        method, path = self.path(name, filling, "")
        return f"{method} {path}", self.ask(method, path, route.body)


class Everything(AdminCase):
    """Every route that there is."""

    def differing(self, pairs: dict[str, tuple[str, str]]) -> str:
        """Return where the answers about what is there, and nowhere, differ."""
        two, wrong = self.two, []
        ids = (two.outsider_id, str(uuid.uuid4()))
        for at, (name, queries) in enumerate(pairs.items()):
            asked, answers = [], []
            for names, jti, query in zip((two.there, two.nowhere), ids, queries, strict=True):
                two.begin_anew(ROUTES[name])
                question, answer = self.about(name, names.of(at), jti, query)
                asked.append(question)
                answers.append(scrubbed(answer, two))
            if answers[0] != answers[1] and asked[0] != asked[1]:
                wrong.append(f"{name}:\n  {answers[0][:300]!r}\n  {answers[1][:300]!r}")
        return "\n".join(wrong)

    def test_about_what_is_only_there(self) -> None:
        """The answer is that about what is nowhere."""
        self.assertEqual(self.differing(dict.fromkeys(ROUTES, ("", ""))), "")

    def test_in_a_domain_that_is_not_ones_own(self) -> None:
        """One that is there is refused like one that is not."""
        two = self.two
        of_domain = [
            name
            for name, (_method, _path, operation) in self.known.items()
            if any(one.get("name") == "domain" for one in operation.get("parameters", ()))
        ]
        self.assertGreater(len(of_domain), 20)
        queries = (f"domain={two.there.domain}", f"domain={two.nowhere.domain}")
        self.assertEqual(self.differing(dict.fromkeys(of_domain, queries)), "")

    def test_about_what_is_here(self) -> None:
        """No answer has anything of the other domain in it, its name included."""
        wrong = []
        for name in ROUTES:
            self.two.begin_anew(ROUTES[name])
            _question, answer = self.here(name)
            told = secrets_in(answer)
            names = (b'"other"', b"/other/", self.two.outsider_id.encode())
            if any(one in answer for one in names):
                told.append("other")
            if told:
                wrong.append(f"{name} tells of {told}: {answer[:400]!r}")
        self.assertEqual("\n".join(wrong), "")


class Metrics(AdminCase):
    """What a scraper sees, which is the operator's: names of domains, and nothing in them."""

    def test_no_names(self) -> None:
        """No metric has a label with the name of an aggregate or its type; plugins have names."""
        connection = http.client.HTTPConnection("127.0.0.1", self.two.http_port)
        self.addCleanup(connection.close)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read()
        self.assertEqual(answer.status, 200)
        self.assertIn(b"eventdbx", text)
        self.assertEqual(secrets_in(text), ["mole"])

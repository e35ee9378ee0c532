"""What every route of the Admin API promises: order of checks, errors, pages, conditions."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from eventdbx.errors import SchemaExists, Unauthorized
from eventdbx.surfaces.admin.conditions import check_match, etag_of
from eventdbx.surfaces.admin.table import DOMAIN, Answer, Call, Parameter, Row
from tests.surfaces.admin.site import AdminSite
from tests.surfaces.listener import token

SCHEMAS: Any = {
    "Thing": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "size": {"type": "integer", "minimum": 1}},
    },
}


MANY_MEMBERS = b"{%b,'last':0,'last':1}".replace(b"'", b'"') % b",".join(
    b'"%d":0' % number for number in range(100_000)
)
"""What is compared each with each takes minutes."""


class Things:
    """A few routes over a dictionary."""

    def __init__(self) -> None:
        self.things: dict[str, Any] = {f"t{number}": number for number in range(5)}
        self.made = 0
        self.waiting: Deferred[Answer] = Deferred()

    def rows(self) -> list[Row]:
        """Return the routes."""
        reading: dict[str, Any] = {"method": "GET", "tag": "things", "action": "schema.read"}
        changing: dict[str, Any] = {
            "tag": "things",
            "action": "schema.write",
            "area": "schemas",
            "answers": {200: "Thing"},
        }
        kinds = Parameter("size", {"type": "integer", "minimum": 1}, "A size.")
        return [
            Row(path="/admin/things", operation="list", summary="List", handle=self.list,
                answers={200: "[Thing]"}, lists=True, query=(kinds, DOMAIN), **reading),
            Row(path="/admin/things/{name}", operation="get", summary="Get", handle=self.get,
                answers={200: "Thing"}, **reading),
            Row(path="/admin/slow", operation="slow", summary="Slow", answers={200: "Thing"},
                handle=lambda _call: self.waiting, **reading),
            Row(path="/admin/broken", operation="broken", summary="Broken",
                handle=self.broken, answers={200: "Thing"}, **reading),
            Row(path="/admin/taken", operation="taken", summary="Taken", answers={200: "Thing"},
                handle=self.taken, **reading),
            Row(path="/admin/closed", operation="closed", summary="Closed",
                handle=self.closed, answers={200: "Thing"}, **reading),
            Row(path="/open", operation="open", summary="Open", method="GET", tag="things",
                action=None, handle=lambda call: Answer(document=call.grant.jti),
                answers={200: "Thing"}),
            Row(method="POST", path="/admin/things", operation="make", summary="Make",
                handle=self.make, body="Thing", event="thing_made", idempotent_by_key=True,
                **changing),
            Row(method="PUT", path="/admin/things/{name}", operation="put", summary="Put",
                handle=self.put, body="Thing", event="thing_put", conditional=True, **changing),
            Row(method="POST", path="/admin/things/{name}/touch", operation="touch",
                summary="Touch", handle=lambda call: Answer(document=call.body), body="Thing",
                body_required=False, event="thing_touched", **changing),
            Row(method="POST", path="/admin/slow", operation="slowly", summary="Slowly",
                handle=lambda _call: self.waiting, event="slept", idempotent_by_key=True,
                **changing),
        ]  # fmt: skip

    def list(self, _call: Call) -> Answer:
        """List."""
        return Answer(document=[{"name": name} for name in self.things])

    def get(self, call: Call) -> Answer:
        """Get."""
        document = {"name": call.params["name"], "size": self.things.get(call.params["name"])}
        return Answer(document=document, etag=etag_of(document))

    def make(self, call: Call) -> Answer:
        """Make."""
        self.made += 1
        return Answer(document={**call.body, "size": self.made}, resource=call.body["name"])

    def put(self, call: Call) -> Answer:
        """Put."""
        name = call.params["name"]
        held = {"name": name, "size": self.things[name]} if name in self.things else None
        check_match(call.headers, None if held is None else etag_of(held), required=False)
        self.things[name] = call.body.get("size")
        return Answer(document=call.body)

    def taken(self, _call: Call) -> Answer:
        """Refuse as an operation does."""
        raise SchemaExists

    def broken(self, _call: Call) -> Answer:
        """Make a mistake."""
        return Answer(document=1 // 0)

    def closed(self, _call: Call) -> Answer:
        """Refuse what the caller's token does not cover."""
        raise Unauthorized


class ApiCase(TestCase):
    """A listener with the routes above."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.things = Things()
        self.site = AdminSite(self.things.rows(), SCHEMAS)
        await self.site.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.site.stop()))

    async def status(self, *asked: Any, **more: Any) -> int:
        """Return the status of an answer."""
        return (await self.site.ask(*asked, **more)).status


class OrderTests(ApiCase):
    """What is looked at first."""

    async def test_the_token_comes_before_the_path(self) -> None:
        """A stranger learns nothing of which paths there are; outside /admin there are none."""
        for path in ("/admin", "/admin/nope", "/admin/things", "/admin/things/"):
            answer = await self.site.ask("GET", path, bearer="")
            self.assertEqual((answer.status, answer.document["message"]), (401, "unauthorized"))
            self.assertEqual(answer.headers["www-authenticate"], "Bearer")
        self.assertEqual(await self.status("DELETE", "/admin/things", bearer=""), 401)
        self.assertEqual(await self.status("POST", "/admin/things", b"{", bearer=""), 401)
        self.assertEqual(await self.status("GET", "/nope", bearer=""), 404)

    async def test_unknown_paths_and_methods(self) -> None:
        """Whoever may ask is told what is missing, and which methods there are."""
        for path in ("/admin", "/admin/", "/admin//things", "/admin/things/", "/Admin/things"):
            self.assertEqual(await self.status("GET", path), 404, path)
        answer = await self.site.ask("BREW", "/admin/things")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET,HEAD,POST"))
        self.assertEqual(answer.document["code"], "method_not_allowed")

    async def test_head(self) -> None:
        """HEAD is GET without the body."""
        answer = await self.site.ask("HEAD", "/admin/things")
        self.assertEqual((answer.status, answer.body), (200, b""))
        whole = await self.site.ask("GET", "/admin/things")
        self.assertEqual(answer.headers["content-length"], str(len(whole.body)))

    async def test_where_the_token_stands(self) -> None:
        """X-Admin-Key wins over Authorization, even when it is bad; the scheme has any case."""
        good = token()
        for wanted, headers in (
            (200, {"authorization": f"bearer  {good} "}),
            (200, {"x_admin_key": f" {good} "}),
            (200, {"x_admin_key": good, "authorization": "Bearer bad"}),
            (200, {"x_admin_key": "  ", "authorization": f"Bearer {good}"}),
            (401, {"x_admin_key": "bad", "authorization": f"Bearer {good}"}),
            (401, {"x_admin_key": f"Bearer {good}"}),
            (401, {"authorization": good}),
            (401, {"authorization": f"Basic {good}"}),
        ):
            answer = await self.site.ask("GET", "/admin/things", bearer="", **headers)
            self.assertEqual(answer.status, wanted, headers)

    async def test_rights(self) -> None:
        """A route is open to the root pair and to its own action, everywhere."""
        for wanted, claims in (
            (200, {"actions": ["schema.read"]}),
            (200, {"actions": ["schema.*"], "resources": []}),
            (401, {"actions": ["schema.write"]}),
            (401, {"actions": ["*.*"], "resources": ["aggregate:order:*"]}),
            (403, {"tenants": ["other"]}),
        ):
            bearer = token(**claims)
            self.assertEqual(await self.status("GET", "/admin/things", bearer=bearer), wanted)
        scoped = token(tenants=["other"])
        self.assertEqual(await self.status("GET", "/admin/things?domain=Other", bearer=scoped), 200)
        # This one does not work on the domain that is named.
        self.assertEqual(await self.status("GET", "/admin/taken?domain=Other", bearer=scoped), 403)

    async def test_open_to_all(self) -> None:
        """A route without an action asks for no token, and looks at none."""
        answer = await self.site.ask("GET", "/open", bearer="nonsense")
        self.assertEqual((answer.status, answer.document), (200, ""))

    async def test_names_in_paths(self) -> None:
        """Parameters are decoded once; an encoded slash is part of a name."""
        for sent, name in (("a%2Fb", "a/b"), ("%C3%A9", "é"), ("%ZZ", "%ZZ"), ("a%252Fb", "a%2Fb")):
            answer = await self.site.ask("GET", f"/admin/things/{sent}")
            self.assertEqual(answer.document["name"], name)
        answer = await self.site.ask("GET", "/admin/things/%FF")
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.document["message"], "Invalid URL: Invalid UTF-8 in `name`")


class BodyTests(ApiCase):
    """What may be sent."""

    async def test_refused_bodies(self) -> None:
        """Each way to be wrong has its status, and the message says where without repeating it."""
        for wanted, body, kind, part in (
            (415, b"{}", "text/plain", "Content-Type: application/json"),
            (400, b"{", "application/json", "Failed to parse the request body as JSON: "),
            (400, b"", "application/json", "Failed to parse"),
            (400, b"[" * 65 + b"]" * 65, "application/json", "Failed to parse"),
            (422, b"[]", "application/json", "must be of type object"),
            (422, b"{}", "application/json", "missing field `name`"),
            (422, b'{"name":"a","name":"b"}', "application/json", "duplicate field `name`"),
            (422, MANY_MEMBERS, "application/json", "duplicate field `last`"),
            (422, b'{"name":"s3cret","size":"s3cret"}', "application/json", "/size: must be of"),
            (422, b'{"name":"a","size":0}', "application/json", "/size: breaks the rule minimum"),
            (413, b'"' + b"x" * 2**21 + b'"', "application/json", "length limit exceeded"),
        ):
            answer = await self.site.ask("POST", "/admin/things", body, content_type=kind)
            self.assertEqual(answer.status, wanted, part)
            self.assertEqual(answer.phrase, HTTPStatus(wanted).phrase)
            self.assertIn(part, answer.document["message"])
            self.assertNotIn(b"s3cret", answer.body)
        self.assertEqual((self.things.made, self.site.trail), (0, []))

    async def test_json_has_many_names(self) -> None:
        """JSON is what is called so; members that nobody knows are passed over."""
        for kind in ("Application/JSON", "application/json; charset=utf-8", "application/x+json"):
            asked = await self.site.ask(
                "POST", "/admin/things", {"name": "a", "colour": 1}, content_type=kind
            )
            self.assertEqual(asked.status, 200, kind)

    async def test_a_body_that_may_be_missing(self) -> None:
        """Nothing is an empty object where a body is optional."""
        answer = await self.site.ask("POST", "/admin/things/t/touch")
        self.assertEqual((answer.status, answer.document), (200, {}))

    async def test_query(self) -> None:
        """A known parameter has to fit, an unknown one is passed over."""
        self.assertEqual(await self.status("GET", "/admin/things?size=3&x=y"), 200)
        for wrong in ("size=0", "size=x", "limit=0", "limit=-1", "size="):
            answer = await self.site.ask("GET", f"/admin/things?{wrong}")
            self.assertEqual((answer.status, answer.document["code"]), (400, "invalid_parameter"))

    async def test_one_shape_of_errors(self) -> None:
        """An error has the wire's message and code first, then the members of RFC 9457."""
        answer = await self.site.ask("GET", "/admin/taken")
        self.assertEqual(answer.status, 409)
        self.assertEqual(
            list(answer.document.items()),
            [
                ("message", "schema already exists"),
                ("code", "schema_exists"),
                ("type", "about:blank"),
                ("title", "Conflict"),
                ("status", 409),
                ("detail", "schema already exists"),
                ("instance", "/admin/taken"),
            ],
        )
        self.assertEqual(answer.headers["content-type"], "application/json")
        kind = "application/problem+json"
        answer = await self.site.ask("GET", "/admin/taken", accept=f"text/html, {kind}")
        self.assertEqual(answer.headers["content-type"], kind)
        self.assertEqual(await self.status("GET", "/admin/closed"), 403)

    async def test_a_mistake_of_ours(self) -> None:
        """What went wrong inside is in the log, not in the answer."""
        answer = await self.site.ask("GET", "/admin/broken")
        self.assertEqual((answer.status, answer.document["code"]), (500, "storage"))
        self.assertNotIn(b"Division", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class AnswerTests(ApiCase):
    """Pages, conditions, repetitions."""

    async def test_pages(self) -> None:
        """Without limit and cursor the whole list; with one, pages that lead to each other."""
        whole = (await self.site.ask("GET", "/admin/things")).document
        self.assertEqual(len(whole), 5)
        path, found = "/admin/things?limit=2", []
        while path:
            answer = await self.site.ask("GET", path)
            found.append(answer.document)
            link = answer.headers.get("link", "")
            self.assertEqual("x-next-cursor" in answer.headers, bool(link))
            path = link[1 : link.index(">")] if link else ""
        self.assertEqual([len(page) for page in found], [2, 2, 1])
        self.assertEqual(sum(found, []), whole)
        answer = await self.site.ask("GET", "/admin/things?cursor=nonsense")
        self.assertEqual((answer.status, answer.document["code"]), (400, "invalid_cursor"))

    async def test_entity_tags(self) -> None:
        """A reader that has the present version is told so; a change can name what it saw."""
        etag = (await self.site.ask("GET", "/admin/things/t1")).headers["etag"]
        unchanged = await self.site.ask("GET", "/admin/things/t1", if_none_match=f'"x", W/{etag}')
        self.assertEqual((unchanged.status, unchanged.body), (304, b""))
        for wanted, name, condition in (
            (412, "t1", {"if_match": '"other"'}),
            (412, "t1", {"if_none_match": "*"}),
            (412, "new", {"if_match": "*"}),
            (200, "new", {"if_none_match": "*"}),
            (200, "t1", {"if_match": etag}),
            (412, "t1", {"if_match": etag}),
        ):
            body = {"name": name, "size": 99}
            self.assertEqual(
                await self.status("PUT", f"/admin/things/{name}", body, **condition), wanted
            )

    async def test_repetitions(self) -> None:
        """The same key and body give the same answer once more, and nothing is done again."""
        body, other = {"name": "a"}, {"name": "b"}
        first = await self.site.ask("POST", "/admin/things", body, idempotency_key="k")
        again = await self.site.ask("POST", "/admin/things", body, idempotency_key="k")
        self.assertEqual((again.status, again.body), (first.status, first.body))
        self.assertEqual((self.things.made, len(self.site.trail)), (1, 1))
        self.assertEqual(
            await self.status("POST", "/admin/things", other, idempotency_key="k"), 422
        )
        self.site.clock.advance(24 * 3600 + 1)
        self.assertEqual(
            await self.status("POST", "/admin/things", other, idempotency_key="k"), 200
        )
        self.assertEqual(self.things.made, 2)

    async def test_what_is_recorded(self) -> None:
        """A change that succeeded is recorded with who, what and through which route."""
        await self.site.ask("POST", "/admin/things", {"name": "a"})
        await self.site.ask("PUT", "/admin/things/t1", {"name": "a"}, if_match='"no"')
        await self.site.ask("GET", "/admin/things")
        (action,) = self.site.trail
        self.assertEqual(
            (action.area, action.event, action.resource, action.way, action.subject, action.peer),
            ("schemas", "thing_made", "a", "POST /admin/things", "ops:kim", "127.0.0.1"),
        )

    async def test_recorded_for_whoever_hung_up(self) -> None:
        """A change goes on, and is recorded, when its caller does not wait for the answer."""
        conversation = await self.site.open()
        assert conversation.transport is not None
        head = f"POST /admin/slow HTTP/1.1\r\nauthorization: Bearer {token()}\r\n\r\n"
        conversation.transport.write(head.encode())
        while not self.site.site.busy:
            await self.site.ask("GET", "/open")
        conversation.transport.loseConnection()
        await conversation.ended
        self.assertEqual(self.site.trail, [])
        self.things.waiting.callback(Answer(document={"name": "late"}))
        self.assertEqual([action.event for action in self.site.trail], ["slept"])

    async def test_hanging_up(self) -> None:
        """Whoever hangs up before the answer leaves nothing in the log, work or not."""
        for method in ("GET", "POST"):
            self.things.waiting = Deferred()
            conversation = await self.site.open()
            assert conversation.transport is not None
            head = f"{method} /admin/slow HTTP/1.1\r\nauthorization: Bearer {token()}\r\n\r\n"
            conversation.transport.write(head.encode())
            while not self.site.site.busy:
                await self.site.ask("GET", "/open")
            conversation.transport.loseConnection()
            while self.site.site.connection_count:
                await deferLater(reactor, 0.01)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_what_takes_too_long(self) -> None:
        """A request that is not answered within 30 s is told to come again."""
        asking = Deferred.fromCoroutine(self.site.ask("GET", "/admin/slow"))
        while not self.site.site.busy:
            await self.site.ask("GET", "/open")
        self.site.clock.advance(31)
        answer = await asking
        self.assertEqual((answer.status, answer.document["code"]), (503, "timeout"))
        self.assertIn("retry-after", answer.headers)

    async def test_the_answer_of_what_took_too_long(self) -> None:
        """Work goes on after its request was given up; the same key finds it done, once."""
        asking = Deferred.fromCoroutine(self.site.ask("POST", "/admin/slow", idempotency_key="k"))
        while not self.site.site.busy:
            await self.site.ask("GET", "/open")
        self.site.clock.advance(31)
        self.assertEqual((await asking).status, 503)
        again = await self.site.ask("POST", "/admin/slow", idempotency_key="k")
        self.assertEqual((again.status, again.document["code"]), (409, "in_progress"))
        self.things.waiting.callback(Answer(document={"name": "late"}))
        done = await self.site.ask("POST", "/admin/slow", idempotency_key="k")
        self.assertEqual((done.status, done.document), (200, {"name": "late"}))
        self.assertEqual(len(self.site.trail), 1)

"""The health and metrics port, asked over a socket."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource, Resource

from eventdbx import __version__
from eventdbx.measures import Family, Measures, gauge
from eventdbx.surfaces.http.api import HttpApi
from eventdbx.surfaces.site import BoundedSite

CLOCK: Any = reactor


class Front(Resource):
    """Tells how many requests have come."""

    isLeaf = True

    def __init__(self, inner: IResource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inner = inner
        self.passed = 0
        self.when: tuple[int, Deferred[None]] | None = None

    def arrived(self, count: int) -> Deferred[None]:
        """Fire once so many requests have been passed on."""
        done: Deferred[None] = Deferred()
        self.when = count, done
        return done

    def render(self, request: Any) -> Any:
        answer = self.inner.render(request)
        self.passed += 1
        if self.when is not None and self.passed == self.when[0]:
            self.when[1].callback(None)
        return answer


class Asked(TestCase):
    """A port with one check and one gauge."""

    def setUp(self) -> None:
        self.measures = Measures(CLOCK.seconds)
        self.trouble: str | None = None
        self.token: str | None = None
        self.gathered = 0
        self.gathering: Deferred[list[Family]] | None = None
        api = HttpApi(
            measures=self.measures,
            gather=self.gather,
            checks={"store": lambda: self.trouble, "disk": lambda: None},
            metrics_token=lambda: self.token,
            run_slowly=deferToThread,
        )
        self.front = Front(api.resource)
        site = BoundedSite(self.front, CLOCK)
        port = CLOCK.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.base = f"http://127.0.0.1:{port.getHost().port}"
        pool = HTTPConnectionPool(CLOCK)
        self.addCleanup(pool.closeCachedConnections)
        self.agent = Agent(CLOCK, pool=pool)

    def gather(self) -> Deferred[list[Family]]:
        self.gathered += 1
        found = [gauge("eventdbx_tokens", "Text.", [(("active",), 2)], "status")]
        return self.gathering or succeed(found)

    async def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
        """Send a request; return the answer and its body as it was sent."""
        given = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
        answer = await self.agent.request(method.encode(), (self.base + path).encode(), given)
        return answer, await readBody(answer)


class Health(Asked):
    """What scripts and orchestrators ask."""

    async def test_health_is_always_fine(self) -> None:
        """The process answers, whatever its state, to everybody."""
        self.trouble = "closed"
        for path in ("/health", "/health?x=1", "/health/live"):
            answer, body = await self.ask(path, authorization="Bearer nonsense")
            self.assertEqual((answer.code, orjson.loads(body)), (200, {"status": "ok"}))
            self.assertEqual(
                answer.headers.getRawHeaders("content-type"), ["application/json"], path
            )

    async def test_ready_names_every_check(self) -> None:
        """Whoever is not ready says why, with 503."""
        answer, body = await self.ask("/health/ready")
        self.assertEqual(answer.code, 200)
        self.assertEqual(
            orjson.loads(body), {"status": "ok", "checks": {"store": "ok", "disk": "ok"}}
        )
        self.trouble = "the event store is closed"
        answer, body = await self.ask("/health/ready")
        self.assertEqual(answer.code, 503)
        self.assertEqual(
            orjson.loads(body),
            {"status": "unavailable", "checks": {"store": self.trouble, "disk": "ok"}},
        )

    async def test_version(self) -> None:
        """The version is told."""
        _answer, body = await self.ask("/version")
        self.assertEqual(orjson.loads(body)["version"], __version__)

    async def test_head_is_like_get_without_body(self) -> None:
        """HEAD has the same head."""
        for path in ("/health", "/metrics"):
            answer, body = await self.ask(path, "HEAD")
            self.assertEqual((answer.code, body), (200, b""))
        self.assertEqual(
            answer.headers.getRawHeaders("content-type"), ["text/plain; version=0.0.4"]
        )

    async def test_what_is_not_there(self) -> None:
        """Other paths and methods have an empty answer that says which would do."""
        for path in ("/", "/nope", "/health/", "/Health", "//health", "/admin/tokens"):
            answer, body = await self.ask(path)
            self.assertEqual((answer.code, body), (404, b""), path)
        for method in ("POST", "DELETE", "OPTIONS"):
            answer, body = await self.ask("/health", method)
            self.assertEqual((answer.code, body), (405, b""), method)
            self.assertEqual(answer.headers.getRawHeaders("allow"), ["GET,HEAD"])


class Scraping(Asked):
    """What Prometheus asks."""

    async def shown(self, **headers: str) -> dict[str, dict[tuple[str, ...], float]]:
        """Scrape; return names and numbers by label values."""
        answer, body = await self.ask("/metrics", **headers)
        self.assertEqual(answer.code, 200)
        return {
            one.name: {tuple(sample.labels.values()): sample.value for sample in one.samples}
            for one in text_string_to_metric_families(body.decode())
        }

    async def test_requests_are_counted_by_route(self) -> None:
        """A first scrape does not show itself; unknown paths and methods share a label."""
        self.assertNotIn("eventdbx_http_requests", await self.shown())
        await self.ask("/health")
        await self.ask("/health", "BREW")
        for number in range(3):
            await self.ask(f"/secret-{number}")
        self.assertEqual(
            (await self.shown())["eventdbx_http_requests"],
            {
                ("GET", "/metrics", "200"): 1,
                ("GET", "/health", "200"): 1,
                ("other", "/health", "405"): 1,
                ("GET", "unmatched", "404"): 3,
            },
        )

    async def test_what_was_gathered_is_shown(self) -> None:
        """Numbers of now stand beside those that were counted."""
        self.assertEqual((await self.shown())["eventdbx_tokens"], {("active",): 2.0})

    async def test_formats_and_encodings(self) -> None:
        """OpenMetrics and gzip for those who ask for them."""
        answer, body = await self.ask(
            "/metrics", accept="application/openmetrics-text", accept_encoding="gzip"
        )
        self.assertEqual(answer.headers.getRawHeaders("content-encoding"), ["gzip"])
        self.assertIn("openmetrics-text", answer.headers.getRawHeaders("content-type")[0])
        self.assertTrue(gzip.decompress(body).endswith(b"# EOF\n"))

    async def test_a_token_can_be_demanded(self) -> None:
        """With metrics_token in force, only whoever has it may scrape; health stays open."""
        self.token = "scrape-me"
        for given in ({}, {"authorization": "Bearer nope"}, {"authorization": "scrape-me"},
                      {"authorization": "Bearer sch\u00f6n"}):  # fmt: skip
            answer, body = await self.ask("/metrics", **given)
            self.assertEqual(answer.code, 401, given)
            self.assertEqual(answer.headers.getRawHeaders("www-authenticate"), ["Bearer"])
            self.assertNotIn(b"eventdbx_", body)
        self.assertEqual(self.gathered, 0)
        self.assertEqual((await self.ask("/health"))[0].code, 200)
        shown = await self.shown(authorization="bearer scrape-me")
        self.assertEqual(shown["eventdbx_auth_failures"], {("http", "metrics_token"): 4})

    async def test_scrapes_at_once_are_made_once(self) -> None:
        """Many scrapers at the same moment cost as much as one."""
        self.gathering = Deferred()
        arrived = self.front.arrived(5)
        asked = [Deferred.fromCoroutine(self.ask("/metrics")) for _ in range(5)]
        await arrived
        self.gathering.callback([])
        answers = [await one for one in asked]
        self.assertEqual({answer.code for answer, _body in answers}, {200})
        self.assertEqual(self.gathered, 1)

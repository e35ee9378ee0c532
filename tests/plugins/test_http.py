"""Tests of webhooks against a real server that answers as told."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet import reactor

from bench.sinks import Sink
from eventdbx.domain.delivery.entries import Batch, HttpConfig, PluginEntry
from eventdbx.domain.delivery.webhooks import hmac_key
from eventdbx.plugins.http import HttpDelivery
from tests.plugins.targets import (
    LOOPBACK,
    NetworkCase,
    Peer,
    items,
    surroundings,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def headers_of(head: bytes) -> dict[str, str]:
    """Return the headers of a request, which holds each only once."""
    pairs = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    found = {name.lower(): value for name, value in pairs}
    assert len(found) == len(pairs), pairs
    return found


class HttpCase(NetworkCase):
    """Makes sinks and deliveries to them."""

    def sink(self, answer: str = "200", tls: Any = None) -> tuple[Sink, str]:
        """Return a sink and its address."""
        used: Any = reactor
        sink = Sink(used, answer, keep=True)
        if tls is None:
            port = used.listenTCP(0, sink, interface=LOOPBACK)
        else:
            port = used.listenSSL(0, sink, tls, interface=LOOPBACK)
        self.addCleanup(port.stopListening)
        self.addCleanup(sink.cut_all)
        return sink, f"http{'s' if tls else ''}://{LOOPBACK}:{port.getHost().port}"

    def delivery(
        self,
        endpoint: str,
        *,
        entry: dict[str, Any] | None = None,
        environ: dict[str, str] | None = None,
        folder: Path | None = None,
        **config: Any,
    ) -> Any:
        made = PluginEntry(
            **{
                "enabled": True,
                "name": "hook",
                "config": HttpConfig(endpoint=endpoint, **config),
                **(entry or {}),
            }
        )
        around = surroundings(environ)
        if folder is not None:
            around = around._replace(data_root=folder)
        return self.opened(HttpDelivery(made, around))

    async def post(self, delivery: Any, count: int = 1, **options: Any) -> None:
        """Deliver so many events at once."""
        await delivery.deliver(
            items(delivery, count), **{"attempt": 1, "purpose": "live", **options}
        )

    async def failure(self, delivery: Any, count: int = 1) -> Any:
        """Return why a delivery fails."""
        return await self.refusal(
            delivery.deliver(items(delivery, count), attempt=1, purpose="live")
        )


class Requests(HttpCase):
    """What is sent."""

    async def test_an_event_is_one_post_with_headers_that_say_what_it_is(self) -> None:
        """Id, attempt and position; the body is the document."""
        sink, url = self.sink()
        delivery = self.delivery(url + "/in?a=b c")
        await self.post(delivery, attempt=3)
        [(head, body)] = sink.kept or []
        self.assertTrue(head.startswith(b"POST /in?a=b%20c HTTP/1.1\r\n"))
        headers = headers_of(head)
        self.assertRegex(headers.pop("user-agent"), r"^eventdbx/\d+\.\d+")
        self.assertRegex(headers.pop("webhook-timestamp"), r"^\d{10}$")
        self.assertEqual(
            headers,
            {
                "host": url.removeprefix("http://"),
                "content-length": str(len(body)),
                "content-type": "application/json",
                "accept": "*/*",
                "webhook-id": "hook_default_1001",
                "idempotency-key": "hook_default_1001",
                "eventdbx-domain": "default",
                "eventdbx-attempt": "3",
                "eventdbx-position": "0-1",
            },
        )
        self.assertEqual(body, items(delivery)[0].content)

    async def test_a_batch_is_an_array(self) -> None:
        """Of the documents in order; its id says how many, its position is the last one."""
        sink, url = self.sink()
        delivery = self.delivery(url, entry={"batch": Batch(max_events=3)})
        await self.post(delivery, 3)
        await self.post(delivery, 1)
        (first, body), (second, single) = sink.kept or []
        self.assertEqual([one["event"]["version"] for one in orjson.loads(body)], [1, 2, 3])
        self.assertEqual(len(orjson.loads(single)), 1)
        self.assertRegex(headers_of(first)["webhook-id"], "^hook_default_1001_3_[0-9a-f]{16}$")
        self.assertEqual(headers_of(first)["eventdbx-position"], "0-3")
        self.assertEqual(headers_of(second)["webhook-id"], "hook_default_1001_1")

    async def test_replays_and_tests_say_so(self) -> None:
        """And live deliveries do not."""
        sink, url = self.sink()
        delivery = self.delivery(url)
        for purpose in ("live", "replay", "test"):
            await self.post(delivery, purpose=purpose)
        marks = [
            {name for name in headers_of(head) if name in ("eventdbx-replay", "eventdbx-test")}
            for head, _ in sink.kept or []
        ]
        self.assertEqual(marks, [set(), {"eventdbx-replay"}, {"eventdbx-test"}])

    async def test_each_secret_signs(self) -> None:
        """Two while one replaces the other; receivers take either. Values may stand elsewhere."""
        sink, url = self.sink()
        seed, other = bytes(range(32)), "whsec_" + b64encode(bytes(24)).decode()
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "secret").write_text(other + "\n")
        delivery = self.delivery(
            url,
            secrets=("env:HOOK", "file:secret", "whsk_" + b64encode(seed).decode()),
            environ={"HOOK": SECRET},
            folder=folder,
        )
        await self.post(delivery)
        [(head, body)] = sink.kept or []
        headers = headers_of(head)
        id_, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        one, two, three = headers["webhook-signature"].split(" ")
        self.assertEqual(one, hmac_key(SECRET).sign(id_, timestamp, [body]))
        self.assertEqual(two, hmac_key(other).sign(id_, timestamp, [body]))
        message = b"%b.%d.%b" % (id_.encode(), timestamp, body)
        signed = Ed25519PrivateKey.from_private_bytes(seed).sign(message)
        self.assertEqual(three, "v1a," + b64encode(signed).decode())
        (folder / "secret").write_text(SECRET)
        await self.post(delivery)
        head = (sink.kept or [])[1][0]
        one, two, _ = headers_of(head)["webhook-signature"].split(" ")
        self.assertEqual(one, two)

    async def test_configured_headers_win(self) -> None:
        """Whatever their case; values may stand elsewhere; a user in the URL is Basic."""
        sink, url = self.sink()
        delivery = self.delivery(
            url.replace("http://", "http://kim:s%20t@"),
            headers={"Content-Type": "text/x", "X-Key": "env:KEY", "WEBHOOK-ID": "mine"},
            environ={"KEY": "k-1"},
        )
        await self.post(delivery)
        headers = headers_of((sink.kept or [])[0][0])
        self.assertEqual(headers["content-type"], "text/x")
        self.assertEqual(headers["x-key"], "k-1")
        self.assertEqual(headers["webhook-id"], "mine")
        self.assertEqual(headers["authorization"], "Basic a2ltOnMgdA==")

    async def test_cloudevents(self) -> None:
        """Binary, structured, and batches of structured ones."""
        sink, url = self.sink()
        binary = self.delivery(url, format="cloudevents")
        structured = self.delivery(url, format="cloudevents", structured=True)
        several = self.delivery(url, format="cloudevents", entry={"batch": Batch()})
        for delivery in (binary, structured):
            await self.post(delivery)
        await self.post(several, 2)
        (head, body), (second, document), (third, array) = sink.kept or []
        self.assertEqual(headers_of(head)["ce-id"], "1001")
        self.assertEqual(headers_of(head)["ce-source"], "/eventdbx/default/patient")
        self.assertEqual(orjson.loads(body)["status"], "inactive")
        self.assertEqual(headers_of(second)["content-type"], "application/cloudevents+json")
        self.assertEqual(orjson.loads(document)["data"]["event"]["version"], 1)
        self.assertNotIn("ce-id", headers_of(second))
        self.assertEqual(headers_of(third)["content-type"], "application/cloudevents-batch+json")
        self.assertEqual([one["sequence"] for one in orjson.loads(array)], ["1", "2"])

    async def test_connections_are_kept(self) -> None:
        """As many as deliveries at the same time."""
        sink, url = self.sink()
        delivery = self.delivery(url, entry={"concurrency": 3})
        for _ in range(4):
            sent = [delivery.deliver(items(delivery), attempt=1, purpose="live") for _ in range(3)]
            for one in sent:
                await one
        self.assertEqual((sink.counts.deliveries, sink.connections), (12, 3))

    async def test_a_connection_that_was_closed_while_idle_costs_no_attempt(self) -> None:
        """Servers end idle connections; nobody's delivery fails for it."""
        sink, url = self.sink()
        delivery = self.delivery(url)
        await self.post(delivery)
        # The server closes in the moment of the next request: it reads it, but does not answer.
        request = sink.request

        def close_once(to: Any, head: bytes, body: bytes) -> None:
            sink.request = request  # type: ignore[method-assign]
            to.transport.loseConnection()

        sink.request = close_once  # type: ignore[method-assign]
        await self.post(delivery)
        self.assertEqual((sink.counts.deliveries, sink.connections), (2, 2))


class Answers(HttpCase):
    """What is made of answers: one clear message each, and nothing is kept."""

    async def test_every_status_of_success_is_one(self) -> None:
        """200 to 299."""
        sink, url = self.sink()
        delivery = self.delivery(url)
        for answer in ("200", "201", "202", "204", "299"):
            sink.answer = answer
            await self.post(delivery)

    async def test_other_statuses_are_failures_that_show_the_begin_of_the_body(self) -> None:
        """Some of them mean that the target, not the event, is the reason."""
        sink, url = self.sink()
        delivery = self.delivery(url)
        for answer, body, text, unavailable in (
            ("500", b" why not \n", "500 Internal Server Error): why not", False),
            ("500", b"0" * 300, f"500 Internal Server Error): {'0' * 256}…", False),
            ("503", b"", "503 Service Unavailable)", True),
            ("502", b"", "502 Bad Gateway)", True),
            ("504", b"", "504 Gateway Timeout)", True),
            ("429", b"", "429 Too Many Requests)", True),
            ("400", b"", "400 Bad Request)", False),
            ("304", b"", "304 Not Modified)", False),
            ("599", b"", "599 <unknown status code>)", False),
        ):
            sink.answer, sink.body = answer, body
            failed = await self.failure(delivery)
            self.assertEqual(failed.reason, f"storage error: http plugin request failed ({text}")
            self.assertEqual((failed.unavailable, failed.gone), (unavailable, False), answer)
        self.assertEqual(sink.connections, 1)

    async def test_a_target_may_ask_for_patience_or_leave(self) -> None:
        """Retry-After, and 410."""
        sink, url = self.sink("429")
        sink.headers["Retry-After"] = "17"
        delivery = self.delivery(url)
        self.assertEqual((await self.failure(delivery)).retry_after_s, 17.0)
        sink.answer, sink.headers = "410", {}
        failed = await self.failure(delivery)
        self.assertEqual((failed.gone, failed.retry_after_s), (True, None))

    async def test_redirects_are_not_followed(self) -> None:
        """The message says where to; nothing is sent there."""
        other, elsewhere = self.sink()
        sink, url = self.sink()
        sink.headers["Location"] = elsewhere + "/new"
        delivery = self.delivery(url)
        for answer, name in (
            ("301", "Moved Permanently"),
            ("302", "Found"),
            ("303", "See Other"),
            ("307", "Temporary Redirect"),
            ("308", "Permanent Redirect"),
        ):
            sink.answer = answer
            failed = await self.failure(delivery)
            self.assertEqual(
                failed.reason,
                f"storage error: http plugin request failed ({answer} {name}): "
                f"moved to {elsewhere}/new, and redirects are not followed",
            )
        self.assertEqual(other.connections, 0)

    async def test_answers_that_are_none(self) -> None:
        """Garbage, silence, headers without an end, a closed connection, nobody there."""
        sink, url = self.sink()
        delivery = self.delivery(url + "/in?key=secret", entry={"timeout_s": 0.3})
        for answer, cause in (
            ("garbage", ": the answer is not HTTP"),
            ("nothing", ": no answer within 0.3 s"),
            ("headers", ": the headers of the answer are too long"),
            ("close", ": the connection was closed before an answer"),
        ):
            sink.answer = answer
            failed = await self.failure(delivery)
            self.assertEqual(
                failed.reason,
                f"storage error: error sending request for url ({url}/in?…){cause}",
            )
            self.assertTrue(failed.unavailable)
            await self.until(lambda: not sink.open)
        nobody = f"http://{LOOPBACK}:{self.unused()}"
        failed = await self.failure(self.delivery(nobody))
        self.assertEqual(failed.reason, f"storage error: error sending request for url ({nobody}/)")
        self.assertTrue(failed.unavailable)

    async def test_a_gigabyte_is_not_read(self) -> None:
        """An accepted delivery stays accepted; the connection is cut, and the log says so once."""
        sink, url = self.sink("huge")
        delivery = self.delivery(url)
        for _ in range(3):
            await self.post(delivery)
            await self.until(lambda: not sink.open)
        self.assertEqual(sink.counts.deliveries, 3)
        self.assertTrue(delivery._complained)

    async def test_a_body_without_an_end_does_not_undo_a_delivery(self) -> None:
        """It was accepted with the status."""
        sink, url = self.sink("endless")
        delivery = self.delivery(url, entry={"timeout_s": 0.2})
        await self.post(delivery)
        await self.until(lambda: not sink.open)

    async def test_a_failure_with_a_gigabyte_shows_its_begin(self) -> None:
        """And no more of it is read."""
        listener, port = self.listen()
        head = b"HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n"
        listener.on_data = lambda peer: peer.socket.write(head + b"no " * 100_000)
        failed = await self.failure(self.delivery(f"http://{LOOPBACK}:{port}"))
        self.assertRegex(failed.reason, r"\(500 Internal Server Error\): no no .*…$")
        self.assertLess(len(failed.reason), 350)
        await self.until(lambda: listener.peers[0].ended)

    async def test_closing_ends_everything(self) -> None:
        """Deliveries on their way fail; no connection is left."""
        sink, url = self.sink()
        delivery = self.delivery(url)
        await self.post(delivery)
        sink.answer = "nothing"
        waiting = delivery.deliver(items(delivery), attempt=1, purpose="live")
        await self.until(lambda: len(sink.kept or ()) == 2)
        await delivery.close()
        failed = await self.refusal(waiting)
        self.assertTrue(failed.reason.endswith(": the delivery was stopped"), failed.reason)
        self.assertEqual(delivery._connections._known, set())
        await self.until(lambda: not sink.open)


class Checks(HttpCase):
    """Whether a target is there."""

    async def test_head_tells(self) -> None:
        """Success, and statuses that only mean that the method is unknown."""
        sink, url = self.sink()
        delivery = self.delivery(url, headers={"x-key": "k"})
        for answer in ("200", "204", "405", "501"):
            sink.answer = answer
            await delivery.check()
        head = (sink.kept or [])[0][0]
        self.assertTrue(head.startswith(b"HEAD / HTTP/1.1\r\n"))
        self.assertEqual(headers_of(head)["x-key"], "k")
        self.assertNotIn("webhook-id", headers_of(head))
        for answer, text in (
            ("301", "301 Moved Permanently"),
            ("404", "404 Not Found"),
            ("503", "503 Service Unavailable"),
        ):
            sink.answer = answer
            failed = await self.refusal(delivery.check())
            self.assertEqual(
                failed.reason, f"storage error: http plugin readiness check failed ({text})"
            )
        self.assertEqual(sink.counts.deliveries, 0)

    async def test_a_body_where_none_may_be_spoils_nothing(self) -> None:
        """Simple servers send a body with the answer to HEAD, too; deliveries do not meet it."""
        listener, port = self.listen()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

        def reply(peer: Peer) -> None:
            if b"HEAD" in peer.received and b"POST" in peer.received:
                # What the body is to HEAD stands before the answer to whatever comes next.
                peer.socket.write(b"{}")
                peer.socket.loseConnection()
            else:
                peer.socket.write(answer + (b"{}" if b"POST" in peer.received else b""))

        listener.on_data = reply
        delivery = self.delivery(f"http://{LOOPBACK}:{port}/")
        await delivery.check()
        await self.post(delivery)


class Configured(HttpCase):
    """What cannot be sent is said at delivery."""

    async def test_errors_name_what_is_wrong_and_tell_no_secret(self) -> None:
        """One line each."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "large").write_bytes(b"x" * 70_000)
        (folder / "cli.token").write_text("hunter2")
        (folder / "link").symlink_to("cli.token")
        (folder / "hard").hardlink_to(folder / "cli.token")
        (folder / "sub").mkdir()
        for config, text in (
            ({"headers": {"a b": "c"}}, "'a b' is not the name of a header"),
            ({"headers": {"Content-Length": "1"}}, "header 'Content-Length' cannot be configured"),
            ({"headers": {"x": "hunter2\r\ny: z"}}, "the value of header 'x' holds control"),
            ({"headers": {"x": "env:NONE"}}, "header 'x': the environment has no variable 'NONE'"),
            ({"headers": {"x": "env:EVENTDBX_AUTH_PRIVATE_KEY"}}, "header 'x': .* server alone"),
            ({"headers": {"x": "env:EVENTDBX_DATA_ENCRYPTION_KEY"}}, ".* for the server alone"),
            ({"headers": {"x": "env:EVENTDBX_HTTP_METRICS_TOKEN"}}, ".* for the server alone"),
            ({"headers": {"x": "file:cli.token"}}, ".* for the server alone"),
            ({"headers": {"x": "file:sub/../link"}}, ".* for the server alone"),
            ({"headers": {"x": "file:hard"}}, ".* for the server alone"),
            ({"headers": {"x": "file:/proc/self/environ"}}, ".* for the server alone"),
            ({"headers": {"x": "file:none"}}, "header 'x': .*none: No such file or directory"),
            ({"headers": {"x": "file:large"}}, "header 'x': .*large is larger than 65536 bytes"),
            ({"secrets": ("hunter2",)}, "a webhook secret is"),
        ):
            delivery = self.delivery("http://127.0.0.1:1", folder=folder, **config)
            failed = await self.failure(delivery)
            self.assertRegex(failed.reason, f"^configuration error: {text}")
            self.assertNotIn("hunter2", failed.reason)
        for endpoint in ("", "http://", "http://a:b", "http://a b/", "http://[::1", "a:99999"):
            failed = await self.failure(self.delivery(endpoint))
            self.assertEqual(failed.reason, f"configuration error: '{endpoint}' is not a URL")

    async def test_refused_addresses_get_nothing(self) -> None:
        """Link-local ones unless allowed, private ones if refused; by name, too."""
        failed = await self.failure(self.delivery("http://169.254.169.254/latest/meta-data"))
        self.assertEqual(
            failed.reason,
            "configuration error: 169.254.169.254 is a link-local address, "
            "which the configuration does not allow",
        )
        sink, url = self.sink()
        for endpoint in (url, re.sub(re.escape(LOOPBACK), "localhost", url)):
            failed = await self.failure(self.delivery(endpoint, allow_private=False))
            self.assertIn("is a private address", failed.reason)
        self.assertEqual(sink.connections, 0)

    async def test_the_scheme_may_be_left_out(self) -> None:
        """As in old files; https says which one is meant."""
        _, url = self.sink()
        await self.post(self.delivery(url.removeprefix("http://")))
        place = url.removeprefix("http://")
        secured = self.delivery(place, https=True, entry={"timeout_s": 0.2})
        failed = await self.failure(secured)
        self.assertIn(f"for url (https://{place}/): no answer within 0.2 s", failed.reason)

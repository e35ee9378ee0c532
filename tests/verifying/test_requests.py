"""Exports on the control protocol: what may be asked, and how an export goes on."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits, verify
from eventdbx.client import BlockingClient
from eventdbx.errors import AggregateNotFound, ConfigError, EventDBXError
from eventdbx.surfaces.control.calls import Calls
from tests.daemon import running
from tests.verifying.story import checked

TYPE = "exported"


class Requests(SynchronousTestCase):
    """A client that asks for pages itself."""

    def setUp(self) -> None:
        self.space = running()
        self.client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        self.addCleanup(self.client.close)

    def ask(self, **members: Any) -> dict[str, Any]:
        """Return the answer to one request."""
        call = Calls(self.space.token).integrity({"do": "evidence", **members})
        return self.client.call(call)

    def refused(self, error: type[EventDBXError], **members: Any) -> str:
        return str(self.assertRaises(error, self.ask, **members))

    def trust(self) -> verify.Trust:
        """Return whom the verifier believes: the key that the server tells."""
        call = Calls(self.space.token).integrity({"do": "checkpoint"})
        text = self.client.call(call)["key"]
        return verify.Trust([verify.parse_key(text, verify.LOG_KEY)], [], 0)

    def test_pages(self) -> None:
        """Large events make several pages; each is answered twice alike, whatever is written."""
        for number in range(9):
            self.client.append("enlarged", "large", "made", {"text": str(number) * 200_000})
        page = self.ask(aggregates=[["enlarged", None]])
        lines, pages = page["lines"], 0
        while page["next"] is not None:
            asked = {"export": page["export"], "after": page["next"]}
            page, pages = self.ask(**asked), pages + 1
            if page["next"] is not None:
                self.assertEqual(self.ask(**asked), page)
                self.client.append("enlarged", "large", "made", {})
            lines += page["lines"]
            self.assertLess(len(page["lines"]), 2 * limits.EVIDENCE_PAGE_BYTES)
        self.assertGreater(pages, 3)
        found, _ = checked(lines.encode(), whom=self.trust())
        self.assertEqual((found["aggregates"], found["events"]), (1, 9))
        said = self.refused(ConfigError, export=page["export"], after=asked["after"])
        self.assertIn("no export", said)

    def test_malformed(self) -> None:
        """Whatever is asked for wrongly is refused with a reason, and nothing else happens."""
        self.client.append(TYPE, "one", "made", {})
        lists: list[Any] = [
            [], {}, "order", [[]], [[TYPE]], [[1, None]], [[TYPE, 1]], [[TYPE, "a\0b"]], [None],
            [[TYPE, None]] * (limits.EVIDENCE_SELECTORS_MAX + 1),
        ]  # fmt: skip
        for listed in lists:
            self.assertIn("array of", self.refused(ConfigError, aggregates=listed))
        self.refused(AggregateNotFound, aggregates=[[TYPE, "none"]])
        self.refused(AggregateNotFound, aggregates=[["dbx_admin", "tokens"]])
        number = self.ask(aggregates=[[TYPE, "one"]])["export"]
        places: list[Any] = [
            "start", {"name": "one"}, {"name": [TYPE]}, {"version": -1}, {"version": "1"},
            {"name": [TYPE, "a\0b"]}, {"events": 1.5},
        ]  # fmt: skip
        for after in places:
            self.refused(ConfigError, export=number, after=after)
        self.refused(ConfigError, export=number + 1_000, after={})
        self.refused(ConfigError, export="1")
        self.assertIsNone(self.ask(export=number, after={})["next"])

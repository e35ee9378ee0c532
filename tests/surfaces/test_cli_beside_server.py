"""The same commands beside a running server: same output, and what only a server refuses."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from eventdbx.application.token_keys import signing_key
from eventdbx.application.tokens import issue
from eventdbx.services.workspace import open_workspace
from tests.daemon import Workspace
from tests.surfaces.command_line import CommandLineCase, Ended

WRITES: tuple[tuple[str, ...], ...] = (
    ("aggregate", "create", "order", "o-1", "--event", "order_created", "--field", "total:=12"),
    ("aggregate", "create", "order", "o-2", "--event", "order.created", "--json", "--payload",
     '{"who":{"name":"Ada","tags":["x"]},"big":1e21}', "--metadata", '{"@source":"web"}'),
    ("aggregate", "create", "item", "i-1", "--event", "item_created"),
    ("aggregate", "apply", "order", "o-1", "order_paid", "--field", "paid=yes", "--note", "n"),
    ("aggregate", "patch", "order", "o-1", "order_changed",
     "--patch", '[{"op":"add","path":"/tags","value":["a"]}]'),
    ("aggregate", "apply", "order", "o-1", "order_noted", "--payload", "[1]",
     "--expect-version", "3", "--idempotency-key", "k"),
    ("aggregate", "apply", "order", "o-1", "order_noted", "--payload", "[1]",
     "--expect-version", "3", "--idempotency-key", "k"),
    ("aggregate", "archive", "item", "i-1", "--comment", "old"),
    ("snapshots", "create", "order", "o-1", "--comment", "audit"),
)  # fmt: skip

READS: tuple[tuple[str, ...], ...] = (
    ("aggregate", "list", "--include-archived"),
    ("aggregate", "list", "--json", "--take", "1"),
    ("aggregate", "list", "--sort", "version:desc", "--filter", "total > 1"),
    ("aggregate", "get", "order", "o-1", "--include-events"),
    ("aggregate", "get", "order", "o-1", "--version", "1"),
    ("aggregate", "get", "order", "o-1", "--at", "2000-01-01T00:00:00Z"),
    ("aggregate", "get", "item", "i-1"),
    ("aggregate", "select", "order", "o-2", "who.name", "who.tags.0", "big", "none", ""),
    ("aggregate", "replay", "order", "o-1", "--json"),
    ("aggregate", "verify", "order", "o-1"),
    ("events",),
    ("events", "order", "--json", "--include-archived"),
    ("events", "--sort", "event_id:desc", "--take", "2"),
    ("events", "--archived-only", "--json"),
    ("snapshots", "list", "order"),
    ("snapshots", "list", "--json"),
    ("verify", "--json"),
)

REFUSALS: tuple[tuple[str, ...], ...] = (
    ("aggregate", "get", "order", "o-9"),
    ("aggregate", "archive", "order", "o-9"),
    ("aggregate", "remove", "order", "o-1"),
    ("aggregate", "create", "Order", "o-9", "--event", "order_created"),
    ("aggregate", "apply", "order", "o-1", "order_paid", "--payload", "{"),
    ("aggregate", "apply", "order", "o-1", "order_paid", "--metadata", "[1]"),
    ("aggregate", "list", "--filter", "x y"),
    ("aggregate", "list", "--cursor", "bad"),
    ("events", "1"),
)

_PATTERNS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"\b\d{17,19}\b"), "<id>"),
    (re.compile(r'"(bytes|anchored|witnessed)": \d+'), r'"\1": <number>'),
)


def steady(done: Ended) -> tuple[int, str, str]:
    """What a command gave, without what differs from run to run, and without the actor."""
    texts = []
    for text in (done.stdout, done.stderr):
        for pattern, word in _PATTERNS:
            text = pattern.sub(word, text)
        text = re.sub(r'"issued_by": (?:null|\{\s+"group": "cli",\s+"user": "root"\s+\})', "", text)
        texts.append(text.replace("issued_by=cli:root", "issued_by=-"))
    return done.status, texts[0], texts[1]


class ServedCase(CommandLineCase):
    """Commands run in this process, the server in one of its own."""

    def workspace(self, *, served: bool) -> Workspace:
        place = Workspace(Path(self.mktemp()).absolute())
        if served:
            place.start()
            self.addCleanup(place.stop)
        return place

    def at(self, place: Workspace, *arguments: str) -> Ended:
        """Run a command on a workspace."""
        return self.attempt("--config", str(place.folder / ".dbx" / "config.toml"), *arguments)


class BothWays(ServedCase):
    """One story told twice: to the store itself and to a server."""

    def test_same_output(self) -> None:
        """Whether a server runs cannot be seen in what commands print, except for the actor."""
        alone, served = self.workspace(served=False), self.workspace(served=True)
        for line in (*WRITES, *READS, *REFUSALS):
            self.assertEqual(steady(self.at(served, *line)), steady(self.at(alone, *line)), line)

    def test_server_then_store(self) -> None:
        """What was written through the server is read from the store afterwards, byte for byte."""
        place = self.workspace(served=True)
        for line in WRITES:
            self.assertEqual(self.at(place, *line).status, 0, line)
        told = [self.at(place, *line) for line in READS]
        self.assertEqual(place.stop(), 0)
        pattern, word = _PATTERNS[-1]  # A server that stops signs a last checkpoint.
        for line, before in zip(READS, told, strict=True):
            after = self.at(place, *line)
            for one, other in zip(after, before, strict=True):
                self.assertEqual(pattern.sub(word, str(one)), pattern.sub(word, str(other)), line)


class OnlyServers(ServedCase):
    """What a server refuses, and how that reads."""

    def setUp(self) -> None:
        super().setUp()
        self.place = self.workspace(served=True)
        self.socket = f"127.0.0.1:{self.place.port}"
        self.told("aggregate", "create", "order", "o-1", "--event", "order_created")
        self.before = self.told("events", "--json")

    def assertRefused(self, doing: str, cause: str, *arguments: str) -> None:
        done = self.at(self.place, *arguments)
        self.assertEqual(
            (done.status, done.stdout, done.stderr),
            (1, "", f"Error: failed to {doing} via running server socket {self.socket}\n\n"
                    f"Caused by:\n    {cause}\n"),
        )  # fmt: skip
        self.assertEqual(self.told("events", "--json"), self.before)

    def told(self, *arguments: str) -> str:
        """What a command prints that must succeed."""
        done = self.at(self.place, *arguments)
        self.assertEqual(done.status, 0, done.stderr)
        return done.stdout

    def token(self, **changes: object) -> str:
        """A token signed by this workspace's own key."""
        config = str(self.place.folder / ".dbx" / "config.toml")
        auth = open_workspace(config, environ=dict(os.environ)).config.auth
        settings = {
            "issuer": auth.issuer, "audience": auth.audience, "jti": "t-1", "group": "ops",
            "user": "ann", "now_s": int(time.time()), "ttl_s": 600, "actions": ["*.*"],
            "resources": ["*"],
        }  # fmt: skip
        make: Callable[..., str] = issue
        return make(signing_key(auth), **{**settings, **changes})

    def test_already_there(self) -> None:
        """The server's own words are the cause."""
        self.assertRefused(
            "create aggregate",
            "server returned schema_violation: schema violation: "
            "aggregate order::o-1 already exists",
            "aggregate", "create", "order", "o-1", "--event", "order_created",
        )  # fmt: skip
        self.assertRefused(
            "append event",
            "server returned schema_violation: schema violation: expected version 7, found 1",
            "aggregate", "apply", "order", "o-1", "order_paid", "--expect-version", "7",
        )  # fmt: skip
        self.assertRefused(
            "append patch event",
            "server returned aggregate_not_found: aggregate not found",
            "aggregate", "patch", "order", "gone", "order_changed", "--patch", "[]",
        )  # fmt: skip

    def test_never_creates(self) -> None:
        """``apply`` refuses a missing aggregate beside a server, too."""
        done = self.at(self.place, "aggregate", "apply", "order", "gone", "order_paid")
        self.assertEqual(done.status, 1)
        self.assertIn("aggregate order::gone does not exist", done.stderr)
        self.assertEqual(self.told("events", "--json"), self.before)

    def test_wrong_token(self) -> None:
        """A token that is none, or of another key, is rejected at the door."""
        apply = "aggregate", "apply", "order", "o-1", "order_paid", "--token"
        rejected = "control handshake rejected: invalid control token"
        self.assertRefused("append event", rejected, *apply, "aaaa.bbbb.cccc")
        forged = self.token()[:-8] + "AAAAAAAA"
        self.assertRefused("append event", rejected, *apply, forged, "--send-token")
        own = self.place.token
        self.assertRefused("append event", rejected, *apply, own[:-8] + "AAAAAAAA")

    def test_token_of_another_ledger(self) -> None:
        """A good token that the server did not issue is not sent unless that is asked for."""
        apply = "aggregate", "apply", "order", "o-1", "order_paid", "--token", self.token()
        done = self.at(self.place, *apply)
        self.assertEqual(done.status, 1)
        self.assertIn("control handshake rejected: unknown token id; ", done.stderr)
        self.assertIn("--send-token", done.stderr)
        self.told(*apply, "--send-token")

    def test_expired_token(self) -> None:
        """So is one whose time is over."""
        old = self.token(now_s=int(time.time()) - 3600, ttl_s=60)
        self.assertRefused(
            "append event", "control handshake rejected: invalid control token",
            "aggregate", "apply", "order", "o-1", "order_paid", "--token", old,
            "--send-token",
        )  # fmt: skip

    def test_limited_token(self) -> None:
        """A token reads or writes no more than it names; what it writes bears its name."""
        reading = self.token(actions=["aggregate.read"])
        self.assertRefused(
            "append event", "server returned unauthorized: unauthorized",
            "aggregate", "apply", "order", "o-1", "order_paid", "--token", reading,
            "--send-token",
        )  # fmt: skip
        writing = self.token(actions=["aggregate.append"], resources=["aggregate:order:*"])
        event = self.told(
            "aggregate", "apply", "order", "o-1", "order_paid", "--token", writing, "--send-token"
        )
        self.assertRegex(event, r'"group": "ops",\s+"user": "ann"')

    def test_large(self) -> None:
        """Events and lists of any size go through, though frames are small."""
        payload = self.place.folder / "large.json"
        payload.write_text('{"a":"%s"}' % ("x" * 200_000), encoding="utf-8")
        event = self.told(
            "aggregate", "apply", "order", "o-1", "order_paid", "--payload", f"@{payload}"
        )
        self.assertGreater(len(event), 200_000)
        self.assertGreater(len(self.told("aggregate", "get", "order", "o-1")), 200_000)
        self.assertGreater(len(self.told("events", "--json")), 200_000)
        self.told("verify")

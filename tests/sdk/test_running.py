"""Plugins as programs: real processes with real pipes, and the examples that people begin with."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.plugin import Event
from eventdbx.wire.plugin_messages import Ack, Answers, Refusal
from tests.daemon import ROOT, outside
from tests.sdk.messages import FIRST_ID, INIT, delivery, parts

EXAMPLES = ROOT / "examples"
TALKATIVE = """
import os, sys
from eventdbx.plugin import projection, run

@projection
def talk(event):
    print("printed", event.aggregate_id)
    os.system("echo from a child; cat")
    if event.payload.get("bad"):
        raise KeyError("customer")

run(talk)
print("goodbye")
"""

# As an http plugin gets it, and as `dbx events --json` lists it.
ENVELOPE = {
    "event": {
        "aggregate_type": "order", "aggregate_id": "o-1", "event_type": "order_paid", "version": 2,
        "payload": {"total": 12}, "extensions": {"@trace": {"id": "t-1"}}, "hash": "aa",
        "merkle_root": "bb",
        "metadata": {"event_id": "7", "created_at": "2026-01-05T09:10:11.123456789Z", "note": "n"},
    },
    "state": {
        "aggregate_type": "order", "aggregate_id": "o-1", "version": 2, "merkle_root": "bb",
        "state": {"total": "12"}, "archived": True,
    },
    "schema": {"aggregate": "order"},
}  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    """Return what a plugin finds around it when nobody says that answers are read."""
    kept = {key: value for key, value in outside().items() if not key.startswith("EVENTDBX_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def start(*arguments: str | Path, data: bytes, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a plugin on some input and return how it ended."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        input=data,
        capture_output=True,
        env=environment(**more),
        timeout=60,
        check=False,
    )


def answers(done: subprocess.CompletedProcess[bytes]) -> list[Ack | Refusal]:
    """Return what a plugin answered; fails for anything else on its standard output."""
    return Answers().feed(done.stdout)


class Programs(SynchronousTestCase):
    """What is between the pipes of a server and a projection."""

    def test_output(self) -> None:
        """What a plugin and its children print never mixes with its answers."""
        data = INIT + delivery(1, [parts("a", 1)]) + delivery(2, [parts("b", 1, b'{"bad":1}')])
        done = start("-c", TALKATIVE, data=data)
        self.assertEqual(answers(done), [Ack(1), Refusal(2, "KeyError: 'customer'")])
        said = done.stderr.decode()
        self.assertEqual(done.returncode, 0, said)
        self.assertLess(said.index("printed a"), said.index("from a child"))
        self.assertIn("Traceback", said)
        self.assertIn("goodbye", said)

    def test_no_acks(self) -> None:
        """Configured without acks, it writes no answers where the server reads text."""
        done = start(
            "-c", TALKATIVE, data=INIT + delivery(1, [parts("a", 1)]), EVENTDBX_PLUGIN_NAME="w"
        )
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"from a child\n", done.stdout)
        done = start(
            "-c", TALKATIVE, data=delivery(1, [parts("a", 1)]),
            EVENTDBX_PLUGIN_NAME="w", EVENTDBX_PLUGIN_ACK="1",
        )  # fmt: skip
        self.assertEqual(answers(done), [Ack(1)])

    def test_noise(self) -> None:
        """What is no server is told so, after an answer to what was understood."""
        done = start("-c", TALKATIVE, data=delivery(1, [parts("a", 1)]) + b"hello" * 9)
        self.assertEqual((answers(done), done.returncode), ([Ack(1)], 2))
        self.assertIn(b"something else than messages of a server", done.stderr)

    def test_server_gone(self) -> None:
        """A server that is killed takes its plugin along, quietly."""
        with subprocess.Popen(
            [sys.executable, "-c", TALKATIVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        ) as child:
            assert child.stdin and child.stdout and child.stderr
            child.stdout.close()
            child.stdin.write(delivery(1, [parts("a", 1)]))
            child.stdin.flush()
            said = child.stderr.read().decode()
        self.assertEqual(child.returncode, 0, said)
        self.assertIn("the server is gone", said)
        self.assertNotIn("Traceback", said)

    def test_light(self) -> None:
        """Neither Twisted nor anything else of a server is loaded for a plugin."""
        code = "import eventdbx.plugin, sys; print(*sys.modules)"
        loaded = set(start("-c", code, data=b"").stdout.decode().split())
        self.assertIn("eventdbx.plugin", loaded)
        heavy = {"twisted", "capnp", "rocksdict", "cryptography", "click", "sqlite3", "asyncio"}
        self.assertEqual(loaded & heavy, set())


class Examples(SynchronousTestCase):
    """The programs in examples/."""

    def test_executable(self) -> None:
        """Each can be installed as it stands."""
        programs = sorted(EXAMPLES.glob("*.py"))
        self.assertEqual(len(programs), 2)
        for program in programs:
            self.assertTrue(os.access(program, os.X_OK))
            self.assertTrue(program.read_text().startswith("#!/usr/bin/env python3\n"))


class Documents(SynchronousTestCase):
    """Events from JSON, for tests."""

    def test_envelope(self) -> None:
        """The body of an http plugin has everything that a message has."""
        event = Event.from_document(ENVELOPE)
        self.assertEqual((event.aggregate_type, event.aggregate_id), ("order", "o-1"))
        self.assertEqual((event.version, event.event_id, event.key), (2, "7", "default_7"))
        self.assertEqual((event.payload, event.state), ({"total": 12}, {"total": "12"}))
        self.assertEqual((event.metadata["note"], event.archived), ("n", True))
        self.assertEqual(event.extensions, {"@trace": {"id": "t-1"}})
        self.assertEqual(event.created_at.isoformat(), "2026-01-05T09:10:11.123456+00:00")
        self.assertEqual(event.schema, {"aggregate": "order"})

    def test_bare(self) -> None:
        """An event alone has no state; a state alone has a version and no event."""
        event = Event.from_document(cast(dict[str, Any], ENVELOPE["event"]))
        self.assertEqual((event.payload, event.state), ({"total": 12}, None))
        state = Event.from_document({"state": ENVELOPE["state"]})
        self.assertEqual((state.event_id, state.payload, state.version), ("", None, 2))
        self.assertEqual(state.key, "default_order_o-1_2")

    def test_none(self) -> None:
        """A document that is none of an event is refused."""
        documents: list[dict[str, Any]] = [
            {},
            {"event": 1},
            {"aggregate_type": 1},
            {"state": {"version": "x"}},
        ]
        for document in documents:
            self.assertRaises(ValueError, Event.from_document, document)


class ReadModel(SynchronousTestCase):
    """examples/sqlite_read_model.py."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def start(self, data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run it on some input."""
        return start(EXAMPLES / "sqlite_read_model.py", self.path, *arguments, data=data)

    def rows(self, question: str) -> list[Any]:
        """Return an answer of its database."""
        with sqlite3.connect(self.path) as database:
            return database.execute(question).fetchall()

    def test_messages(self) -> None:
        """Killed or not, with redeliveries and a sample in between, its figures are right."""
        events = [parts(name, version) for version in (1, 2, 3) for name in ("a", "b")]
        stream = INIT + delivery(1, events[:4]) + delivery(5, events[:1], purpose="test")
        self.assertEqual(answers(self.start(stream))[-1], Ack(5))
        done = self.start(INIT + delivery(1, events, attempt=2) + b"\0\0\0\0")
        self.assertEqual((answers(done)[-1], done.returncode), (Ack(6), 0))
        self.assertEqual(
            self.rows("SELECT id, version, state FROM aggregates"),
            [("a", 3, '{"total": "3"}'), ("b", 3, '{"total": "3"}')],
        )
        self.assertEqual(
            self.rows("SELECT * FROM daily"), [("2026-01-05", "order", "order_paid", 6)]
        )

    def test_file(self) -> None:
        """An author tries it on events from a file; a dry run leaves nothing."""
        lines = json.dumps(ENVELOPE).encode() + b"\n\n"
        done = self.start(lines, "--events", "-", "--dry-run")
        self.assertEqual((done.returncode, done.stdout), (0, b""))
        self.assertIn(b"1 events applied, and undone", done.stderr)
        self.assertEqual(self.rows("SELECT * FROM daily"), [])
        for _ in range(2):
            self.assertIn(b"1 events applied\n", self.start(lines, "--events", "-").stderr)
        array = json.dumps([ENVELOPE["event"]], indent=2).encode()
        self.assertEqual(self.start(array, "--events", "-").returncode, 0)
        self.assertEqual(self.rows("SELECT events FROM daily"), [(1,)])

    def test_bad_file(self) -> None:
        """A line that is no event is named; nothing else is said."""
        done = self.start(json.dumps(ENVELOPE).encode() + b"\n{]\n", "--events", "-")
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"-: line 2: ", done.stderr)
        self.assertNotIn(b"Traceback", done.stderr)
        self.assertEqual(self.start(b"", "--events", "/nowhere").returncode, 2)

    def test_no_path(self) -> None:
        """Without a database it says what is missing."""
        done = start(EXAMPLES / "sqlite_read_model.py", data=b"")
        self.assertIn(b"give the path of the database", done.stderr)


class Receiver(ThreadingHTTPServer):
    """A web service that answers as told, one answer after the other."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *answers: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answers = list(answers)
        self.asked: list[tuple[str, Any]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about clients that go early."""


class Request(BaseHTTPRequestHandler):
    """Notes the key and the document of each request; an empty answer closes the connection."""

    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        """Answer with the next one."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.headers["Idempotency-Key"], json.loads(body)))
        answer = self.server.answers.pop(0)
        self.wfile.write(answer)
        self.close_connection = not answer or b"Connection: close" in answer

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the tests' output short."""


@contextmanager
def receiving(*answers: bytes) -> Iterator[tuple[Receiver, str]]:
    """Give a running web service and its URL."""
    with Receiver(*answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_address[1]}/hooks?room=1"
        finally:
            server.shutdown()
            thread.join()


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return a whole answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


class Relay(SynchronousTestCase):
    """examples/webhook_relay.py."""

    def relay(self, data: bytes, url: str) -> list[Ack | Refusal]:
        """Return its answers."""
        done = start(EXAMPLES / "webhook_relay.py", data=data, RELAY_URL=url)
        self.assertEqual(done.returncode, 0, done.stderr)
        return answers(done)

    def test_accepted(self) -> None:
        """Each event is one request with a key of its own, also when a kept connection is gone."""
        ok = answer("200 OK", b"thanks")
        events = [parts("a", version, b'{"total":%d}' % version) for version in (1, 2, 3)]
        with receiving(ok, b"", ok, ok) as (server, url):
            self.assertEqual(self.relay(delivery(1, events), url)[-1], Ack(3))
        keys = [key for key, _ in server.asked]
        first = FIRST_ID + sum(b"a")
        self.assertEqual(keys, [f"relay_default_{first + count * 1000}" for count in (1, 2, 2, 3)])
        self.assertEqual(server.asked[0][1], {"text": "order_paid a (version 1): total = 1"})

    def test_refused(self) -> None:
        """Whose fault it is, and when to come again, is handed on to the server."""
        expected = {
            answer("400 Bad Request", b" no room ", "Connection: close"): Refusal(
                1, "ValueError: 400 Bad Request: no room"
            ),
            answer("302 Found", b"", "Location: /x"): Refusal(1, "ValueError: 302 Found: "),
            answer("429 Too Many Requests", b"", "Retry-After: 7"): Refusal(
                1, "429 Too Many Requests: ", True, 7.0
            ),
            answer("503 Service Unavailable", b"x" * 9000): Refusal(
                1, "503 Service Unavailable: " + "x" * 256, True
            ),
            b"SSH-2.0-Nothing\r\n": None,
            b"": None,
        }
        for said, refusal in expected.items():
            with receiving(said, said) as (_, url):
                (got,) = self.relay(delivery(1, [parts("a", 1)]), url)
            if refusal is None:
                assert isinstance(got, Refusal)
                self.assertIn("cannot reach the receiver", got.message)
                self.assertTrue(got.unavailable)
            else:
                self.assertEqual(got, refusal)

    def test_away(self) -> None:
        """A receiver that is not there is no fault of the event."""
        with receiving() as (_, url):
            pass
        (got,) = self.relay(delivery(1, [parts("a", 1), parts("a", 2)]), url)
        assert isinstance(got, Refusal)
        self.assertIn("Connection refused", got.message)
        self.assertEqual((got.sequence, got.unavailable), (1, True))

    def test_settings(self) -> None:
        """A missing or senseless URL ends it with a reason."""
        for url in ("", "ftp://example.org/"):
            done = start(EXAMPLES / "webhook_relay.py", data=b"", RELAY_URL=url)
            self.assertIn(b"RELAY_URL must be", done.stderr)

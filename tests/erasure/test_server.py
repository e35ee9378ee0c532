"""Erasure through the real server and the command line: proofs, plugins, files, audit."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.domain.commands import Write
from tests.daemon import Workspace
from tests.erasure.places import holds

SECRETS = (
    "payload-kilo-5520", "metadata-lima-5520", "note-mike-5520", "archive-november-5520",
    "snapshot-oscar-5520",
)  # fmt: skip
ANNA = "anna-papa-5520"


class Target:
    """A program that takes lines over TCP and keeps them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _address = self._listener.accept()
            except OSError:
                return
            Thread(target=self._take, args=(peer,), daemon=True).start()

    def _take(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as lines:
            for line in lines:
                self.events.append(json.loads(line))

    def close(self) -> None:
        """Take nothing more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def entry(self, name: str) -> dict[str, Any]:
        """Return the entry of a plugin that leads here."""
        config = {"type": "tcp", "host": "127.0.0.1", "port": self.port}
        return {"name": name, "config": config}


class Echo(BaseHTTPRequestHandler):
    """Refuses what it is sent, and repeats it."""

    told: list[bytes] = []
    status = 400

    def do_POST(self) -> None:
        """Answer one event."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.append(body)
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_given: Any) -> None:
        """Say nothing."""


class Server(SynchronousTestCase):
    """A daemon with an order, proofs of it, and plugins."""

    sealed = True

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(self.space.stop, signal.SIGKILL)
        if not self.sealed:
            path = self.space.folder / ".dbx" / "config.toml"
            text = path.read_text()
            self.assertIn("encryption = true", text)
            path.write_text(text.replace("encryption = true", "encryption = false"))
        self.target = Target()
        self.addCleanup(self.target.close)
        self.space.start()

    def client(self) -> BlockingClient:
        """Return a client of the server."""
        client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        self.addCleanup(client.close)
        return client

    def fill(self, client: BlockingClient) -> None:
        """Write something of everything about one order."""
        client.append("order", "o-2", "made", {"kept": 1})
        client.append("order", "o-1", "made", {"who": SECRETS[0]},
                      metadata={"@trace": SECRETS[1]}, note=SECRETS[2])  # fmt: skip
        client.append("order", "o-1", "paid", {"sum": 3})
        self.space.run("aggregate", "snapshot", "order", "o-1", "--comment", SECRETS[4])
        client.archive("order", "o-1", SECRETS[3])
        client.restore("order", "o-1", "back")

    def store(self) -> Path:
        """Return the folder in which everything is."""
        return self.space.folder / ".dbx"

    def assert_gone(self, *texts: str) -> None:
        """Fail if a text is in any file of the installation."""
        for text in texts:
            self.assertEqual(holds(self.space.folder, text), [], text)

    def proofs(self, name: str) -> list[str]:
        """Write proofs of the order to files, and return their names."""
        made = []
        for number, command in enumerate(
            (
                ("event", "order", "o-1", "1"),
                ("event", "order", "o-1", "1", "--in-aggregate"),
                ("aggregate", "order", "o-1"),
            )
        ):
            file = f"{name}-{number}.proof"
            self.space.run("proof", *command, "--out", file)
            made.append(file)
        return made

    def check(self, proofs: list[str]) -> None:
        """Check proofs with nothing but the key of the log."""
        key = self.space.run("checkpoint", "--key").splitlines()[0].removeprefix("log: ")
        for proof in proofs:
            self.space.run("proof", "check", proof, "--key", key)

    def test_an_aggregate(self) -> None:
        client = self.client()
        self.fill(client)
        proofs = self.proofs("before")
        dry = json.loads(self.space.run("erase", "aggregate", "order", "o-1", "--reason", "r",
                                        "--dry-run", "--json"))  # fmt: skip
        done = json.loads(self.space.run("erase", "aggregate", "order", "o-1", "--reason", "r",
                                         "--yes", "--json"))  # fmt: skip
        self.assertEqual(dry, done)
        self.assertEqual((done["events"], done["snapshots"], done["notes"]), (2, 1, 2))
        self.assertEqual(done["older_copies_readable"], not self.sealed)
        self.assert_gone(*SECRETS)
        events = client.events("order", "o-1").items
        self.assertEqual([one.get("erased", False) for one in events], [True, True, False])
        self.assertEqual(events[2]["event_type"], "dbx_erased")
        self.check([*proofs, *self.proofs("after")])
        self.space.run("verify")
        client.append("order", "o-1", "made", {"again": 1})
        self.assertEqual(client.get("order", "o-1")["state"], {"again": "1"})  # type: ignore[index]
        self.assertEqual(client.get("order", "o-2")["state"], {"kept": "1"})  # type: ignore[index]
        self.space.stop(signal.SIGKILL)
        self.assert_gone(*SECRETS)
        self.space.run("verify")
        self.space.run("erase", "aggregate", "order", "o-1", "--reason", "again", "--yes")
        self.space.run("verify")
        self.check([*proofs, *self.proofs("offline")])
        trail = json.loads(self.space.run("audit", "log", "--area", "erasures", "--json"))
        self.assertEqual([one["resource"] for one in trail], ["order/o-1"] * 2)

    def test_a_subject_whose_name_is_nowhere(self) -> None:
        client = self.client()
        for number in range(50):
            client.append("order", f"p-{number}", "made", {"mail": f"{SECRETS[0]}-{number}"},
                          metadata={"@subject": ANNA})  # fmt: skip
            client.append("order", f"p-{number}", "paid", {"sum": number})
        done = json.loads(self.space.run("erase", "subject", ANNA, "--reason", "r", "--yes",
                                         "--json"))  # fmt: skip
        self.assertEqual((done["aggregates"], done["events"]), (50, 50))
        self.assertEqual(client.get("order", "p-7")["state"], {"sum": "7"})  # type: ignore[index]
        self.space.run("verify")
        self.space.run("audit", "log", "--json")
        self.space.stop(signal.SIGKILL)
        self.assert_gone(SECRETS[0], ANNA)

    def test_plugins(self) -> None:
        client = self.client()
        client.plugins({"do": "configure", "entry": self.target.entry("early")})
        late = {**self.target.entry("late"), "paused": True}
        client.plugins({"do": "configure", "entry": late})
        self.fill(client)
        self.wait_for(lambda: len(self.target.events) >= 3)
        first = len(self.target.events)
        client.integrity({"do": "erase", "aggregate_type": "order", "aggregate_id": "o-1",
                          "reason": "r"})  # fmt: skip
        self.wait_for(lambda: len(self.target.events) > first)
        named = self.target.events[-1]
        self.assertEqual(named["event"]["event_type"], "dbx_erased")
        self.assertEqual(named["state"]["state"], {})
        self.target.events.clear()
        client.plugins({"do": "resume", "name": "late"})
        self.wait_for(lambda: len(self.target.events) >= 4)
        told = json.dumps(self.target.events)
        for text in SECRETS:
            self.assertNotIn(text, told)
        # Each comes on a connection of its own, so the target may meet them in another order.
        erased = sorted(
            (one["event"]["aggregate_id"], one["event"]["version"],
             one["event"].get("erased", False))
            for one in self.target.events
        )  # fmt: skip
        self.assertEqual(
            erased,
            [("o-1", 1, True), ("o-1", 2, True), ("o-1", 3, False), ("o-2", 1, False)],
        )
        job = client.plugins({"do": "replay", "name": "early"})
        self.wait_for(lambda: len(self.target.events) >= 8)
        self.assertNotIn(SECRETS[0], json.dumps(self.target.events))
        self.assertTrue(job)

    def test_jobs_that_are_dead(self) -> None:
        handler = type("Handler", (Echo,), {"told": []})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        config = {"type": "http", "endpoint": f"http://127.0.0.1:{server.server_port}/"}
        entry = {"name": "far", "config": config, "max_attempts": 1}
        client = self.client()
        client.plugins({"do": "configure", "entry": entry})
        self.fill(client)

        def dead() -> Any:
            return client.plugins({"do": "queue"})["jobs"]["dead"]

        self.wait_for(lambda: any(one["aggregate_id"] == "o-1" for one in dead()))
        job = next(one for one in dead() if one["aggregate_id"] == "o-1")
        self.assertTrue(job["last_error"])
        client.integrity({"do": "erase", "aggregate_type": "order", "aggregate_id": "o-1",
                          "reason": "r"})  # fmt: skip
        job = next(one for one in dead() if one["aggregate_id"] == "o-1")
        self.assertIsNone(job["last_error"])
        shown = client.plugins({"do": "job", "id": job["id"]})
        self.assertTrue(json.loads(shown["document"])["event"]["erased"])
        self.assertNotIn(SECRETS[0], json.dumps(shown))
        handler.status = 200  # type: ignore[attr-defined]
        count = len(handler.told)  # type: ignore[attr-defined]
        client.plugins({"do": "retry"})
        self.wait_for(lambda: len(handler.told) >= count + 3)  # type: ignore[attr-defined]
        self.assertNotIn(SECRETS[0].encode(), b"".join(handler.told[count:]))  # type: ignore[attr-defined]
        self.assert_gone(*SECRETS)

    def test_the_command_line_shows_it(self) -> None:
        client = self.client()
        self.fill(client)
        self.space.run("erase", "aggregate", "order", "o-1", "--reason", "r", "--yes")
        for words in (
            ("events", "--aggregate", "order", "--aggregate-id", "o-1"),
            ("events", "--json"),
            ("events", "--filter", 'payload.who = "x"'),
            ("aggregate", "replay", "order", "o-1"),
            ("aggregate", "get", "order", "o-1", "--version", "1"),
            ("aggregate", "list"),
            ("snapshots", "list"),
            ("aggregate", "select", "order", "o-1", "who"),
        ):
            shown = self.space.run(*words)
            for text in SECRETS:
                self.assertNotIn(text, shown)

    def wait_for(self, there: Any) -> None:
        """Return once something is so; the server is asked meanwhile, so time goes by."""
        client = self.client()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if there():
                return
            client.status()
        raise AssertionError(f"it never came\n{self.target.events}\n{self.space.log[-2000:]}")

    def test_asking(self) -> None:
        client = self.client()
        client.append("order", "o-1", "made", {"a": 1})
        done = self.space.attempt("erase", "aggregate", "order", "o-1", "--reason", "r")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("nothing was erased", done.stderr)
        self.assertEqual(len(client.events("order", "o-1").items), 1)
        done = self.space.attempt("erase", "aggregate", "order", "o-9", "--reason", "r", "--yes",
                                  EVENTDBX_EXIT_CODES="fine")  # fmt: skip
        self.assertEqual(done.returncode, 4, done.stderr)
        done = self.space.attempt("erase", "aggregate", "order", "o-1", "--reason", " ", "--yes",
                                  EVENTDBX_EXIT_CODES="fine")  # fmt: skip
        self.assertEqual(done.returncode, 7, done.stderr)

    def test_many_events_do_not_block(self) -> None:
        count = int(os.environ.get("ERASED_EVENTS", "2000"))
        client = self.client()
        for start in range(0, count, 500):
            client.commit_batch(
                [
                    Write("append", "order", "big", "made", b'{"n":%d}' % number)
                    for number in range(start, min(start + 500, count))
                ]
            )
        client.integrity({"do": "erase", "aggregate_type": "order", "aggregate_id": "big",
                          "reason": "r"})  # fmt: skip
        self.assertEqual(client.get("order", "big")["state"], {})  # type: ignore[index]
        self.space.run("verify", "order", "big")


class PlainServer(Server):
    """The same without encryption."""

    sealed = False

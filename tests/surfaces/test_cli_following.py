"""``dbx events --follow`` as a user meets it: without a server, with one, and when one comes."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from tests.daemon import Workspace, running
from tests.surfaces.command_line import CommandLineCase


class Alone(CommandLineCase):
    """Without a server."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(3):
            self.create("order", f"o-{number}", "--field", f"n:={number}")

    def test_from_the_start(self) -> None:
        """Events are printed in commit order, each with its position, as many as are asked for."""
        shown = self.dbx("events", "--follow", "--from", "start", "--take", "3").stdout.splitlines()
        self.assertEqual([line.split(" position=")[1] for line in shown], ["0-0", "0-1", "0-2"])
        self.assertIn("aggregate_id=o-1", shown[1])

    def test_from_a_position(self) -> None:
        """With --json there is one document a line; what is behind the position is printed."""
        self.create("bill", "b-1")
        self.create("order", "o-9")
        options = ("--follow", "--from", "0-1", "--take", "2", "--json")
        shown = self.dbx("events", "order", *options).stdout.splitlines()
        events = [json.loads(line) for line in shown]
        self.assertEqual([one["aggregate_id"] for one in events], ["o-2", "o-9"])
        self.assertEqual([one["position"] for one in events], ["0-2", "0-4"])
        self.assertEqual(events[0]["payload"], {"n": 2})
        late = ("--filter", "payload.n >= 1", "--follow", "--from", "start", "--take", "1")
        self.assertIn("aggregate_id=o-1", self.dbx("events", *late).stdout)

    def test_archived(self) -> None:
        """The log holds what happened, whether its aggregate is archived or not."""
        self.dbx("aggregate", "archive", "order", "o-0")
        shown = self.dbx("events", "-f", "--from", "start", "--take", "1").stdout
        self.assertIn("aggregate_id=o-0", shown)

    def test_wrong_usage(self) -> None:
        """A place needs --follow; a list that is sorted or cut cannot be followed."""
        self.misused("events", "--from", "start")
        self.misused("events", "--follow", "--sort", "version")
        self.misused("events", "--follow", "--cursor", "a:b:c:1")
        self.misused("events", "--follow", "--archived-only")
        self.assertIn("position", self.failed("events", "--follow", "--from", "0-9"))
        self.assertIn("position", self.failed("events", "--follow", "--from", "yesterday"))
        self.assertIn("filter", self.failed("events", "--follow", "--filter", "n >"))


class Beside(SynchronousTestCase):
    """With a server that takes writes meanwhile."""

    def setUp(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.addCleanup(self.pool.shutdown)

    def begin(self, space: Workspace, *options: str) -> Future[subprocess.CompletedProcess[str]]:
        """Start a command; it ends when it has printed enough."""
        return self.pool.submit(space.attempt, "events", *options)

    def numbers(self, command: Future[subprocess.CompletedProcess[str]]) -> list[Any]:
        """Return the numbers of the events that it printed."""
        done = command.result(timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [json.loads(line)["payload"]["n"] for line in done.stdout.splitlines()]

    def test_live(self) -> None:
        """What is committed while it runs is printed, however it is committed."""
        space = running()
        options = ("told", "--follow", "--from", "start", "--json", "--take", "20")
        command = self.begin(space, *options)
        with BlockingClient("127.0.0.1", space.port, space.token) as client:
            for number in range(19):
                client.append("told", "t-1", "made", {"n": number})
        self.assertFalse(command.done())
        space.run("aggregate", "apply", "told", "t-1", "made", "--field", "n:=19")
        self.assertEqual(self.numbers(command), list(range(20)))

    def test_a_server_that_comes_and_goes(self) -> None:
        """It goes on behind what it has printed, with a server and without."""
        space = Workspace(Path(self.mktemp()).absolute())
        self.addCleanup(space.stop)

        def put(number: int) -> None:
            space.run("aggregate", "apply", "order", "o-1", "made", "--field", f"n:={number}")

        space.run("aggregate", "create", "order", "o-1", "--event", "made", "--field", "n:=0")
        command = self.begin(space, "--follow", "--from", "start", "--json", "--take", "5")
        put(1)
        space.start()
        put(2)
        space.stop()
        put(3)
        space.start()
        put(4)
        self.assertEqual(self.numbers(command), list(range(5)))

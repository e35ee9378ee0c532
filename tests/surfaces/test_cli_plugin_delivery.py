"""``dbx plugin``: test, replay, lag, wait, seek and rebuild, against targets that listen."""

from __future__ import annotations

import json
from pathlib import Path

from tests.daemon import free_port
from tests.surfaces.forked import ForkedCase

REFUSED = "storage error: http plugin request failed (500 Internal Server Error): {}"


class Testing(ForkedCase):
    """``dbx plugin test``."""

    def test_sample(self) -> None:
        """One line for each, and a failure in the end if one failed; nothing is queued."""
        well, ill = self.sink(), self.sink(status=500)
        self.assertEqual(self.told("plugin", "test"), "(no plugins enabled)\n")
        self.hook(well)
        self.assertEqual(
            self.told("plugin", "test"),
            "http (hook) - ok\nTested 1 plugin(s): 1 succeeded, 0 failed\n",
        )
        (got,) = well.received
        self.assertEqual(got.headers["eventdbx-test"], "true")
        self.assertEqual(got.document["event"]["aggregate_id"], "p-001")
        self.hook(ill, name="ill")
        ended = self.attempt("plugin", "test")
        reason = "storage error: http plugin readiness check failed (500 Internal Server Error)"
        self.assertEqual(
            ended,
            (
                1,
                f"http (hook) - ok\nhttp (ill) - FAILED ({reason})\n"
                "Tested 2 plugin(s): 1 succeeded, 1 failed\n",
                "Error: plugin test failed for 1 plugin(s)\n",
            ),
        )
        self.assertEqual(self.told("queue"), "pending=0 processing=0 done=0 dead=0\n")

    def test_off(self) -> None:
        """Those that are off are not tested, and say why when they are named."""
        sink = self.sink()
        self.hook(sink, "--emit-events", "false")
        self.hook(sink, "--disable", name="off")
        self.assertEqual(self.told("plugin", "test"), "(no plugins enabled)\n")
        said = self.failed("plugin", "test", "hook")
        self.assertEqual(
            said,
            "Error: plugin 'hook' has event delivery disabled; "
            "reconfigure with --emit-events=true to test\n",
        )
        said = self.failed("plugin", "test", "off")
        self.assertEqual(said, "Error: plugin 'off' is disabled; enable it before testing\n")
        self.assertEqual(sink.received, [])


class Replaying(ForkedCase):
    """``dbx plugin replay``."""

    def setUp(self) -> None:
        super().setUp()
        self.target = self.sink()
        self.hook(self.target, "--disable")
        self.orders("o-1", "o-2", "o-3")
        for number in range(3):
            self.apply("order", "o-1", "order_paid", "--field", f"n={number}")
        self.dbx("aggregate", "archive", "order", "o-3")
        self.dbx("plugin", "enable", "hook")

    def replayed(self, *options: str) -> tuple[str, list[tuple[str, int]]]:
        """Return what a replay says, and what arrived."""
        self.target.received.clear()
        said = self.told("plugin", "replay", "hook", "order", *options)
        events = [one.document["event"] for one in self.target.received]
        return said, [(one["aggregate_id"], one["version"]) for one in events]

    def test_choices(self) -> None:
        """A type, an aggregate, versions, times; what is archived only if asked for."""
        via = " via plugin http (hook) (payload=all)\n"
        one = [("o-1", version) for version in range(1, 5)]
        self.assertEqual(
            self.replayed(),
            (f"replayed 5 event(s) across 2 aggregate(s) for 'order'{via}", [*one, ("o-2", 1)]),
        )
        self.assertTrue(all("eventdbx-replay" in got.headers for got in self.target.received))
        said, got = self.replayed("--include-archived")
        self.assertEqual((said[:18], len(got)), ("replayed 6 event(s", 6))
        self.assertEqual(
            self.replayed("o-1", "--from", "2", "--to", "3"),
            (f"replayed 2 event(s) for order::o-1{via}", one[1:3]),
        )
        self.assertEqual(
            self.replayed("--to", "2020-01-01T00:00:00Z")[1],
            [],
        )
        self.assertEqual(self.replayed("o-9"), (f"no events replayed for order::o-9{via}", []))
        said = self.told("plugin", "replay", "hook", "item")
        self.assertEqual(said, f"no aggregates found for 'item'{via}")
        self.assertIn(
            "invalid value 'x'", self.misused("plugin", "replay", "hook", "order", "--to", "x")
        )

    def test_mode(self) -> None:
        """Another part of the events than the plugin gets."""
        self.target.received.clear()
        said = self.told("plugin", "replay", "hook", "order", "o-2", "--payload-mode", "state-only")
        self.assertIn("(payload=state-only)", said)
        self.assertEqual([list(got.document) for got in self.target.received], [["state"]])

    def test_failure(self) -> None:
        """The first failure ends it, says why, and leaves the queue alone."""
        before = self.told("queue")
        self.target.status = 500
        self.assertEqual(self.failed("plugin", "replay", "hook", "order"), f"Error: {REFUSED}\n")
        self.assertEqual(self.told("queue"), before)
        ended = self.attempt("plugin", "replay", "hook", "order", "--json")
        found = json.loads(ended.stdout)
        self.assertEqual((ended.status, found["state"], found["delivered"]), (1, "failed", 0))

    def test_not_meant(self) -> None:
        """Plugins that are off or get no events are told apart."""
        self.dbx("plugin", "disable", "hook")
        said = self.failed("plugin", "replay", "hook", "order")
        self.assertEqual(said, "Error: no enabled plugin named 'hook' is configured\n")
        self.hook(self.target, "--emit-events", "false")
        said = self.failed("plugin", "replay", "hook", "order")
        self.assertIn("'hook' is configured with emit_events=false; enable event delivery", said)


class Positions(ForkedCase):
    """Where a plugin is in the log, and moving it."""

    def lines(self, name: str) -> list[str]:
        """Return what a log plugin wrote: the aggregates."""
        path = Path(self.home, ".eventdbx", name)
        return [json.loads(line)["event"]["aggregate_id"] for line in path.read_text().splitlines()]

    def log(self, name: str, *options: str) -> None:
        """Configure a plugin that writes to a file of its name."""
        self.dbx("plugin", "config", "log", "--name", name, "--path", name, *options)

    def test_lag_and_wait(self) -> None:
        """What is there and what is not can be seen, and waited for."""
        self.assertEqual(self.told("plugin", "lag"), "(no plugins enabled)\n")
        self.log("near")
        url = f"http://127.0.0.1:{free_port()}/"
        self.dbx("plugin", "config", "http", "--name", "far", "--endpoint", url)
        self.orders("o-1")
        (near, far) = json.loads(self.told("plugin", "lag", "--json"))
        self.assertEqual((near["lag"], near["position"], near["paused"]), (0, "0-0", None))
        self.assertEqual((far["lag"], far["dead"]), (1, 0))
        (line,) = self.told("plugin", "lag", "near").splitlines()
        self.assertEqual(line[:31], "plugin=near position=0-0 lag=0 ")
        (event,) = json.loads(self.told("events", "--json"))
        number = event["metadata"]["event_id"]
        there = "Plugin 'near' is there\n"
        self.assertEqual(self.told("plugin", "wait", "near"), there)
        self.assertEqual(self.told("plugin", "wait", "near", "--event-id", number), there)
        self.assertEqual(self.told("plugin", "wait", "near", "--position", "0-0"), there)
        said = self.failed("plugin", "wait", "far", "--timeout", "0.1")
        self.assertEqual(said, "Error: plugin 'far' is not there after 0.1 s\n")
        self.assertIn("no event 5", self.failed("plugin", "wait", "near", "--event-id", "5"))
        self.assertIn("not a position", self.failed("plugin", "wait", "near", "--position", "x"))
        self.misused("plugin", "wait", "near", "--position", "0-0", "--event-id", "1")

    def test_seek(self) -> None:
        """It asks; backwards everything is delivered again, forwards nothing."""
        self.log("l")
        self.orders("o-1", "o-2")
        ended = self.attempt("plugin", "seek", "l", "start", stdin="no\n")
        self.assertEqual((ended.status, ended.stdout), (0, "seek cancelled\n"))
        ended = self.attempt("plugin", "seek", "l", "start", stdin="seek\n")
        self.assertEqual(ended.stdout, "Plugin 'l' goes on at the start\n")
        self.assertIn("Type 'seek' to confirm: ", ended.stderr)
        self.dbx("plugin", "wait", "l")
        self.assertEqual(self.lines("l"), ["o-1", "o-2", "o-1", "o-2"])
        said = self.told("plugin", "seek", "l", "0-0", "--yes")
        self.assertEqual(said, "Plugin 'l' goes on after position 0-0\n")
        self.dbx("plugin", "seek", "l", "end", "--yes")
        self.dbx("plugin", "wait", "l")
        self.assertEqual(len(self.lines("l")), 4)
        self.assertIn("neither start, end", self.failed("plugin", "seek", "l", "now", "--yes"))

    def test_rebuild(self) -> None:
        """Everything again; in place, or beside and then in its place."""
        self.log("view")
        self.orders("o-1", "o-2")
        said = self.told("plugin", "rebuild", "view", "--yes")
        self.assertEqual(said, "Plugin 'view' has caught up\n")
        self.assertEqual(self.lines("view"), ["o-1", "o-2", "o-1", "o-2"])
        self.log("new")
        rebuild = ("plugin", "rebuild", "view", "--with", "new", "--yes")
        self.assertEqual(self.told(*rebuild, "--no-switch"), "Plugin 'new' has caught up\n")
        self.assertEqual([one["name"] for one in self.listed()], ["view", "new"])
        said = self.told(*rebuild, "--from", "0-0")
        self.assertEqual(said, "Plugin 'new' took the place of 'view'\n")
        (entry,) = self.listed()
        self.assertEqual((entry["name"], entry["config"]["path"]), ("view", "new"))
        self.orders("o-3")
        self.assertEqual(self.lines("new"), ["o-1", "o-2", "o-2", "o-3"])
        self.assertEqual(len(self.lines("view")), 4)

    def test_rebuild_that_cannot(self) -> None:
        """A rebuild says what is in its way, and switches nothing."""
        self.log("view")
        sink = self.sink(status=500)
        self.hook(sink, name="new")
        self.dbx("plugin", "pause", "new")
        self.orders("o-1")
        rebuild = ("plugin", "rebuild", "view", "--with", "new", "--yes")
        said = self.failed(*rebuild)
        self.assertEqual(said, "Error: plugin 'new' gets no events now; see `dbx plugin list`\n")
        self.dbx("plugin", "resume", "new")
        self.assertIn(REFUSED, self.failed(*rebuild))
        self.dbx("plugin", "set", "new", "--max-attempts", "1")
        self.assertEqual(self.failed(*rebuild), "Error: plugin 'new' gave up on 1 event(s)\n")
        self.assertEqual([one["name"] for one in self.listed()], ["view", "new"])
        ended = self.attempt(*rebuild[:-1], stdin="\n")
        self.assertEqual(ended.stdout, "rebuild cancelled\n")

"""``dbx queue``: what waits, what is dead, and what becomes of it."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.surfaces.forked import ForkedCase

REFUSED = "storage error: http plugin request failed (500 Internal Server Error): {}"
EMPTY = "pending=0 processing=0 done=0 dead=0\n"


class Queue(ForkedCase):
    """A hook that refuses everything at first; one attempt makes an event dead."""

    def setUp(self) -> None:
        super().setUp()
        self.target = self.sink(status=500)
        self.dbx("config", "--plugin-max-attempts", "1")
        self.hook(self.target)

    def queue(self, *options: str) -> dict[str, Any]:
        """Return the queue as a document."""
        found: dict[str, Any] = json.loads(self.told("queue", "--json", *options))
        return found

    def counts(self) -> tuple[int, int, int]:
        """Return how many wait, are done and are dead."""
        found = self.queue()
        return found["pending"], found["done"], found["dead"]

    def arrived(self) -> list[tuple[str, int]]:
        """Return which events the hook was sent since this was last asked."""
        events = [one.document["event"] for one in self.target.received]
        self.target.received.clear()
        return [(one["aggregate_id"], one["version"]) for one in events]

    def test_lines(self) -> None:
        """Counts, then a block for each status that has jobs, each job on a line."""
        self.assertEqual(self.told("queue"), EMPTY)
        self.orders("o-1", "o-2", "o-3")
        lines = self.told("queue").splitlines()
        self.assertEqual(lines[:3], ["pending=0 processing=0 done=0 dead=3", "", "Dead jobs:"])
        for line in lines[3:]:
            self.assertRegex(
                line,
                rf'^  id=\d+ plugin="http \(hook\)" status="dead" attempts=1 '
                rf"next_retry=- last_error={re.escape(REFUSED)}$",
            )
        cut = self.told("queue", "--limit", "1").splitlines()
        self.assertEqual(cut, [*lines[:4], "  … 2 more"])
        self.assertEqual(len(self.queue("--limit", "2")["jobs"]["dead"]), 2)
        self.dbx("plugin", "config", "log", "--name", "quiet", "--path", "quiet")
        self.assertEqual(self.told("queue", "--plugin", "quiet"), EMPTY)
        self.assertEqual(self.told("plugin", "stats", "quiet"), EMPTY)
        self.dbx("plugin", "set", "hook", "--max-attempts", "2")
        self.orders("o-4")
        waiting = self.told("queue").splitlines()
        self.assertEqual(waiting[:3], ["pending=1 processing=0 done=1 dead=3", "", "Pending jobs:"])
        self.assertRegex(
            waiting[3], r" attempts=1 next_retry=\d{4}-\d\d-\d\dT\S+\+00:00 last_error=st"
        )

    def test_show(self) -> None:
        """One job, with what would be sent; the number is that of the event."""
        self.orders("o-1")
        (event,) = json.loads(self.told("events", "--json"))
        number = event["metadata"]["event_id"]
        job = json.loads(self.told("queue", "show", number, "--json"))
        self.assertEqual((str(job["id"]), job["status"]), (number, "dead"))
        self.assertEqual(job["document"]["event"]["metadata"]["event_id"], number)
        text = self.told("queue", "show", number, "--plugin", "hook")
        self.assertIn("\naggregate_type=order\naggregate_id=o-1\nversion=1\n", text)
        self.assertIn(f'\nlast_error={REFUSED}\ndocument={{\n  "event": {{', text)
        self.assertEqual(self.failed("queue", "show", "5"), "Error: no plugin job 5\n")
        said = self.misused("queue", "retry", "--event-id", "x")
        self.assertIn("'x' for '--event-id <EVENT_ID>': invalid digit found in string", said)

    def test_clear(self) -> None:
        """Only with the word; the rest of the aggregates goes on."""
        self.orders("o-1", "o-2")
        self.apply("order", "o-1", "order_paid")
        question = "This will remove 2 dead plugin job(s). Type 'clear' to confirm: "
        for answer in ("", "no\n", "dead\n"):
            said = self.told("queue", "clear", stdin=answer)
            self.assertEqual(said, f"{question}clear cancelled\n")
        self.assertEqual(self.counts(), (1, 0, 2))
        self.target.status = 200
        self.arrived()
        said = self.told("queue", "clear", stdin="  CLEAR \n")
        self.assertEqual(said, f"{question}cleared 2 dead job(s) from the plugin queue\n")
        self.assertEqual(self.arrived(), [("o-1", 2)])
        self.assertEqual(self.counts(), (0, 1, 0))
        self.assertEqual(self.told("queue", "clear"), "no dead plugin jobs to clear\n")

    def test_clear_of_a_disabled_one(self) -> None:
        """Dead jobs of a plugin that is off are cleared; what is behind them waits for it."""
        self.orders("o-1", "o-2")
        self.apply("order", "o-1", "order_paid")
        self.dbx("plugin", "disable", "hook")
        self.target.status = 200
        self.arrived()
        said = self.told("queue", "clear", "--plugin", "hook", "--yes")
        self.assertEqual(said, "cleared 2 dead job(s) from the plugin queue\n")
        self.assertEqual((self.counts(), self.arrived()), ((1, 0, 0), []))
        self.dbx("plugin", "enable", "hook")
        self.dbx("plugin", "wait", "hook", "--position", "0-2")
        self.assertEqual((self.counts(), self.arrived()), ((0, 1, 0), [("o-1", 2)]))

    def test_drop(self) -> None:
        """One job is given up, of one plugin if several have it."""
        other = self.sink(status=500)
        self.hook(other, name="other")
        self.orders("o-1", "o-2")
        first, second = sorted({job["id"] for job in self.queue()["jobs"]["dead"]})
        drop = ("queue", "drop", str(first), "--plugin", "hook")
        self.assertIn("clear cancelled", self.told(*drop))
        self.assertEqual(self.told(*drop, "--yes"), "dropped 1 dead job(s) from the plugin queue\n")
        left = [(job["name"], job["id"]) for job in self.queue()["jobs"]["dead"]]
        self.assertEqual(sorted(left), [("hook", second), ("other", first), ("other", second)])
        self.assertEqual(self.failed(*drop, "--yes"), f"Error: no dead plugin job {first}\n")

    def test_retry(self) -> None:
        """Attempts begin anew; the outcome is waited for, and what is dead still is said."""
        self.assertEqual(self.told("queue", "retry"), "no dead plugin jobs to retry\n")
        self.orders("o-1", "o-2")
        self.apply("order", "o-2", "order_paid")
        again = "retry summary: retried 2 job(s), 2 still dead\n"
        self.assertEqual(self.told("queue", "retry"), again)
        first = self.queue()["jobs"]["dead"][0]
        self.target.status = 200
        self.arrived()
        one = ("queue", "retry", "--event-id", str(first["id"]))
        self.assertEqual(self.told(*one), "retry summary: retried 1 job(s), 0 still dead\n")
        self.assertEqual(self.arrived(), [(first["aggregate_id"], 1)])
        self.assertEqual(self.told(*one), "no dead plugin jobs match the provided id\n")
        later = ("queue", "retry", "--since", "2100-01-01T00:00:00Z")
        self.assertEqual(self.told(*later), "retry summary: retried 0 job(s), 0 still dead\n")
        self.dbx("plugin", "disable", "hook")
        said = "no enabled plugins available to process retries\n"
        self.assertEqual(self.told("queue", "retry"), said)
        self.dbx("plugin", "enable", "hook")
        self.dbx("queue", "retry", "--plugin", "hook", "--no-wait")
        self.assertEqual(self.arrived(), [("o-2", 1), ("o-2", 2)])
        self.assertEqual(self.counts(), (0, 3, 0))

    def test_done(self) -> None:
        """Counters of what was done are reset with the word, older ones only if wanted."""
        self.target.status = 200
        self.orders("o-1", "o-2")
        question = "This will remove 2 done plugin job(s). Type 'clear' to confirm: "
        said = self.told("queue", "clear-done", stdin="done\n")
        self.assertEqual(said, f"{question}clear cancelled\n")
        nothing = "no done plugin jobs match the provided criteria\n"
        self.assertEqual(self.told("queue", "clear-done", "--older-than-hours", "2"), nothing)
        said = self.told("queue", "clear-done", stdin="clear\n")
        self.assertEqual(said, f"{question}cleared 2 done job(s) from the plugin queue\n")
        self.assertEqual(self.told("queue"), EMPTY)
        self.assertEqual(self.told("queue", "clear-done", "--yes"), nothing)

    def test_export(self) -> None:
        """A line for each job with its document, to a new file or to stdout."""
        self.orders("o-1")
        self.dbx("plugin", "set", "hook", "--max-attempts", "9")
        self.orders("o-2")
        ended = self.attempt("queue", "export", "jobs")
        self.assertEqual(ended, (0, "", "wrote 2 job(s)\n"))
        jobs = [json.loads(line) for line in (self.home / "jobs").read_text().splitlines()]
        found = [(job["status"], job["document"]["event"]["aggregate_id"]) for job in jobs]
        self.assertEqual(found, [("dead", "o-1"), ("pending", "o-2")])
        self.assertIn("File exists", self.failed("queue", "export", "jobs"))
        ended = self.attempt("queue", "export", "-", "--status", "dead", "--plugin", "hook")
        self.assertEqual(
            [json.loads(line)["id"] for line in ended.stdout.splitlines()], [jobs[0]["id"]]
        )

    def test_pause(self) -> None:
        """All plugins, or one; nothing that was committed meanwhile is skipped."""
        self.target.status = 200
        self.dbx("plugin", "config", "log", "--name", "quiet", "--path", "quiet")
        said = self.told("queue", "pause")
        self.assertEqual(said, "Plugin 'hook' paused\nPlugin 'quiet' paused\n")
        self.orders("o-1")
        self.assertEqual((self.counts(), self.arrived()), ((2, 0, 0), []))
        self.assertEqual(self.told("queue", "resume", "hook"), "Plugin 'hook' resumed\n")
        self.orders("o-2")
        self.assertEqual(self.arrived(), [("o-1", 1), ("o-2", 1)])
        self.assertEqual(self.counts(), (2, 2, 0))

    def test_unknown_subcommand(self) -> None:
        """A wrong word is wrong usage."""
        self.assertIn("unrecognized subcommand 'frob'", self.misused("queue", "frob"))

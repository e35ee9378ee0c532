"""``dbx merge``: what comes along, what stays, and what a kill leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from eventdbx.errors import StoreLocked
from eventdbx.services.offline import OfflineStore
from eventdbx.services.stores import open_configured
from eventdbx.services.workspace import open_workspace
from eventdbx.storage import eventlog, keys
from eventdbx.storage.records import decode_audit
from eventdbx.storage.sealed import SealedStore
from tests.daemon import CHECKOUT_DBX, ROOT
from tests.surfaces.command_line import CommandLineCase

FIELDS = ("--field", "name=Anna", "--metadata", '{"@subject":"anna@example.org"}')


class MergeCase(CommandLineCase):
    """A home with the domains ``src``, which has a bit of everything, and ``default``."""

    def setUp(self) -> None:
        super().setUp()
        self.create("item", "i-1", "--field", "a=1")
        self.dbx("checkout", "src")
        self.fill()
        self.dbx("checkout", "default")
        self.apply("item", "i-1", "item_kept", "--field", "a=2")

    def fill(self) -> None:
        """Write what is merged."""
        self.dbx("schema", "create", "order", "-e", "order_created,order_paid")
        self.create("order", "o-1", "--field", "total=3")
        self.apply("order", "o-1", "order_paid", "--note", "in cash")
        self.create("order", "o-2")
        self.dbx("aggregate", "archive", "order", "o-2", "--comment", "too late")
        self.snapshot = json.loads(self.dbx("aggregate", "snapshot", "order", "o-1").stdout)
        self.create("person", "p-1", *FIELDS)
        self.apply("person", "p-1", "person_moved", "--field", "street=Elm")
        self.create("person", "p-2", "--field", "name=Otto")
        self.attempt("erase", "aggregate", "person", "p-2", "--reason", "asked", "--yes")

    def merge(self, *options: str) -> dict[str, Any]:
        """Merge, and return the document."""
        ended = self.attempt("merge", "--from", "src", "--json", *options)
        self.assertEqual(ended.status, 0, ended)
        found: dict[str, Any] = ended.document
        return found

    def told(self, domain: str, *command: str) -> Any:
        """Return the document of a command in a domain."""
        return self.dbx(*command, "--json", "--domain", domain).document

    def verify(self, domain: str) -> None:
        """Fail unless every hash of a domain is right."""
        self.assertEqual(self.attempt("verify", "--domain", domain).status, 0)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return how many aggregates and events each domain has."""
        found = self.dbx("list", "--json").document
        return {one["domain"]: (one["total_aggregates"], one["events"]) for one in found}

    def opened(self, domain: str, *, read_only: bool = False) -> SealedStore:
        """Open the store of a domain."""
        place = open_workspace(environ=os.environ)
        path = place.workspace.store_path(domain)
        return open_configured(path, place.config, read_only=read_only)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / ".eventdbx"


class Verbatim(MergeCase):
    """What was merged is what it was."""

    def test_events_and_aggregates(self) -> None:
        """Events have their ids, times, authors and hashes; aggregates their roots and states."""
        done = self.merge()
        self.assertEqual((done["aggregates"], done["events"], done["archived"]), (4, 7, 1))
        for names in (("order", "o-1"), ("order", "o-2"), ("person", "p-1"), ("person", "p-2")):
            for command in (("events",), ("aggregate", "get")):
                here = self.told("default", *command, *names)
                self.assertEqual(here, self.told("src", *command, *names), names)
        listed = ("aggregate", "list", "--include-archived", "--sort", "updated_at")
        before = self.told("src", *listed)
        after = [one for one in self.told("default", *listed) if one["aggregate_type"] != "item"]
        self.assertEqual(after, before)
        self.verify("default")
        self.verify("src")
        self.assertEqual(self.counts(), {"default": (5, 9), "src": (4, 7)})

    def test_what_hangs_on_aggregates(self) -> None:
        """Snapshots come along, and notes of archives."""
        self.assertEqual(self.merge()["snapshots"], 1)
        found = self.told("default", "snapshots", "get", str(self.snapshot["snapshot_id"]))
        self.assertEqual(found["state"], self.snapshot["state"])
        store = self.opened("default", read_only=True)
        self.addCleanup(store.close)
        name = keys.name("order", "o-2")
        head = eventlog.load_head(store.view(), name)
        assert head is not None
        self.assertEqual((head.archived, head.archive_comment), (True, "too late"))
        prefix = keys.ARCHIVE_AUDIT + name
        records = [record for _key, record in store.view().scan(prefix, keys.after(prefix))]
        self.assertEqual([decode_audit(one)[::2] for one in records], [(True, "too late")])

    def test_events_are_found_by_their_ids(self) -> None:
        """Also where the ids of one domain lie between those of the other."""
        self.merge()
        for names in (("order", "o-1"), ("item", "i-1"), ("person", "p-1")):
            for event in self.told("default", "events", *names):
                found = self.dbx("events", event["metadata"]["event_id"], "--json").document
                self.assertEqual(found["hash"], event["hash"])

    def test_life_goes_on(self) -> None:
        """Merged aggregates take events, under their schemas, and proofs of them hold."""
        self.dbx("proof", "aggregate", "item", "i-1")
        self.merge()
        self.verify("default")
        self.apply("order", "o-1", "order_paid")
        self.assertIn("order_lost", self.failed("aggregate", "apply", "order", "o-1", "order_lost"))
        self.apply("item", "i-1", "item_kept")
        for names in (("order", "o-1"), ("item", "i-1"), ("person", "p-1")):
            self.assertEqual(self.attempt("proof", "aggregate", *names).status, 0)
        self.verify("default")

    def test_twice_from_two_domains(self) -> None:
        """A domain that was merged into can be merged, and be merged into again."""
        self.merge("--into", "all")
        self.dbx("merge", "--from", "default", "--into", "all", "--quiet")
        self.dbx("merge", "--from", "all", "--into", "more", "--quiet")
        self.verify("all")
        self.verify("more")
        for event in self.told("src", "events", "order", "o-1"):
            found = self.told("more", "events", event["metadata"]["event_id"])
            self.assertEqual(found["hash"], event["hash"])


class Erased(MergeCase):
    """Data keys and what is erased."""

    def test_what_is_erased_stays_so(self) -> None:
        """The content is in no file of the target, and verification knows why."""
        self.merge()
        event = self.told("default", "events", "person", "p-2")[0]
        self.assertIsNone(event["payload"])
        self.verify("default")

    def test_subjects(self) -> None:
        """Somebody is erased where the events are now, and nothing else is."""
        self.merge()
        self.attempt("erase", "subject", "anna@example.org", "--reason", "asked", "--yes")
        state = self.told("default", "aggregate", "get", "person", "p-1")["state"]
        self.assertEqual(state, {"street": "Elm"})
        self.assertEqual(
            self.told("src", "aggregate", "get", "person", "p-1")["state"]["name"], "Anna"
        )
        self.verify("default")

    def test_sealed_with_the_keys_of_the_target(self) -> None:
        """The target opens without the source's keys; nothing of it is readable in the files."""
        self.merge("--into", "other")
        self.dbx("checkout", "--delete", "src", "--yes")
        self.assertEqual(
            self.told("other", "events", "order", "o-1")[1]["metadata"]["note"], "in cash"
        )
        for path in (self.data / "domains" / "other" / "event_store").rglob("*"):
            if path.is_file():
                self.assertNotIn(b"in cash", path.read_bytes(), path)


class Refused(MergeCase):
    """Nothing is changed unless everything can be."""

    def state(self) -> Any:
        """Return what must not change."""
        folders = sorted(str(one) for one in self.data.iterdir() if one.is_dir())
        return self.counts(), folders, self.told("default", "schema", "list")

    def test_an_aggregate_in_both(self) -> None:
        """The first by name is named, however far behind it is in the log."""
        self.create("person", "p-1")
        self.create("person", "p-2")
        before = self.state()
        self.assertEqual(
            self.failed("merge", "--from", "src"),
            "Error: aggregate 'person::p-1' already exists in target domain; aborting merge\n",
        )
        self.assertEqual(self.state(), before)

    def test_a_schema_that_differs(self) -> None:
        """It is refused before anything; with the option it is replaced."""
        self.dbx("schema", "create", "order", "-e", "other")
        before = self.state()
        self.assertIn("--overwrite-schemas", self.failed("merge", "--from", "src"))
        self.assertEqual(self.state(), before)
        done = self.merge("--overwrite-schemas")
        self.assertEqual((done["schemas_added"], done["schemas_replaced"]), (0, 1))

    def test_damage_in_the_source(self) -> None:
        """An event that is missing ends the merge, and the target is as it was."""
        store = self.opened("src")
        store.write({keys.event(keys.name("person", "p-1"), 2): None}, sync=True)
        store.close()
        before = self.state()
        said = self.failed("merge", "--from", "src")
        self.assertIn("storage error", said)
        self.assertIn("of the log is missing", said)
        self.assertEqual(self.state(), before)
        self.failed("merge", "--from", "src", "--into", "fresh")
        self.assertFalse((self.data / "domains" / "fresh").exists())

    def test_nothing_there(self) -> None:
        """An unknown source is refused, and nothing is made; so is the same domain twice."""
        before = self.state()
        said = self.failed("merge", "--from", "nope", "--into", "never")
        self.assertEqual(said, "Error: domain 'nope' does not exist\n")
        self.assertIn("must be different", self.failed("merge", "--from", "src", "--into", "SRC"))
        self.assertEqual(self.state(), before)

    def test_staged_events_are_told_of(self) -> None:
        """They stay where they are."""
        options = ("--event", "order_created", "--stage", "--domain", "src")
        self.attempt("aggregate", "create", "order", "o-9", *options)
        ended = self.attempt("merge", "--from", "src")
        self.assertIn("1 staged event(s) of 'src' were not merged", ended.stderr)


class Interrupted(MergeCase):
    """A merge that is killed anywhere counts whole or not at all, and may be asked for again."""

    def test_before_its_end(self) -> None:
        """What it has left is in nobody's way."""
        left = self.data / ".merging" / "event_store"
        left.mkdir(parents=True)
        (left / "CURRENT").write_text("half")
        self.assertEqual(self.counts()["default"], (1, 2))
        self.assertEqual(self.merge()["events"], 7)
        self.assertFalse(left.exists())

    def test_what_it_left_is_not_there_when_something_is_erased(self) -> None:
        """A merge that was killed leaves a copy of the store and its keys: whoever works on the
        store next removes it, so that nothing outlives its erasure there."""
        left = self.data / ".merging"
        left.mkdir()
        shutil.copytree(self.data / "event_store", left / "event_store")
        shutil.copy(self.data / "data_keys", left / "data_keys")
        with open(left / "data_keys", "rb") as kept:
            self.attempt("erase", "aggregate", "item", "i-1", "--reason", "asked", "--yes")
            self.assertFalse(left.exists())
            self.assertEqual(kept.read().strip(b"\0"), b"")

    def test_nothing_is_left_of_the_keys_of_before(self) -> None:
        """The file that another one took the place of is empty, not only without a name."""
        with open(self.data / "data_keys", "rb") as kept:
            self.merge()
            self.assertEqual(kept.read().strip(b"\0"), b"")

    def test_nobody_writes_while_it_ends(self) -> None:
        """A command that looked for a server before the merge began, and opens the store when
        that has let go of it, is refused: what it wrote would be lost."""
        place = open_workspace(environ=os.environ)
        program = (
            "import sys, time; from pathlib import Path\n"
            "from eventdbx.services.pidfile import PidFile\n"
            "PidFile(Path(sys.argv[1]), doing='dbx merge').acquire(now_ns=time.time_ns())\n"
            "print(flush=True); sys.stdin.read()"
        )
        merging = subprocess.Popen(
            [sys.executable, "-c", program, str(place.workspace.pid_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert merging.stdout is not None
        merging.stdout.readline()
        try:
            with self.assertRaises(StoreLocked):
                OfflineStore(place, "default")
            # Nobody takes it for a server, to ask it or to end it.
            said = f"`dbx merge` is at work on the data (pid {merging.pid})"
            for words in (
                ("aggregate", "list"), ("stop",), ("start",), ("destroy", "--yes"),
                ("checkout", "--delete", "src", "--yes"), ("keys", "rotate"),
            ):  # fmt: skip
                self.assertIn(said, self.failed(*words), words)
            self.assertIn("is not running", self.dbx("status").stdout)
            self.assertIsNone(merging.poll())
        finally:
            merging.communicate()
        OfflineStore(place, "default").close()

    def test_between_its_end_and_the_answer(self) -> None:
        """Whoever opens the domain finds all of it; who asks again is told what came of it."""
        for moved in (False, True):
            before = self.home / "before"
            shutil.copytree(self.data, before)
            done = self.merge()
            merged = before / ".merged"
            merged.mkdir()
            for name in ("event_store", "data_keys", "schemas.json"):
                shutil.move(self.data / name, merged / name)
            state = ["src", 3, 1, 7, int(self.newest())]
            counts = [4, 7, 1, 1, 0, 1, 0, 0]
            (merged / ".merge.json").write_text(json.dumps([state, counts]))
            if moved:  # The old store is out of the way, the new one not yet in its place.
                (before / "event_store").rename(before / ".before-merge")
            shutil.rmtree(self.data)
            before.rename(self.data)
            self.assertEqual(self.counts()["default"], (5, 9))
            self.verify("default")
            self.assertEqual(self.merge(), done)
            self.assertIn("already exists", self.failed("merge", "--from", "src"))
            self.assertEqual([one for one in os.listdir(self.data) if "merge" in one], [])
            self.dbx("destroy", "--yes")
            self.doCleanups()
            self.setUp()

    def newest(self) -> str:
        """Return the id of the newest event of the source."""
        found: list[dict[str, Any]] = self.told("src", "events")
        return str(max(int(one["metadata"]["event_id"]) for one in found))

    def test_killed_at_any_time(self) -> None:
        """The target has nothing of it or all; the last attempt ends it."""
        lines = "".join(
            json.dumps(
                {"aggregate_type": "row", "aggregate_id": f"r-{at}", "event_type": "row_made",
                 "payload": {"n": at}}
            ) + "\n"
            for at in range(2_000)
        )  # fmt: skip
        (self.home / "rows.ndjson").write_text(lines)
        self.attempt("import", str(self.home / "rows.ndjson"), "--domain", "src", "--quiet")
        whole = self.counts()["src"][1] + 2
        self.assertGreater(whole, 2_000)
        seen: set[int] = set()
        for attempt in range(8):
            killed = self.begin_and_kill(0.15 + 0.12 * attempt)
            events = self.counts()["default"][1]
            self.assertIn(events, (2, whole))
            seen.add(events)
            if not killed or events == whole:
                break
        self.attempt("merge", "--from", "src")
        self.assertEqual(self.counts()["default"][1], whole)
        self.verify("default")
        self.assertFalse((self.data / ".merging").exists())

    def begin_and_kill(self, seconds: float) -> bool:
        """Begin the merge in a process of its own; return whether it had to be killed."""
        merging = subprocess.Popen(
            [*CHECKOUT_DBX, "merge", "--from", "src"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            merging.wait(seconds)
        except subprocess.TimeoutExpired:
            merging.send_signal(signal.SIGKILL)
            merging.wait()
            return True
        return False

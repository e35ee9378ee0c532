"""Staging on the command line without a server: texts that scripts know, and the file of before."""

from __future__ import annotations

import json
from typing import Any

from eventdbx.services.stagedfile import TAKEN_OVER
from tests.surfaces.command_line import CommandLineCase

KNOWN = ("aggregate", "aggregate_id", "event", "event_raw", "payload", "metadata", "issued_by",
         "note")  # fmt: skip
STAGED = "event staged for later commit\n"
PATCH = '[{"op":"replace","path":"/total","value":14}]'


class StagingOffline(CommandLineCase):
    """One user without a server."""

    def stage(self, *words: str) -> None:
        """Run a write that is staged."""
        self.assertEqual(self.dbx("aggregate", *words, "--stage").stdout, STAGED)

    def staged(self) -> list[dict[str, Any]]:
        """Return everything about what is staged."""
        listed = self.dbx("aggregate", "stage", "list", "--json").document
        assert isinstance(listed, list)
        return listed

    def texts(self) -> list[Any]:
        """Return the documents of ``aggregate list --stage``, which stand one behind another."""
        text, found = self.dbx("aggregate", "list", "--stage").stdout, []
        while text:
            document, end = json.JSONDecoder().raw_decode(text)
            found.append(document)
            text = text[end:].lstrip()
        return found

    def version(self, identifier: str) -> int:
        """Return the version of an order."""
        document = self.dbx("aggregate", "get", "order", identifier).document
        return int(document["version"])

    def test_stage_list_commit(self) -> None:
        """Creation, application and patch are kept, shown as ever, and written together."""
        self.stage("create", "order", "o-1", "--event", "order_created", "--field", "total:=12")
        self.stage("apply", "order", "o-1", "order_paid", "--field", "by=card", "--note", "n",
                   "--metadata", '{"@source":"web"}')  # fmt: skip
        self.stage("patch", "order", "o-1", "order_changed", "--patch", PATCH)
        self.assertIn("not found", self.failed("aggregate", "get", "order", "o-1"))
        listed = self.texts()
        self.assertEqual([set(one) for one in listed], [set(KNOWN)] * 3)
        self.assertEqual([one["payload"] for one in listed],
                         [{"total": 12}, {"by": "card"}, {"total": 14}])  # fmt: skip
        self.assertEqual((listed[1]["metadata"], listed[1]["note"]), ({"@source": "web"}, "n"))
        self.assertEqual(self.dbx("aggregate", "list", "item", "--stage").stdout,
                         "no staged events\n")  # fmt: skip
        done = self.dbx("aggregate", "commit")
        self.assertTrue(done.stdout.endswith("}\ncommitted 3 event(s)\n"))
        self.assertEqual(self.version("o-1"), 3)
        self.assertEqual(self.dbx("aggregate", "commit").stdout, "no staged events to commit\n")
        self.assertEqual(self.dbx("aggregate", "list", "--stage").stdout, "no staged events\n")
        self.assertIn("verified 1 aggregate(s) with 3 event(s)", self.dbx("verify").stdout)

    def test_nothing_makes_no_store(self) -> None:
        """Who asks in a new home for what is staged leaves nothing behind."""
        for words in (("commit",), ("list", "--stage"), ("stage", "list"),
                      ("stage", "drop", "--all", "--yes")):  # fmt: skip
            self.dbx("aggregate", *words)
        self.assertFalse(self.store.exists())

    def test_documents(self) -> None:
        """With ``--json`` and ``-o`` every command has one document."""
        staged = self.dbx(
            "aggregate", "create", "order", "o-1", "--event", "made", "--stage", "--json"
        ).document
        self.assertEqual((staged["kind"], staged["id"].isdecimal()), ("create", True))
        self.assertEqual(self.staged(), [staged])
        shown = self.dbx("aggregate", "stage", "show", staged["id"]).document
        self.assertEqual(shown, staged)
        listed = self.dbx("-o", "json", "aggregate", "list", "--stage").document
        self.assertEqual(listed, [staged])
        table = self.dbx("-o", "csv", "aggregate", "list", "--stage").stdout.splitlines()
        self.assertEqual(table[0], "id,aggregate,aggregate_id,event,kind,staged_at,note")
        trial = self.dbx("aggregate", "commit", "--dry-run", "--json").document
        self.assertEqual((trial["committed"], trial["items"]), (0, [staged]))
        self.assertIn(
            "would commit 1 event(s)", self.dbx("aggregate", "commit", "--dry-run").stdout
        )
        done = self.dbx("aggregate", "commit", "--json").document
        self.assertEqual((done["committed"], len(done["events"])), (1, 1))
        nothing = self.dbx("aggregate", "commit", "--json").document
        self.assertEqual((nothing["committed"], nothing["events"]), (0, []))

    def test_drop(self) -> None:
        for number in range(3):
            self.stage("create", "order", f"o-{number}", "--event", "made")
        first, second, third = (one["id"] for one in self.staged())
        self.assertIn(f"id={second} aggregate_type=order aggregate_id=o-1",
                      self.dbx("aggregate", "stage", "list").stdout)  # fmt: skip
        self.assertEqual(self.dbx("aggregate", "stage", "drop", second).stdout,
                         "dropped 1 staged event(s)\n")  # fmt: skip
        said = self.failed("aggregate", "stage", "drop", first, second)
        self.assertIn(f"no staged event has the id {second}", said)
        self.assertEqual([one["id"] for one in self.staged()], [first, third])
        ended = self.attempt("aggregate", "stage", "drop", "--all")
        self.assertEqual(ended.status, 0)
        self.assertIn("not confirmed", ended.stdout)
        self.assertEqual(len(self.staged()), 2)
        confirmed = self.attempt("aggregate", "stage", "drop", "--all", stdin="drop\n")
        self.assertEqual(confirmed.stdout, "dropped 2 staged event(s)\n")
        self.assertEqual(self.staged(), [])
        for words in ((), ("--all", first), ("x",), ("0",)):
            self.failed("aggregate", "stage", "drop", *words)

    def test_a_refused_commit(self) -> None:
        """It names the entry and what to do, and everything is still there."""
        self.create("order", "o-1")
        self.stage("create", "order", "o-2", "--event", "made")
        self.stage("apply", "order", "o-1", "paid")
        self.dbx("aggregate", "archive", "order", "o-1")
        (_first, second) = self.staged()
        said = self.failed("aggregate", "commit")
        where = f"staged event 2 (id {second['id']}, order::o-1, paid)"
        self.assertIn(f"{where}: aggregate is archived", said)
        document = json.loads(self.failed("-o", "json", "aggregate", "commit"))["error"]
        self.assertEqual(document["code"], "aggregate_archived")
        self.assertIn("aggregate stage drop ID", document["hint"])
        self.failed("aggregate", "commit", "--dry-run")
        self.assertEqual(len(self.staged()), 2)
        self.assertIn("not found", self.failed("aggregate", "get", "order", "o-2"))

    def test_what_cannot_be_staged(self) -> None:
        """It is said as for a write at once, and nothing is kept."""
        self.create("order", "o-1")
        apply = ("aggregate", "apply", "order", "o-1", "paid", "--stage")
        for words, said in (
            ((*apply, "--publish", "hook"), "--publish cannot be combined with --stage"),
            ((*apply, "--receipt", "r"), "--receipt cannot be combined with --stage"),
            ((*apply, "--expect-version", "7"), "expected version 7, found 1"),
            (("aggregate", "apply", "order", "o-9", "paid", "--stage"),
             "Error: aggregate order::o-9 does not exist"),
            (("aggregate", "create", "order", "o-1", "--event", "made", "--stage"),
             "Error: aggregate order::o-1 already exists"),
            (("aggregate", "patch", "order", "o-1", "paid", "--patch", "[]", "--stage"),
             "patch must modify at least one path"),
        ):  # fmt: skip
            self.assertIn(said, self.failed(*words))
        self.assertEqual(self.staged(), [])

    def test_snapshots_are_told(self) -> None:
        self.dbx("schema", "create", "order", "--events", "made,paid", "--snapshot-threshold", "2")
        self.stage("create", "order", "o-1", "--event", "made")
        self.stage("apply", "order", "o-1", "paid")
        done = self.attempt("aggregate", "commit")
        self.assertIn("auto snapshot created: aggregate=order aggregate_id=o-1 version=2",
                      done.stderr)  # fmt: skip
        self.assertNotIn("auto_snapshot", done.stdout)

    def test_nothing_readable_on_disk(self) -> None:
        """The data key of a new home seals what is staged."""
        self.stage("create", "order", "o-1", "--event", "made", "--field", "who=secret-7714",
                   "--note", "secret-7714", "--metadata", '{"@trace":"secret-7714"}')  # fmt: skip
        files = [path for path in self.home.rglob("*") if path.is_file()]
        self.assertEqual([path for path in files if b"secret-7714" in path.read_bytes()], [])


class FileOfBefore(CommandLineCase):
    """What an older program has staged."""

    def setUp(self) -> None:
        super().setUp()
        self.create("order", "o-1", "--field", "a=1")
        self.file = self.store.parent / "staged_events.json"
        entry = {
            "aggregate": "order",
            "aggregate_id": "o-1",
            "event": "order_paid",
            "payload": {"a": "2"},
            "metadata": None,
            "issued_by": None,
            "note": None,
        }
        other = {
            "aggregate": "order",
            "aggregate_id": "o-1",
            "event": "order_noted",
            "event_raw": "order.noted",
            "payload": {"a": "3"},
            "metadata": {"@x": 1},
            "issued_by": {"group": "ops", "user": "ann"},
            "note": "later",
        }
        self.text = json.dumps([entry, other])
        self.file.write_text(self.text)

    def listed(self) -> list[Any]:
        """Return what is staged."""
        found = self.dbx("aggregate", "stage", "list", "--json").document
        assert isinstance(found, list)
        return found

    def test_taken_over_once(self) -> None:
        """Its events are staged in their order, and nothing readable is left of the file."""
        listed = self.listed()
        self.assertEqual([one["event"] for one in listed], ["order_paid", "order_noted"])
        self.assertFalse(self.file.exists())
        self.assertEqual([path.name for path in self.file.parent.glob("staged_events*")], [])
        self.assertEqual(self.listed(), listed)
        events = self.dbx("aggregate", "commit", "--json").document["events"]
        self.assertEqual([one["payload"] for one in events], [{"a": "2"}, {"a": "3"}])
        issued = [one["metadata"]["issued_by"] for one in events]
        self.assertEqual(issued, [None, {"group": "ops", "user": "ann"}])
        self.assertEqual((events[1]["extensions"], events[1]["metadata"]["note"]),
                         ({"@x": 1}, "later"))  # fmt: skip
        self.assertEqual(self.listed(), [])

    def test_the_same_again(self) -> None:
        """An equal file that comes later is one of its own."""
        self.dbx("aggregate", "commit")
        self.file.write_text(self.text)
        self.assertEqual(len(self.listed()), 2)

    def test_commit_takes_over(self) -> None:
        self.assertIn("committed 2 event(s)", self.dbx("aggregate", "commit").stdout)

    def test_what_cannot_be_read_stays(self) -> None:
        """A file that is none is left alone, and so is every command."""
        for text in ("{", "{}", '[{"aggregate":"order"}]', '[{"aggregate":"X","aggregate_id":"i",'
                     '"event":"e","payload":{}}]', "5"):  # fmt: skip
            self.file.write_text(text)
            self.assertEqual(self.attempt("aggregate", "stage", "list", "--json").stdout, "[]\n")
            self.assertEqual(self.file.read_text(), text)

    def test_without_encryption(self) -> None:
        """Where nothing is sealed the file stays under another name, until something is erased:
        it has a copy of what."""
        config = self.store.parent / "config.toml"
        self.dbx("destroy", "--yes")
        self.dbx("config")
        text = config.read_text()
        self.assertIn("encryption = true", text)
        config.write_text(text.replace("encryption = true", "encryption = false"))
        self.create("order", "o-1")
        self.file.write_text(self.text)
        self.assertEqual(len(self.listed()), 2)
        self.assertEqual((self.file.parent / TAKEN_OVER).read_text(), self.text)
        self.assertFalse(self.file.exists())
        self.attempt("erase", "aggregate", "order", "o-1", "--reason", "asked", "--yes")
        self.assertFalse((self.file.parent / TAKEN_OVER).exists())

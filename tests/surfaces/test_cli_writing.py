"""Commands that write: what they take, what they print, and what they leave behind."""

from __future__ import annotations

from pathlib import Path

from tests.surfaces.command_line import CommandLineCase


class AutomaticSnapshots(CommandLineCase):
    """What is said of snapshots that the schema asks for."""

    def test_notes(self) -> None:
        """Each that was taken is told of on stderr; the document on stdout is none the longer."""
        self.dbx("schema", "create", "order", "--events", "order_created,order_paid",
                 "--snapshot-threshold", "2")  # fmt: skip
        said = self.create("order", "o-1", "--json")
        self.assertNotIn("auto_snapshot", said.document)
        second = self.attempt("aggregate", "apply", "order", "o-1", "order_paid")
        self.assertEqual(
            second.stderr, "auto snapshot created: aggregate=order aggregate_id=o-1 version=2\n"
        )
        self.assertNotIn("auto_snapshot", second.document)
        listed = self.dbx("snapshots", "list", "order", "o-1", "--json").document
        self.assertEqual([one["version"] for one in listed], [2])


class Creating(CommandLineCase):
    """``aggregate create``."""

    def test_line(self) -> None:
        """A creation prints one line; the next list shows the aggregate."""
        self.assertEqual(
            self.create("patient", "p-001", "--field", "name=Jane Doe").stdout,
            "aggregate_type=patient aggregate_id=p-001 version=1 archived=false\n",
        )
        self.assertRegex(
            self.dbx("aggregate", "list").stdout,
            r"^aggregate_type=patient aggregate_id=p-001 version=1 merkle_root=[0-9a-f]{64}\n$",
        )

    def test_json(self) -> None:
        """With ``--json`` the state comes back as texts, extension keys beside it."""
        document = self.create(
            "order", "o-1", "--json", "--payload", '{"open":true,"none":null,"tags":[1,"x"]}',
            "--metadata", '{"@source":"web"}', "--note", "first",
        ).document  # fmt: skip
        self.assertEqual(
            list(document),
            ["aggregate_type", "aggregate_id", "version", "state", "@source", "merkle_root",
             "created_at", "updated_at"],
        )  # fmt: skip
        self.assertEqual(document["state"], {"none": "", "open": "true", "tags": '[1,"x"]'})

    def test_fields(self) -> None:
        """Fields are texts unless written with ``:=``; the last of a name wins."""
        self.create("order", "o-1", "--field", " a = b = c ", "--field", "empty=",
                    "--field", "n:=5", "--field", "n:=6.50", "--field", "t=5")  # fmt: skip
        selected = self.dbx("aggregate", "select", "order", "o-1", "a", "empty", "n", "t")
        self.assertEqual(
            selected.document["selection"], {"a": "b = c", "empty": "", "n": 6.5, "t": "5"}
        )

    def test_files(self) -> None:
        """JSON options read a file with ``@`` and stdin with ``-``."""
        path = Path(self.mktemp())
        path.write_text('{"city":"Bonn"}', encoding="utf-8")
        self.create("order", "o-1", "--payload", f"@{path}")
        self.dbx("aggregate", "apply", "order", "o-1", "order_paid", "--payload", "-",
                 stdin='{"paid":true}')  # fmt: skip
        state = self.dbx("aggregate", "get", "order", "o-1").document["state"]
        self.assertEqual(state, {"city": "Bonn", "paid": "true"})

    def test_raw_type(self) -> None:
        """Dots in an event type become underscores and are not shown."""
        self.dbx("aggregate", "create", "order", "o-1", "--event", "order.created")
        event = self.dbx("events", "--json").document[0]
        self.assertEqual(event["event_type"], "order_created")
        self.assertNotIn("event_type_raw", event)


class Applying(CommandLineCase):
    """``aggregate apply`` and ``aggregate patch``."""

    def test_event(self) -> None:
        """The event comes back with sorted keys, its extensions among the metadata."""
        self.create("order", "o-1")
        event = self.apply(
            "order", "o-1", "order_paid", "--payload", '{"b":1,"a":{"z":1,"y":2}}',
            "--metadata", '{"@by":"web"}', "--note", "by phone",
        ).document  # fmt: skip
        self.assertEqual(list(event), sorted(event))
        self.assertEqual(event["payload"], {"a": {"y": 2, "z": 1}, "b": 1})
        self.assertEqual(
            sorted(event["metadata"]), ["@by", "created_at", "event_id", "issued_by", "note"]
        )
        self.assertIsNone(event["metadata"]["issued_by"])
        self.assertEqual(event["version"], 2)

    def test_numbers(self) -> None:
        """Numbers keep their canonical form through storing and printing."""
        self.create("order", "o-1")
        payload = '{"a":1e21,"b":12345678901234567890,"c":-0.0,"d":1.0,"e":"1e+5"}'
        printed = self.apply("order", "o-1", "order_paid", "--payload", payload).stdout
        for line in ('"a": 1e21', '"b": 12345678901234567890', '"c": -0.0', '"d": 1.0', '"1e+5"'):
            self.assertIn(line, printed)

    def test_patch(self) -> None:
        """A patch becomes the new values of what it touched."""
        self.create("order", "o-1", "--payload", '{"total":12,"ship":{"city":"Bonn"},"zip":"007"}')
        patch = (
            '[{"op":"replace","path":"/total","value":13},'
            '{"op":"add","path":"/ship/zip","value":"53111"}]'
        )
        event = self.dbx(
            "aggregate", "patch", "order", "o-1", "order_changed", "--patch", patch
        ).document
        self.assertEqual(event["payload"], {"ship": {"city": "Bonn", "zip": "53111"}, "total": 13})

    def test_expected_version(self) -> None:
        """``--expect-version`` lets one of two writers win and names both versions."""
        self.create("order", "o-1", "--expect-version", "0")
        self.apply("order", "o-1", "order_paid", "--expect-version", "1")
        text = self.failed(
            "aggregate", "apply", "order", "o-1", "order_paid", "--expect-version", "1"
        )
        self.assertEqual(text, "Error: schema violation: expected version 1, found 2\n")

    def test_idempotency(self) -> None:
        """A retry with the same key returns the first event; other content is refused."""
        self.create("order", "o-1")
        again = ("order", "o-1", "order_paid", "--idempotency-key", "k-1", "--field")
        first = self.apply(*again, "a=1").document
        self.assertEqual(self.apply(*again, "a=1").document, first)
        text = self.failed("aggregate", "apply", *again, "a=2")
        self.assertIn("idempotency key 'k-1' was already used with different content", text)
        self.assertEqual(len(self.dbx("events", "--json").document), 2)

    def test_terse(self) -> None:
        """With ``verbose_responses = false`` writes answer just Ok, even to ``--json``."""
        self.attempt("config", "--verbose-responses", "false")
        outputs = {
            self.create("order", "o-1", "--json").stdout,
            self.apply("order", "o-1", "order_paid").stdout,
            self.dbx("aggregate", "archive", "order", "o-1", "--json").stdout,
            self.dbx("aggregate", "restore", "order", "o-1").stdout,
        }
        self.assertEqual(outputs, {"Ok\n"})


class Archiving(CommandLineCase):
    """``archive``, ``restore``, ``remove`` and snapshots."""

    def test_there_and_back(self) -> None:
        """An archived aggregate is read but not written; restoring it lifts that."""
        self.create("order", "o-1", "--field", "a=1")
        self.assertEqual(
            self.dbx("aggregate", "archive", "order", "o-1", "--comment", "year end").stdout,
            "aggregate_type=order aggregate_id=o-1 archived=true comment=year end\n",
        )
        self.assertEqual(self.dbx("aggregate", "list").stdout, "")
        for scope in ("--include-archived", "--archived-only", "--filter=archived = true"):
            self.assertIn(" archived=true\n", self.dbx("aggregate", "list", scope).stdout)
        self.assertTrue(self.dbx("aggregate", "get", "order", "o-1").document["archived"])
        self.assertEqual(
            self.failed("aggregate", "apply", "order", "o-1", "order_paid"),
            "Error: aggregate is archived and cannot accept new events\n",
        )
        document = self.dbx("aggregate", "restore", "order", "o-1", "--json").document
        self.assertEqual((document["archived"], document["comment"]), (False, None))
        self.apply("order", "o-1", "order_paid")

    def test_remove(self) -> None:
        """History is not removed."""
        self.create("order", "o-1")
        self.assertEqual(
            self.failed("aggregate", "remove", "order", "o-1"),
            "Error: storage error: aggregate order:o-1 cannot be removed while events exist\n",
        )

    def test_snapshots(self) -> None:
        """A snapshot keeps the present state under an id, in both spellings of the command."""
        self.create("order", "o-1", "--field", "a=1")
        first = self.dbx("snapshots", "create", "order", "o-1").document
        self.apply("order", "o-1", "order_paid", "--field", "a=2")
        second = self.dbx("aggregate", "snapshot", "order", "o-1", "--comment", "audit").document
        self.assertEqual((first["version"], first["state"]), (1, {"a": "1"}))
        self.assertEqual((second["version"], second["comment"]), (2, "audit"))
        self.assertEqual(self.dbx("snapshots", "list", "--json").document, [first, second])
        self.assertEqual(
            self.dbx("snapshots", "list", "order", "--version", "2", "--json").document, [second]
        )
        lines = self.dbx("snapshots", "get", second["snapshot_id"]).stdout.splitlines()
        self.assertTrue(lines[0].startswith(f"snapshot_id={second['snapshot_id']} aggregate_type="))
        self.assertTrue(lines[0].endswith('+00:00 comment="audit"'))
        self.assertEqual(lines[1:3], ["state={", '  "a": "2"'])
        self.assertEqual(lines[-1], f"merkle_root={second['merkle_root']}")
        self.assertEqual(self.dbx("snapshots", "list", "none").stdout, "no snapshots found\n")

"""``dbx aggregate migrate`` and the cascade on the command line."""

from __future__ import annotations

from tests.surfaces.command_line import CommandLineCase


class Migrating(CommandLineCase):
    """Values from before a column held references."""

    def setUp(self) -> None:
        super().setUp()
        self.dbx("schema", "create", "farm", "--events", "farm_created,farm_moved")
        self.create("person", "p-1")
        for number, fields in enumerate(
            (
                ("--field", "owner=person#p-1"),
                ("--field", "owner=default#person#p-1"),
                ("--field", "name=without"),
                ("--field", "owner=nobody"),
                ("--field", "owner=person#p-9"),
                ("--payload", '{"owner":"#f-1","site":{"plot":"#f-2","zip":"1"}}'),
            )
        ):
            self.create("farm", f"f-{number}", *fields)

    def declare(self) -> None:
        """Make the columns hold references."""
        self.dbx("schema", "field", "farm", "owner", "--type", "reference")
        plot = '{"plot":{"type":"text","format":"reference","reference":{"integrity":"weak"}}}'
        self.dbx("schema", "field", "farm", "site", "--type", "object", "--properties", plot)

    def migrate(self, *options: str) -> tuple[int, str, str]:
        """Run the command."""
        fields = ("--field", "owner", "--field", "site.plot")
        return self.attempt(
            "aggregate", "migrate", "farm", "--event", "farm_moved", *fields, *options
        )

    def test_everything(self) -> None:
        """Each aggregate gets one event at most; what cannot be read or written is an error."""
        self.declare()
        malformed = (
            "aggregate_type=farm aggregate_id=f-3 failed to read field owner: "
            "reference must be domain#aggregate#id, aggregate#id, or #id\n"
        )
        missing = (
            "aggregate_type=farm aggregate_id=f-4 failed to append event: schema violation: "
            "reference owner points to missing aggregate default#person#p-9\n"
        )
        planned = self.migrate("--dry-run")
        self.assertEqual(
            planned,
            (
                1,
                "aggregate_type=farm aggregate_id=f-0 would update fields: owner\n"
                "aggregate_type=farm aggregate_id=f-4 would update fields: owner\n"
                "aggregate_type=farm aggregate_id=f-5 would update fields: owner, site.plot\n"
                "migrate references summary: planned=3 applied=0 unchanged=1 skipped=1 errors=1\n"
                "dry-run only; no events were written\n",
                malformed,
            ),
        )
        self.assertIn('"version": 1', self.dbx("aggregate", "get", "farm", "f-5").stdout)
        done = self.migrate("--note", "to references")
        self.assertEqual(
            done,
            (
                1,
                "aggregate_type=farm aggregate_id=f-0 updated fields: owner\n"
                "aggregate_type=farm aggregate_id=f-5 updated fields: owner, site.plot\n"
                "migrate references summary: planned=3 applied=2 unchanged=1 skipped=1 errors=2\n",
                malformed + missing,
            ),
        )
        state = self.dbx("aggregate", "get", "farm", "f-5").document["state"]
        self.assertEqual(
            state,
            {"owner": "default#farm#f-1", "site": '{"plot":"default#farm#f-2","zip":"1"}'},
        )
        found = self.dbx("aggregate", "referrers", "farm", "f-2").stdout
        self.assertEqual(found, "aggregate_type=farm aggregate_id=f-5 path=site.plot\n")

    def test_one(self) -> None:
        """One aggregate alone succeeds, and once done nothing is left to do."""
        self.declare()
        ended = self.migrate("--aggregate-id", "f-0", "--json")
        self.assertEqual((ended[0], ended[2]), (0, ""))
        again = self.migrate("--aggregate-id", "f-0")
        self.assertEqual(
            again[1],
            "migrate references summary: planned=0 applied=0 unchanged=1 skipped=0 errors=0\n",
        )
        self.assertEqual(self.migrate("--aggregate-id", "f-99")[2], "Error: aggregate not found\n")

    def test_refusals(self) -> None:
        """Types without a schema, fields without a column, columns without references."""
        options = ("--event", "farm_moved", "--field", "owner")
        self.assertEqual(
            self.failed("aggregate", "migrate", "person", *options), "Error: schema not found\n"
        )
        self.assertEqual(
            self.failed("aggregate", "migrate", "farm", *options),
            "Error: field 'owner' is not defined for aggregate farm; "
            "set a reference column first\n",
        )
        self.dbx("schema", "field", "farm", "owner", "--type", "text")
        self.assertIn(
            "field 'owner' is not marked as a reference field; ",
            self.failed("aggregate", "migrate", "farm", *options),
        )
        self.dbx("schema", "create", "barn", "--events", "e")
        self.dbx("schema", "field", "barn", "owner", "--type", "reference")
        ended = self.dbx("aggregate", "migrate", "barn", *options)
        self.assertEqual(ended.stdout, "no aggregates found for 'barn'\n")


class Cascading(CommandLineCase):
    """Archiving what others refer to."""

    def test_nullify(self) -> None:
        """The referrer's field reads empty, and its event says why."""
        self.dbx("schema", "create", "farm", "--events", "farm_created")
        self.dbx(
            "schema", "field", "farm", "owner", "--type", "reference",
            "--reference-cascade", "nullify",
        )  # fmt: skip
        self.create("person", "p-1")
        self.create("farm", "f-1", "--field", "owner=person#p-1")
        self.dbx("aggregate", "archive", "person", "p-1")
        shown = self.dbx("aggregate", "get", "farm", "f-1", "--include-events").document
        self.assertEqual(shown["state"], {"owner": ""})
        event = shown["events"][-1]
        self.assertEqual((event["event_type"], event["payload"]), ("_ref_nullify", {"owner": None}))
        self.assertEqual(
            (event["metadata"]["issued_by"], event["metadata"]["note"]),
            (None, "auto-nullify due to default#person#p-1"),
        )
        self.assertEqual(self.dbx("verify").stdout, "verified 2 aggregate(s) with 3 event(s)\n")

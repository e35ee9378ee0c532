"""``dbx schema`` on a source file: its check, what it compiles to, and putting it in force."""

from __future__ import annotations

import os
from pathlib import Path

from eventdbx.errors import InvalidSchema
from tests.surfaces.command_line import CommandLineCase
from tests.surfaces.test_cli_beside_server import ServedCase

ORDER = """aggregate order {
  snapshot_threshold = 100
  field status { type = "text" }
  event order_created { fields = ["status"] }
  event order_paid {}
}
"""
PERSON = """aggregate person {
  event person_created {}
}
"""
EPOCH = "1970-01-01T00:00:00Z"


class SourceCase(CommandLineCase):
    """A working directory of its own, below which there is none with a source."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.home / "project" / "deep"
        self.folder.mkdir(parents=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)

    def source(self, text: str, *, name: str = "schema.dbx") -> Path:
        """Write a source in the parent of the working directory."""
        path = self.home / "project" / name
        path.write_text(text, encoding="utf-8")
        return path


class Validating(SourceCase):
    """``schema validate`` without a payload."""

    def test_the_nearest_source_upward_is_checked(self) -> None:
        """No workspace is needed, and none is made."""
        path = self.source(ORDER + PERSON)
        self.assertEqual(
            self.dbx("schema", "validate").stdout,
            f"schema={path} aggregate_count=2 validation=ok\n",
        )
        self.assertEqual(
            self.dbx("schema", "validate", "--json").document,
            {
                "valid": True,
                "file": str(path),
                "aggregate_count": 2,
                "aggregates": ["order", "person"],
            },
        )
        self.assertEqual(sorted(os.listdir(self.home)), ["project"])

    def test_a_file_is_called_as_it_was_named(self) -> None:
        """Any name will do."""
        self.source(PERSON, name="people.txt")
        done = self.dbx("schema", "validate", "--file", "../people.txt")
        self.assertEqual(done.stdout, "schema=../people.txt aggregate_count=1 validation=ok\n")

    def test_a_mistake_is_told_with_its_place(self) -> None:
        """On stderr for people; with --json on stdout as well."""
        reason = "invalid schema: expected `{`, found `}` at line 2, column 3"
        self.source("aggregate order\n  }")
        self.assertEqual(self.failed("schema", "validate"), f"Error: {reason}\n")
        for arguments, file in (((), None), (("--file", "../schema.dbx"), "../schema.dbx")):
            done = self.attempt("schema", "validate", "--json", *arguments)
            self.assertEqual((done.status, done.stderr), (1, f"Error: {reason}\n"))
            self.assertEqual(done.document, {"valid": False, "file": file, "error": reason})

    def test_files_that_cannot_be_read(self) -> None:
        """No file, none of that name, no text."""
        self.assertEqual(
            self.failed("schema", "validate").splitlines()[0],
            "Error: could not find schema.dbx in the current directory or any parent directory",
        )
        self.assertEqual(
            self.failed("schema", "apply", "--file", "gone.dbx"),
            "Error: failed to read schema source gone.dbx: "
            "No such file or directory (os error 2)\n",
        )
        self.source("").write_bytes(b"# \xff")
        self.assertEqual(
            self.failed("schema", "show", "--file", "../schema.dbx"),
            "Error: failed to read schema source ../schema.dbx: it is not UTF-8 text\n",
        )

    def test_what_is_ignored_is_a_warning(self) -> None:
        """A typo in a rule does not pass silently."""
        path = self.source(ORDER.replace('"text"', '"text" rules = {"requird": true}'))
        done = self.attempt("schema", "validate")
        self.assertEqual(done.status, 0)
        self.assertEqual(
            done.stderr,
            "warning: field status: unknown key `requird` is ignored at line 3, column 3\n",
        )
        self.assertEqual(done.stdout, f"schema={path} aggregate_count=1 validation=ok\n")


class Showing(SourceCase):
    """``schema show``, which takes a source before anything else."""

    def test_a_source_is_shown_with_fixed_times(self) -> None:
        """All of it, or one aggregate; twice the same."""
        self.source(ORDER + PERSON)
        shown = self.dbx("schema", "show").document
        self.assertEqual(list(shown), ["order", "person"])
        order = self.dbx("schema", "show", "order").document
        self.assertEqual(order, shown["order"])
        self.assertEqual((order["created_at"], order["updated_at"]), (EPOCH, EPOCH))
        self.assertEqual(order["column_types"], {"status": "text"})

    def test_a_named_file_must_define_the_aggregate(self) -> None:
        """With --file nothing else is meant."""
        self.source(ORDER)
        self.assertEqual(
            self.failed("schema", "show", "person", "--file", "../schema.dbx"),
            "Error: aggregate person is not defined in the schema source\n",
        )

    def test_stored_schemas_come_after_the_source(self) -> None:
        """A source that does not define the name, or is broken, does not bar the way."""
        self.dbx("schema", "create", "person", "--events", "person_created")
        self.source(ORDER)
        self.assertEqual(self.dbx("schema", "show", "person").document["aggregate"], "person")
        self.source("aggregate order")
        done = self.attempt("schema", "show", "person")
        self.assertEqual((done.status, done.document["aggregate"]), (0, "person"))
        self.assertRegex(done.stderr, "^warning: .*schema.dbx: invalid schema: expected `{`")
        self.assertRegex(self.failed("schema", "show"), "^Error: invalid schema: expected `{`")

    def test_stored_schemas_become_a_source(self) -> None:
        """What is written by --source applies to the same schemas."""
        self.dbx("schema", "create", "order", "-e", "order_created,order_paid", "-s", "100")
        self.dbx("schema", "field", "order", "status", "--type", "text")
        self.dbx("schema", "alter", "order", "order_created", "--set", "status")
        self.assertEqual(self.dbx("schema", "show", "order", "--source").stdout, ORDER)
        before = self.dbx("schema", "list", "--json").document
        self.source(self.dbx("schema", "show", "--source").stdout)
        self.dbx("schema", "apply")
        self.assertEqual(self.dbx("schema", "list", "--json").document, before)


class Applying(SourceCase):
    """``schema apply`` without a server."""

    def test_the_whole_set_becomes_that_of_the_source(self) -> None:
        """New schemas come, others go; unchanged ones keep their times."""
        self.dbx("schema", "create", "note", "--events", "note_written")
        path = self.source(ORDER + PERSON)
        self.assertEqual(
            self.dbx("schema", "apply").stdout,
            f"tenant=default schema={path} applied aggregates=2\n"
            "tenant=default schema cache reload skipped\n",
        )
        first = {one["aggregate"]: one for one in self.dbx("schema", "list", "--json").document}
        self.assertEqual(list(first), ["order", "person"])
        self.source(ORDER.replace("100", "50") + PERSON)
        self.assertEqual(
            self.dbx("schema", "apply", "--json", "--no-reload").document,
            {
                "tenant": "default",
                "file": str(path),
                "aggregate_count": 2,
                "aggregates": ["order", "person"],
                "reloaded": False,
                "reload_skipped": True,
            },
        )
        second = {one["aggregate"]: one for one in self.dbx("schema", "list", "--json").document}
        self.assertEqual(second["person"], first["person"])
        self.assertEqual(second["order"]["created_at"], first["order"]["created_at"])
        self.assertLess(first["order"]["updated_at"], second["order"]["updated_at"])
        self.assertEqual(second["order"]["snapshot_threshold"], 50)

    def test_events_obey_what_was_applied(self) -> None:
        """The next append is checked against the source."""
        self.source(ORDER)
        self.dbx("schema", "apply")
        said = self.failed("aggregate", "create", "order", "o-1", "--event", "order_sent")
        self.assertIn("event order_sent is not defined for aggregate order", said)

    def test_schemas_with_data_are_not_lost_by_mistake(self) -> None:
        """Who drops the schema of a type with aggregates, archived ones too, has to say so."""
        self.source(ORDER + PERSON)
        self.dbx("schema", "apply")
        self.create("person", "p-1")
        self.dbx("aggregate", "archive", "person", "p-1")
        before = self.dbx("schema", "list", "--json").document
        for text in (ORDER, ""):
            self.source(text)
            self.assertEqual(
                self.failed("schema", "apply").splitlines()[0],
                "Error: the schema source leaves out person, of which there is data",
            )
        self.assertEqual(self.dbx("schema", "list", "--json").document, before)
        for flag in ("--prune", "--yes"):
            self.source(ORDER)
            self.dbx("schema", "apply", flag)
            self.assertEqual(len(self.dbx("schema", "list", "--json").document), 1)

    def test_schemas_without_data_go_with_the_source(self) -> None:
        """There is nothing to lose, so nothing is asked."""
        self.source(ORDER)
        self.dbx("schema", "apply")
        self.source("# nothing left\n")
        self.dbx("schema", "apply")
        self.assertEqual(self.dbx("schema", "list", "--json").document, [])

    def test_a_bad_source_changes_nothing(self) -> None:
        """What no event can satisfy is refused before a workspace is made."""
        self.source(ORDER.replace('"text"', '"integer" rules = {"format": "email"}'))
        self.assertEqual(
            self.failed("schema", "apply"),
            f"Error: {InvalidSchema.prefix}field status must be a string at line 3, column 3\n",
        )
        self.assertEqual(sorted(os.listdir(self.home)), ["project"])


class BesideServer(ServedCase):
    """``schema apply`` through a running server."""

    def test_the_server_obeys_at_once(self) -> None:
        """No restart is needed, and what has data is not dropped there either."""
        place = self.workspace(served=True)
        path = Path(self.mktemp()).absolute()
        path.write_text(ORDER + PERSON)
        done = self.at(place, "schema", "apply", "--file", str(path))
        self.assertEqual(
            (done.status, done.stdout, done.stderr),
            (
                0,
                f"tenant=default schema={path} applied aggregates=2\n"
                "tenant=default schema cache reloaded\n",
                "",
            ),
        )
        create = ("aggregate", "create", "person", "p-1", "--event")
        self.assertEqual(self.at(place, *create, "person_lost").status, 1)
        self.assertEqual(self.at(place, *create, "person_created").status, 0)
        path.write_text(ORDER)
        done = self.at(place, "schema", "apply", "--file", str(path))
        self.assertEqual((done.status, done.stdout), (1, ""))
        self.assertIn("leaves out person", done.stderr)
        done = self.at(place, "schema", "apply", "--file", str(path), "--prune", "--json")
        self.assertEqual((done.status, done.document["reloaded"]), (0, True))

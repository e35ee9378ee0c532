"""``dbx import``: what lines may ask for, and what is written of them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from eventdbx.surfaces.cli import progress
from eventdbx.surfaces.cli.importing import state as import_state
from tests.surfaces.command_line import CommandLineCase


class ImportCase(CommandLineCase):
    """A folder with files to import."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(progress, "LONG_S", 1e9)  # However slow this machine is.
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def file(self, name: str, text: str | bytes) -> str:
        """Write a file; return its path."""
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def lines(self, *documents: dict[str, Any], name: str = "events.ndjson") -> str:
        """Write a file of lines; return its path."""
        return self.file(name, "".join(json.dumps(one) + "\n" for one in documents))

    def events(self) -> list[dict[str, Any]]:
        """Return all events."""
        return list(self.dbx("events", "--json", "--take", "1000").document)


def event(number: int, **more: Any) -> dict[str, Any]:
    """Return a line for the aggregate of a number."""
    return {"aggregate_type": "order", "aggregate_id": f"o-{number:03}", "event_type": "paid",
            "payload": {"number": number}, **more}  # fmt: skip


class Ndjson(ImportCase):
    """Lines of JSON."""

    def test_everything_arrives(self) -> None:
        """Payloads keep their types, metadata and notes come along, dots in types stay known."""
        payload = {"t": "12", "n": 12, "f": 1.5, "b": True, "z": None, "big": 1e300,
                   "deep": {"list": [1, {"x": []}]}, "neg": -0.0}  # fmt: skip
        path = self.lines(
            event(1, payload=payload, metadata={"@source": "shop"}, note="by phone"),
            event(1, event_type="order.moved", payload=[1, 2], expect_version=1),
            event(2, payload="text", expect_version=0),
        )
        told = self.dbx("import", path).stdout
        self.assertEqual(told, f"Imported 3 event(s) from {path}\n")
        first, second, third = self.events()
        self.assertEqual(json.dumps(first["payload"], sort_keys=True),
                         json.dumps(payload, sort_keys=True))  # fmt: skip
        self.assertEqual(first["metadata"]["@source"], "shop")
        self.assertEqual(first["metadata"]["note"], "by phone")
        self.assertEqual((second["event_type"], second["payload"]), ("order_moved", [1, 2]))
        self.assertEqual((third["aggregate_id"], third["payload"]), ("o-002", "text"))
        self.assertEqual(list(self.folder.iterdir()), [Path(path)])

    def test_printed_events_come_back(self) -> None:
        """What ``dbx events`` prints is a file to import; ids, times and hashes are made anew."""
        self.dbx("import", self.lines(event(1, metadata={"@a": 1}, note="n"), event(2)))
        printed = self.events()
        self.dbx("import", self.lines(*printed, name="again.ndjson"))
        for version in (0, 1):
            found = self.events()[version]
            self.assertEqual(found["version"], version + 1)
            for key in ("payload", "event_type", "aggregate_id"):
                self.assertEqual(found[key], printed[0][key])
            self.assertEqual((found["metadata"]["@a"], found["metadata"]["note"]), (1, "n"))
        self.assertNotEqual(self.events()[1]["hash"], printed[0]["hash"])

    def test_form_of_the_file(self) -> None:
        """A byte order mark, CRLF, blank lines and a last line without an end are all fine."""
        text = "\ufeff" + json.dumps(event(1)) + "\r\n\r\n  \n" + json.dumps(event(2))
        told = self.dbx("import", self.file("e", text), "--json").document
        self.assertEqual((told["events"], told["batches"], told["format"]), (2, 1, "ndjson"))

    def test_batches(self) -> None:
        """Batches have the size that is asked for, and a large payload ends one early."""
        path = self.lines(*(event(number) for number in range(10)))
        self.assertEqual(self.dbx("import", path, "--batch-size", "4", "--json")
                         .document["batches"], 3)  # fmt: skip
        large = [event(number, payload="x" * 250_000) for number in range(10)]
        told = self.dbx("import", self.lines(*large, name="large"), "--json").document
        self.assertEqual((told["events"], told["batches"]), (10, 2))

    def test_dry_run(self) -> None:
        """Everything is checked, also against schemas, and there is no trace of it."""
        self.dbx("schema", "create", "order", "--events", "paid")
        self.dbx("schema", "field", "order", "number", "--type", "integer")
        path = self.lines(event(1))
        self.assertIn("1 event(s) can be written", self.dbx("import", path, "--dry-run").stdout)
        self.assertEqual(self.events(), [])
        wrong = self.lines(event(1), event(2, payload={"number": "two"}), event(3, event_type="x"))
        said = self.failed("import", wrong, "--dry-run")
        self.assertIn("2 lines of", said)
        self.assertIn("line 2: field number", said)
        self.assertIn("line 3: event x is not defined for aggregate order", said)
        self.assertEqual(list(self.folder.iterdir()), [Path(path)])

    def test_empty(self) -> None:
        """Of an empty file nothing is imported."""
        self.assertEqual(self.dbx("import", self.file("e", ""), "--json").document["events"], 0)


class Csv(ImportCase):
    """Lines of cells."""

    def test_typed_columns(self) -> None:
        """Plain columns are texts, ``:=`` columns JSON; empty cells are no fields."""
        path = self.file("orders.csv", "id,total:=,who,tags:=,@by\r\n"
                         'o-1,12,"Kim, ""J""\r\nTwo",[1],ann\r\no-2,,12,,\r\n')  # fmt: skip
        self.dbx("import", path, "--type", "order", "--event", "paid", "--id-column", "id")
        first, second = self.events()
        self.assertEqual(first["payload"],
                         {"total": 12, "who": 'Kim, "J"\r\nTwo', "tags": [1]})  # fmt: skip
        self.assertEqual(first["metadata"]["@by"], "ann")
        self.assertEqual(second["payload"], {"who": "12"})

    def test_columns_for_everything(self) -> None:
        """Types, notes and versions can have columns; empty texts are kept if asked for."""
        path = self.file("e.csv", "\ufeffaggregate_type,aggregate_id,event_type,note,"
                         "expect_version,who\norder,o-1,paid,n,0,\n")  # fmt: skip
        self.dbx("import", path, "--keep-empty")
        (found,) = self.events()
        self.assertEqual((found["payload"], found["metadata"]["note"]), ({"who": ""}, "n"))

    def test_exports_come_back(self) -> None:
        """An export in CSV can be imported."""
        self.dbx("import", self.lines(event(1), event(2)))
        path = str(self.folder / "order.csv")
        self.dbx("aggregate", "export", "order", "--output", path)
        self.dbx("import", path, "--type", "copy", "--event", "copied")
        self.assertEqual(self.dbx("aggregate", "get", "copy", "o-002").document["state"],
                         {"number": "2"})  # fmt: skip


class Interrupted(ImportCase):
    """Imports that stop in the middle, without a crash."""

    def stopped(self) -> str:
        """Stop an import at its third batch; return the path of its file."""
        self.dbx("import", self.lines(event(5), name="first"))
        path = self.lines(*(event(number, expect_version=0) for number in range(8)))
        said = self.failed("import", path, "--batch-size", "2")
        self.assertIn("line 6: expected version 0", said)
        self.assertIn("4 events up to line 4 are written; --resume goes on there", said)
        return path

    def test_goes_on(self) -> None:
        """Once the line is right it goes on behind what was written; later lines may change."""
        path = self.stopped()
        state = Path(path + import_state.SUFFIX)
        self.assertEqual(stat.S_IMODE(state.stat().st_mode), 0o600)
        said = self.failed("import", path)
        self.assertIn("4 events up to line 4 are written", said)
        self.lines(*(event(number) for number in range(4)), event(6))
        self.assertIn("has changed before the place", self.failed("import", path, "--resume"))
        kept = [event(number, expect_version=0) for number in range(4)]
        self.lines(*kept, event(5), event(6))
        told = self.dbx("import", path, "--resume", "--json").document
        self.assertEqual((told["events"], told["batches"], told["resumed"]), (6, 1, True))
        numbers = [one["payload"]["number"] for one in self.events()]
        self.assertEqual(numbers, [0, 1, 2, 3, 5, 5, 6])
        self.assertFalse(state.exists())

    def test_begins_again(self) -> None:
        """--restart forgets what was written."""
        path = self.stopped()
        said = self.failed("import", path, "--restart")
        self.assertIn("line 1: expected version 0", said)
        self.assertIn("nothing was written", said)
        self.assertIn("there is no interrupted import", self.failed("import", path, "--resume"))

    def test_another_import(self) -> None:
        """It does not go on with other options, nor with a state that is none."""
        path = self.stopped()
        said = self.failed("import", path, "--resume", "--format", "csv", "--type", "t",
                           "--event", "e")  # fmt: skip
        self.assertIn("was begun with format 'ndjson', not 'csv'", said)
        Path(path + import_state.SUFFIX).write_text("{}")
        self.assertIn("is not the state of an import", self.failed("import", path, "--resume"))

    def test_skipping(self) -> None:
        """Refused lines are put down with the reason, all others are written, once."""
        self.dbx("import", self.lines(event(3), event(5), name="first"))
        documents = [event(number, expect_version=0) for number in range(8)]
        documents[1]["payload"] = float("inf")
        path, errors = self.lines(*documents), self.folder / "errors"
        told = self.dbx("import", path, "--batch-size", "5", "--on-error", "skip", "--errors",
                        str(errors), "--json").document  # fmt: skip
        self.assertEqual((told["events"], told["skipped"]), (5, 3))
        found = [json.loads(line) for line in errors.read_text().splitlines()]
        self.assertEqual([one["line"] for one in found], [2, 4, 6])
        self.assertIn("expected version 0", found[1]["reason"])
        self.assertEqual(stat.S_IMODE(errors.stat().st_mode), 0o600)
        self.assertEqual(len(self.events()), 7)
        self.assertIn("exists already", self.failed("import", path, "--on-error", "skip",
                                                    "--errors", str(errors)))  # fmt: skip

    def test_forgotten_keys(self) -> None:
        """A batch whose key the store may have forgotten is looked for in the log."""
        self.dbx("import", self.lines(event(0), name="first"))
        path = self.lines(*(event(number) for number in range(6)), event(9, expect_version=7))
        self.failed("import", path, "--batch-size", "3", "--no-check")
        state = Path(path + import_state.SUFFIX)
        document = json.loads(state.read_text())
        self.assertEqual(document["events"], 6)
        # As if it had been killed before it noted its second batch, a month ago.
        document |= {"number": 1, "events": 3, "saved_at": document["saved_at"] - 30 * 86_400}
        first = "".join(Path(path).read_text().splitlines(keepends=True)[:3]).encode()
        document |= {"offset": len(first), "line": 3, "run": "other",
                     "last": None}  # fmt: skip
        from hashlib import sha256

        document["digest"] = sha256(first).hexdigest()
        state.write_text(json.dumps(document))
        self.lines(*(event(number) for number in range(6)), event(9))
        self.dbx("import", path, "--resume")
        numbers = sorted(one["payload"]["number"] for one in self.events())
        self.assertEqual(numbers, [0, 0, 1, 2, 3, 4, 5, 9])

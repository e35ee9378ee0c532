"""``dbx import`` of what cannot be imported: one clear message, and nothing of it is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

from eventdbx import limits
from tests.surfaces.test_cli_import import ImportCase, event

GOOD = json.dumps(event(1)).encode()


class WrongLines(ImportCase):
    """A line in the middle that is wrong, each in its own way."""

    def said_of(self, line: bytes) -> str:
        """Import a file whose second line is this; return what was said of it."""
        path = self.file("events.ndjson", GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
        said = self.failed("import", path)
        self.assertIn("nothing was written", said)
        self.assertEqual(self.dbx("events", "--json").document, [])
        self.assertEqual(os.listdir(self.folder), ["events.ndjson"])
        return said.partition("\n")[0].removeprefix(f"Error: {path} ")

    def test_texts(self) -> None:
        """What is no text, no JSON, no object, or too long."""
        long = b'{"x":"' + b"x" * limits.IMPORT_LINE_BYTES_MAX + b'"}'
        for line, said in (
            (b'{"aggregate_type":"\xff"}', "line 2: not UTF-8 text (byte 20 of the line)"),
            (b'{"aggregate_type":', "line 2: no JSON: EOF while parsing a value at column"),
            (b"[" * 200, "line 2: no JSON: "),
            (b'{"a":NaN}', "line 2: no JSON: "),
            (b"[1]", "line 2: each line must be a JSON object, this one is an array"),
            (b"12", "line 2: each line must be a JSON object, this one is something else"),
            (long, "line 2: the line is longer than 4,194,304 bytes"),
            (long + long, "line 2: the line is longer than 4,194,304 bytes"),
        ):
            with self.subTest(said):
                self.assertEqual(self.said_of(line)[: len(said)], said)

    def test_fields(self) -> None:
        """What has other fields, lacks some, or has them of another kind."""
        bare = {key: value for key, value in event(1).items() if key != "payload"}
        for document, said in (
            (event(1, zip=1), "line 2: field 'zip' is unknown"),
            (bare, "line 2: field 'payload' is missing"),
            (event(1, aggregate_id=7), "line 2: field 'aggregate_id' must be a text"),
            (event(1, aggregate_id="a b"), "line 2: aggregate_id may only contain letters"),
            (event(1, aggregate_type="Order"), "line 2: aggregate_type must be lowercase"),
            (event(1, event_type="no!"), "line 2: event_type must be lowercase"),
            (event(1, metadata=[]), "line 2: field 'metadata' must be an object"),
            (event(1, metadata={"a": 1}), "line 2: metadata key 'a' must start with '@'"),
            (event(1, note="n" * 129), "line 2: event note cannot exceed 128 characters"),
            (event(1, note=1), "line 2: field 'note' must be a text"),
            (event(1, expect_version=-1), "line 2: field 'expect_version' must be a number"),
            (event(1, expect_version=True), "line 2: field 'expect_version' must be a number"),
            (event(1, payload="x" * 262_144), "line 2: payload_json exceeds maximum size"),
            (event(1, erased=True), "line 2: the event was erased"),
            (event(1, aggregate_type="dbx_admin"), "line 2: "),
        ):
            with self.subTest(said):
                self.assertEqual(self.said_of(json.dumps(document).encode())[: len(said)], said)

    def test_many(self) -> None:
        """Of many wrong lines the first ten are told, and how many there are."""
        path = self.file("many", b"x\n" * 25)
        said = self.failed("import", path)
        self.assertIn("25 lines of", said)
        self.assertIn("line 10: ", said)
        self.assertNotIn("line 11: ", said)
        self.assertIn("and 15 more", said)


class WrongCsv(ImportCase):
    """Headers and rows."""

    def said_of(self, text: bytes | str) -> str:
        """Import a CSV file; return what was said of it."""
        path = self.file("e.csv", text)
        said = self.failed("import", path, "--type", "order", "--event", "paid")
        self.assertEqual(self.dbx("events", "--json").document, [])
        return said.partition("\n")[0].removeprefix(f"Error: {path} ")

    def test_headers(self) -> None:
        """A header that is missing, doubled, without the id, or that says what an option says."""
        for text, said in (
            ("", "has no header; its first line must name the columns"),
            ("aggregate_id,a,a\n", "line 1: there are several columns 'a'"),
            ("aggregate_id,a,a:=\n", "line 1: there are several columns 'a'"),
            ("aggregate_id,,b\n", "line 1: a column has no name"),
            ("id,a\n", "line 1: there is no column 'aggregate_id'; --id-column names another"),
            ("aggregate_id,event_type\n", "line 1: there is a column 'event_type' beside --event"),
            (b"aggregate_id,\xff\n", "line 1 is not UTF-8 text"),
            (b"\xff\xfea\0", "is UTF-16, not UTF-8"),
            (
                b"aggregate_id\ro-1\r",
                "line 1: a carriage return stands alone outside of quotes; "
                "lines end with LF or CRLF",
            ),
        ):
            with self.subTest(said):
                self.assertEqual(self.said_of(text), said)

    def test_many_columns(self) -> None:
        """As many as a line has room for are looked at once each."""
        names = ",".join(f"c{number}" for number in range(200_000))
        said = self.said_of(f"aggregate_id,{names},c7\no-1\n".encode())
        self.assertEqual(said, "line 1: there are several columns 'c7'")

    def test_rows(self) -> None:
        """Rows with more or fewer cells, broken quotes, cells that are no JSON."""
        head = b"aggregate_id,n:=,t\n"
        for row, said in (
            (b"o-1,1\n", "line 3: the line has 2 cells, the header 3"),
            (b"o-1,1,a,b\n", "line 3: the line has 4 cells, the header 3"),
            (b'o-1,1,"a\n', "line 3: no CSV: unexpected end of data"),
            (b'o-1,1,"a"b\n', "line 3: no CSV: ',' expected after '\"'"),
            (b"o-1,x,a\n", "line 3: column 'n' must be JSON: "),
            (b"o-1,1,\xff\n", "line 3: not UTF-8 text"),
            (b",1,a\n", "line 3: field 'aggregate_id' is missing"),
        ):
            with self.subTest(said):
                self.assertEqual(self.said_of(head + b"o-1,1,a\n" + row)[: len(said)], said)

    def test_quote_without_end(self) -> None:
        """A quote that is not closed ends where a line may not be longer, not with the memory."""
        text = b'aggregate_id,t\no-1,"' + (b"x" * 999 + b"\n") * 9_000
        self.assertIn("lines of", self.said_of(text))


class WrongFiles(ImportCase):
    """Files and options."""

    def test_files(self) -> None:
        """One that is not there, and a folder."""
        missing = str(self.folder / "none")
        said = self.failed("import", missing)
        self.assertEqual(said, f"Error: cannot read {missing}: No such file or directory\n")
        said = self.failed("import", str(self.folder))
        self.assertEqual(said, f"Error: {self.folder} is a directory\n")

    def test_options(self) -> None:
        """Options that do not go together are wrong usage."""
        path = self.lines(event(1))
        for options in (
            ("--type", "order"),
            ("--keep-empty",),
            ("--on-error", "skip"),
            ("--errors", "x"),
            ("--batch-size", "0"),
            ("--batch-size", "1001"),
            ("--resume", "--restart"),
            ("--dry-run", "--resume"),
            ("--format", "xml"),
            ("--on-error", "skip", "--errors", path + ".import-state"),
        ):
            with self.subTest(options):
                self.misused("import", path, *options)
        self.misused("import")
        self.misused("import", "-", "--resume")
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for option in (("--resume",), ("--restart",), ("--state", "x")):
            writing = os.open(pipe, os.O_RDWR)
            self.addCleanup(os.close, writing)
            self.misused("import", str(pipe), *option)
        self.assertFalse(Path(path + ".import-state").exists())

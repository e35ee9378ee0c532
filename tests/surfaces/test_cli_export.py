"""``aggregate export``: what the files hold, where they go, and that none is ever half there."""

from __future__ import annotations

import csv
import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

from eventdbx.surfaces.cli import progress, session
from eventdbx.surfaces.cli.exporting.files import Unfinished, written_to
from eventdbx.surfaces.cli.failures import Failure
from tests.surfaces.command_line import CommandLineCase

NASTY = ('a,"b"\r\nc', "line\nfeed", "bare\rreturn", "=1+1", " spaces ", "ä\u2028𝄞", "")


class Export(CommandLineCase):
    """Two types, one of them with states of different keys."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(progress, "LONG_S", 1e9)  # However slow this machine is.
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        for number, text in enumerate(NASTY):
            payload = json.dumps({"text": text, f"k{9 - number}": number, "none": None})
            self.dbx("aggregate", "create", "order", f"o-{number}", "--event", "made",
                     "--payload", payload)  # fmt: skip
        self.dbx("aggregate", "create", "item", "i-1", "--event", "made", "--field", "a=1")
        self.dbx("aggregate", "create", "item", "i-2", "--event", "made", "--field", "a=2")
        self.dbx("aggregate", "archive", "item", "i-2")

    def export(self, *options: str) -> str:
        """Run the command; return what it printed."""
        return self.dbx("aggregate", "export", *options).stdout

    def left(self) -> list[str]:
        """Return the names in the folder."""
        return sorted(os.listdir(self.folder))

    def test_csv_is_exact(self) -> None:
        """Any reader of CSV gets each value back, the columns sorted, the rows by id."""
        path = self.folder / "orders.csv"
        self.patch(session, "PAGE_ITEMS", 2)
        self.export("order", "--output", str(path))
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(list(rows[0]), ["__aggregate_id", "k3", "k4", "k5", "k6", "k7", "k8",
                                         "k9", "none", "text"])  # fmt: skip
        self.assertEqual([row["__aggregate_id"] for row in rows], [f"o-{n}" for n in range(7)])
        self.assertEqual([row["text"] for row in rows], list(NASTY))
        self.assertEqual([row["k9"] for row in rows], ["0", "", "", "", "", "", ""])
        self.assertEqual([row["k3"] for row in rows], ["", "", "", "", "", "", "6"])

    def test_json_and_lines(self) -> None:
        """The same objects as an array and one a line; only the keys that an aggregate has."""
        array, lines = self.folder / "o.json", self.folder / "o.ndjson"
        self.export("order", "--format", "json", "--output", str(array))
        self.export("order", "--format", "ndjson", "--output", str(lines))
        found = json.loads(array.read_text())
        self.assertEqual(found, [json.loads(one) for one in lines.read_text().split("\n")[:-1]])
        self.assertEqual(
            found[1],
            {"__aggregate_id": "o-1", "k8": "1", "none": "", "text": "line\nfeed"},
        )
        pretty = self.folder / "pretty.json"
        self.export("order", "--format", "json", "--pretty", "--output", str(pretty))
        self.assertEqual(json.loads(pretty.read_text()), found)

    def test_archive(self) -> None:
        """A zip archive has a file for each type; archived aggregates are in none."""
        told = self.export("--all", "--zip", "--output", str(self.folder / "all.tar"))
        path = self.folder / "all.zip"
        self.assertEqual(told, f"Exported 2 aggregate type(s) to {path} (zip archive)\n")
        with ZipFile(path) as archive:
            self.assertEqual(archive.namelist(), ["item.csv", "order.csv"])
            self.assertIsNone(archive.testzip())
            self.assertEqual(archive.read("item.csv"), b"__aggregate_id,a\ni-1,1\n")
        self.export("--all", "--zip", "--output", str(self.folder))
        self.export("item", "--zip", "--format", "json", "--output", str(self.folder))
        self.assertEqual(self.left(), ["aggregates_csv.zip", "all.zip", "item_json.zip"])

    def test_stdout(self) -> None:
        """``-`` prints one type and nothing else; several do not fit."""
        self.assertEqual(self.export("item", "--output", "-"), "__aggregate_id,a\ni-1,1\n")
        self.assertIn("must be a directory", self.failed("aggregate", "export", "--all",
                                                         "--output", "-"))  # fmt: skip
        self.failed("aggregate", "export", "item", "--zip", "--output", "-")

    def test_nothing_for_stdout(self) -> None:
        """It gets a document without rows; that there are none is said on stderr."""
        for options, out in (
            (("--format", "json"), "[]\n"),
            (("--format", "json", "--pretty"), "[]\n"),
            (("--format", "ndjson", "--json"), ""),
            (("--format", "csv"), "__aggregate_id\n"),
        ):
            ended = self.attempt("aggregate", "export", "nothing", *options, "--output", "-")
            self.assertEqual((ended.status, ended.stdout), (0, out))
            self.assertEqual(ended.stderr, "no aggregates found for 'nothing'\n")

    def test_document(self) -> None:
        """With --json the result is a document, also when nothing was found."""
        path = str(self.folder / "item.csv")
        told = json.loads(self.export("item", "--output", path, "--json"))
        self.assertEqual(told["files"], [path])
        self.assertEqual((told["aggregates"], told["types"]), (1, ["item"]))
        told = json.loads(self.export("nothing", "--output", path, "--json"))
        self.assertEqual((told["aggregates"], told["types"], told["files"]), (0, [], []))

    def test_replaces_whole(self) -> None:
        """An old file stays what it was until the new one is whole; links and modes stay."""
        path, link = self.folder / "old.csv", self.folder / "link.csv"
        path.write_text("old")
        path.chmod(0o640)
        link.symlink_to(path)
        self.export("item", "--output", str(link))
        self.assertTrue(link.is_symlink())
        self.assertEqual(path.read_text(), "__aggregate_id,a\ni-1,1\n")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
        self.assertEqual(self.left(), ["link.csv", "old.csv"])

    def test_leftovers(self) -> None:
        """What a killed export left is removed by the next one of that file, nothing else is."""
        names = (".item.csv.0123abcd.part", ".other.csv.0123abcd.part", ".item.csv.swp")
        for name in names:
            (self.folder / name).write_text("half")
        self.export("item", "--output", str(self.folder))
        self.assertEqual(self.left(), sorted((*names[1:], "item.csv")))

    def test_places_that_do_not_go(self) -> None:
        """A folder that cannot be made and one that cannot be written to are said."""
        blocked = self.folder / "file"
        blocked.write_text("")
        said = self.failed("aggregate", "export", "item", "--output", str(blocked / "x.csv"))
        self.assertIn(str(blocked), said)
        said = self.failed("aggregate", "export", "--all", "--output", str(blocked))
        self.assertIn("output path must be a directory", said)
        self.assertEqual(blocked.read_text(), "")

    def test_failures_to_write(self) -> None:
        """They name the file, nothing is left of it, and a link to itself is replaced."""
        path = self.folder / "full.csv"

        def fill() -> None:
            with without_room(), written_to(path), Unfinished(path) as file:
                file.write(b"text")

        told = str(self.assertRaises(Failure, fill))
        self.assertEqual(told, f"cannot write {path}: File too large")
        self.assertEqual(self.left(), [])
        loop = self.folder / "loop.csv"
        loop.symlink_to(loop)
        self.export("item", "--output", str(loop))
        self.assertEqual(loop.read_text(), "__aggregate_id,a\ni-1,1\n")


@contextmanager
def without_room() -> Iterator[None]:
    """Let no file grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

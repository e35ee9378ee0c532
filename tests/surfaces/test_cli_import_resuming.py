"""``dbx import --resume`` when something else has changed meanwhile: the store, files, the time."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import InvalidSchema
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.importing import state as import_state
from eventdbx.surfaces.cli.importing.lines import Lines
from eventdbx.surfaces.cli.importing.rows import Bad
from eventdbx.surfaces.cli.importing.skipping import Skipped
from tests.surfaces.test_cli_export import without_room
from tests.surfaces.test_cli_import import ImportCase, event


class Resuming(ImportCase):
    """An import of eight lines in batches of two that ended at its fourth batch."""

    def setUp(self) -> None:
        super().setUp()
        self.right = [event(number) for number in range(8)]
        wrong = [*self.right[:6], event(6, expect_version=9), self.right[7]]
        self.path = self.lines(*wrong)
        self.state = Path(self.path + import_state.SUFFIX)
        self.failed("import", self.path, "--batch-size", "2")

    def kept(self) -> dict[str, Any]:
        """Return the state."""
        document: dict[str, Any] = json.loads(self.state.read_text())
        return document

    def change(self, **members: Any) -> None:
        """Change the state."""
        self.state.write_text(json.dumps(self.kept() | members))

    def numbers(self) -> list[int]:
        """Return the numbers of all events."""
        return sorted(one["payload"]["number"] for one in self.events())

    def test_store_made_anew(self) -> None:
        """A store that has not what was written is another one, whatever its folder is."""
        self.lines(*self.right)
        shutil.rmtree(self.home / ".eventdbx")
        said = self.failed("import", self.path, "--resume")
        self.assertIn("was begun with another store", said)
        self.assertIn("the 6 events up to line 6 are not in it", said)
        self.assertEqual(self.numbers(), [])
        self.dbx("import", self.path, "--restart")
        self.assertEqual(self.numbers(), list(range(8)))

    def test_store_of_before(self) -> None:
        """So is one that was put back to a time before, though it has grown since."""
        self.lines(*self.right)
        shutil.rmtree(self.home / ".eventdbx")
        self.dbx("import", self.lines(*map(event, range(20, 40)), name="others"))
        self.assertIn("another store", self.failed("import", self.path, "--resume"))
        self.assertEqual(self.numbers(), list(range(20, 40)))

    def test_hidden_and_archived(self) -> None:
        """What was written is there, though it is not shown."""
        self.lines(*self.right)
        self.dbx("schema", "create", "order", "--events", "paid")
        self.dbx("schema", "hide", "--aggregate", "order", "--whole-type")
        self.dbx("aggregate", "archive", "order", "o-005")
        self.dbx("import", self.path, "--resume")
        self.dbx("schema", "hide", "--aggregate", "order", "--whole-type", "--unhide")
        self.assertEqual(self.numbers(), [0, 1, 2, 3, 4, 6, 7])

    def test_repeated_lines(self) -> None:
        """A batch like one that was noted is not taken for written because that one was."""
        for count, days in ((8, 30), (16, -30)):  # Long ago, or with a clock that was ahead then.
            same = self.lines(*[event(9)] * 6, event(9, expect_version=1), name="same")
            self.failed("import", same, "--batch-size", "2")
            self.state = Path(same + import_state.SUFFIX)
            self.change(saved_at=self.kept()["saved_at"] - days * 86_400, run=f"forgotten{days}")
            self.lines(*[event(9)] * 8, name="same")
            self.dbx("import", same, "--resume")
            self.assertEqual(self.numbers().count(9), count)

    def test_clock_that_was_ahead(self) -> None:
        """The log is asked then, too."""
        last = self.events()[3]
        self.change(saved_at=self.kept()["saved_at"] + 30 * 86_400, run="forgotten", number=2)
        lines = Path(self.path).read_text().splitlines(keepends=True)
        noted = "".join(lines[:4]).encode()
        self.change(events=4, line=4, offset=len(noted), digest=sha256(noted).hexdigest(),
                    last=[last["metadata"]["event_id"], "order", "o-003"])  # fmt: skip
        self.lines(*self.right)
        self.dbx("import", self.path, "--resume")
        self.assertEqual(self.numbers(), list(range(8)))

    def test_age_of_a_key(self) -> None:
        """A key is as old as its first use, however often the import was taken up since."""
        then = self.kept()["saved_at"] - 5 * 86_400
        self.change(saved_at=then)
        self.assertIn("expected version 9", self.failed("import", self.path, "--resume",
                                                        "--no-check"))  # fmt: skip
        self.assertEqual(self.kept()["saved_at"], then)

    def test_file_of_errors_is_new(self) -> None:
        """No file is taken for that of an earlier run which was none of it."""
        precious = self.folder / "precious"
        precious.write_text("precious")
        skipping = ("--resume", "--on-error", "skip", "--errors")
        said = self.failed("import", self.path, *skipping, str(precious))
        self.assertIn("exists already", said)
        self.assertEqual(precious.read_text(), "precious")
        self.dbx("import", self.path, *skipping, str(self.folder / "errors"))
        self.assertEqual(self.numbers(), [0, 1, 2, 3, 4, 5, 7])

    def test_file_of_errors_goes_on(self) -> None:
        """The same file is gone on with, another one begun."""
        first, second = self.folder / "first", self.folder / "second"
        documents = [event(0), event(1, expect_version=9), event(2), event(3, payload=float("inf"))]
        path = self.lines(*documents, name="both")
        self.dbx("import", path, "--on-error", "skip", "--errors", str(first))
        self.assertEqual(len(first.read_text().splitlines()), 2)
        # As if it had been killed before its last line.
        head = "".join(Path(path).read_text().splitlines(keepends=True)[:3]).encode()
        written = self.kept() | {"errors": str(first.resolve()), "skipped": 1, "line": 3,
                                 "offset": len(head), "last": None,
                                 "digest": sha256(head).hexdigest(), "run": "x"}  # fmt: skip
        written["errors_bytes"] = len(first.read_bytes().splitlines(keepends=True)[0])
        for errors, lines in ((first, [2, 4]), (second, [4])):
            Path(path + import_state.SUFFIX).write_text(json.dumps(written))
            self.dbx("import", path, "--resume", "--on-error", "skip", "--errors", str(errors))
            found = [json.loads(one)["line"] for one in errors.read_text().splitlines()]
            self.assertEqual(found, lines)
        Path(path + import_state.SUFFIX).write_text(json.dumps(written))
        first.write_text("")
        said = self.failed("import", path, "--resume", "--on-error", "skip", "--errors", str(first))
        self.assertIn("has lost lines", said)

    def test_before_anything_is_noted(self) -> None:
        """One that was killed before its first batch was noted goes on, and writes that once."""
        table = "aggregate_id,number:=\n" + "".join(f"c-{one},{one}\n" for one in range(6))
        for path, words in (
            (self.lines(*map(event, range(6)), name="begun"), ()),
            (self.file("begun.csv", table), ("--type", "order", "--event", "paid")),
        ):
            with self.subTest(path):
                before, text = len(self.events()), Path(path).read_bytes()
                Path(path).write_bytes(text + b"wrong\n")
                self.failed("import", path, "--batch-size", "2", "--no-check", *words)
                self.state = Path(path + import_state.SUFFIX)
                self.change(number=0, events=0, offset=0, line=0, digest="", last=None)
                Path(path).write_bytes(text)
                self.dbx("import", path, "--resume", *words)
                self.assertEqual(len(self.events()) - before, 6)

    def test_file_of_errors_without_room(self) -> None:
        """That the line cannot be put down is told with the name of the file."""
        path = str(self.folder / "errors")
        skipped = Skipped(Path(path))
        with without_room():
            refused = Bad(1, 1, 9, InvalidSchema("wrong"), b"text")
            told = str(self.assertRaises(Failure, skipped.add, [refused]))
            skipped.close()
        self.assertEqual(told, f"cannot write {path}: File too large")

    def test_another_name(self) -> None:
        """A link to the file has the same state."""
        link = self.folder / "link"
        link.symlink_to(self.path)
        self.assertIn("was interrupted: 6 events", self.failed("import", str(link)))
        self.lines(*self.right)
        self.dbx("import", str(link), "--resume")
        self.assertEqual(self.numbers(), list(range(8)))
        self.assertFalse(self.state.exists())

    def test_state_is_a_state(self) -> None:
        """--restart replaces the state of an import, nothing else that has its name."""
        for name in (self.path, self.file("precious", "precious"), str(self.folder)):
            with self.subTest(name):
                before = Path(name).read_bytes() if Path(name).is_file() else None
                self.failed("import", self.path, "--restart", "--state", name)
                if before is not None:
                    self.assertEqual(Path(name).read_bytes(), before)


class Places(SynchronousTestCase):
    """Digests of a file up to places that are behind the one where it is read."""

    def test_behind_a_mark(self) -> None:
        """They are those of the lines before, and what is read next stays the same."""
        path = Path(self.mktemp())
        path.write_bytes(b"one\ntwo\nthree\n")
        with path.open("rb") as file:
            lines = Lines(file, "file")
            each = iter(lines)
            next(each)
            begin = lines.mark()
            self.assertEqual(next(each).text, b"two\n")
            found = lines.mark_behind(begin, 8)
            self.assertEqual(found.digest.hexdigest(), lines.digest())
            end = lines.mark_behind(found, 14)
            self.assertEqual(end.digest.hexdigest(), sha256(path.read_bytes()).hexdigest())
            self.assertEqual(next(each).text, b"three\n")


class Records(ImportCase):
    """Records of CSV that cannot be read."""

    def test_lines_in_quotes(self) -> None:
        """What stands in the quotes of a record that is left out is not written as another one."""
        text = b'aggregate_id,t\no-1,"\xff\no-2,hidden\n"\no-3,x\n'
        path, errors = self.file("e.csv", text), self.folder / "errors"
        self.dbx("import", path, "--type", "order", "--event", "made", "--on-error", "skip",
                 "--errors", str(errors))  # fmt: skip
        self.assertEqual([one["aggregate_id"] for one in self.events()], ["o-3"])
        told = json.loads(errors.read_text())
        self.assertEqual((told["line"], told["reason"]), (2, "not UTF-8 text"))

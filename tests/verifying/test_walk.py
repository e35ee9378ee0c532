"""A third party's walk: a bundle, a key, one file of Python in an empty folder, nothing of ours."""

from __future__ import annotations

import atexit
import json
import shutil
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from tests.daemon import Workspace, outside

ALONE = """
import runpy, sys
sys.modules["eventdbx"] = None  # whatever is installed beside it: importing it fails
try:
    import eventdbx
except ImportError:
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@cache
def exported() -> tuple[Workspace, str]:
    """Return a server with some orders and bundles of them, and the key of its log."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    space = Workspace(Path(folder.name) / "database")
    space.start()
    atexit.register(space.stop)
    with BlockingClient("127.0.0.1", space.port, space.token) as client:
        for number in range(4):
            for one in range(3):
                client.append("order", f"o-{one}", "order_changed", {"n": number, "who": "Zoë"})
        client.append("person", "p-1", "person_seen", {"name": "Ada"}, note="by hand")
    key = json.loads(space.run("checkpoint", "--json"))["key"]
    for name, words in (("all", ()), ("type", ("order",)), ("one", ("order", "o-1"))):
        space.run("audit", "export", *words, "--out", f"{name}.dbx-audit")
    return space, key


class Walk(SynchronousTestCase):
    """What somebody does who knows the key of the log, and has a bundle and the verifier."""

    def setUp(self) -> None:
        self.space, self.key = exported()
        empty = TemporaryDirectory()
        self.addCleanup(empty.cleanup)
        self.empty = Path(empty.name)
        self.space.run("audit", "verifier", "--out", str(self.empty / "verify.py"))

    def bundle(self, name: str) -> list[bytes]:
        """Return the lines of an exported bundle."""
        return (self.space.folder / f"{name}.dbx-audit").read_bytes().splitlines(keepends=True)

    def verify(self, lines: list[bytes], *options: str) -> subprocess.CompletedProcess[str]:
        """Verify a bundle with nothing of ours, in a folder where there is nothing else."""
        (self.empty / "evidence").write_bytes(b"".join(lines))
        words = ["verify.py", "evidence", "--key", self.key, *options]
        return subprocess.run(
            [sys.executable, "-I", "-c", ALONE, *words],
            cwd=self.empty, env=outside(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def proven(self, lines: list[bytes], *options: str) -> str:
        """Check that a bundle is proven; return what is said."""
        done = self.verify(lines, *options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def refuted(self, lines: list[bytes], *options: str) -> str:
        """Check that a bundle is refuted; return why."""
        done = self.verify(lines, *options)
        self.assertEqual((done.returncode, done.stderr), (1, ""), done.stdout)
        self.assertNotIn("\nPROVEN", done.stdout)
        return done.stdout.splitlines()[-1]

    def test_bundles(self) -> None:
        """What is exported is proven, and said in sentences."""
        said = self.proven(self.bundle("all"))
        self.assertIn("order::o-1: 4 events, all that it had at position 13 of the log", said)
        self.assertIn("4 aggregates with 13 events", said)
        self.assertIn("These are all aggregates of the log.", said)
        self.assertTrue(said.endswith("PROVEN.\n"))
        for name, count in (("type", 3), ("one", 1)):
            found = json.loads(self.proven(self.bundle(name), "--json"))
            self.assertEqual((found["aggregates"], found["whole"]), (count, False))
        mode = (self.space.folder / "all.dbx-audit").stat().st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_the_event_that_was_shown(self) -> None:
        """An event as a command printed it is compared with what is in the bundle."""
        shown = json.loads(self.space.run("events", "order", "o-1", "--json"))[0]
        text = self.space.run("events", shown["metadata"]["event_id"], "--json")
        (self.empty / "event.json").write_text(text)
        said = self.proven(self.bundle("one"), "--event", "event.json")
        self.assertIn("Payload, metadata and note of the event that was given are as logged.", said)
        (self.empty / "event.json").write_text(text.replace('"Zoë"', '"Eve"'))
        said = self.refuted(self.bundle("one"), "--event", "event.json")
        self.assertIn("the event's payload, metadata or note is not what was logged", said)

    def test_the_proof_of_an_event(self) -> None:
        """A .tlog-proof is verified by the same file."""
        self.space.run("proof", "event", "person", "p-1", "1", "--out", "p.tlog-proof")
        raw = (self.space.folder / "p.tlog-proof").read_bytes()
        (self.space.folder / "p.tlog-proof").unlink()
        said = self.proven([raw])
        self.assertIn("is version 1 of person::p-1: person_seen, written 20", said)
        self.assertIn("is entry 12 of the log.", said)

    def test_another_payload(self) -> None:
        """The sentence names the event."""
        lines = self.bundle("one")
        event = json.loads(lines[3])
        event["payload"] = "eyJuIjo5fQ=="
        lines[3] = json.dumps(event).encode() + b"\n"
        said = self.refuted(lines)
        self.assertIn("line 4: Event ", said)
        self.assertIn("is version 2 of order::o-1: order_changed", said)
        self.assertIn("its payload, metadata or note is not what was logged", said)

    def test_cut_dropped_swapped_spliced(self) -> None:
        """Events cannot be taken away, change places, or come from another aggregate."""
        lines, whole = self.bundle("one"), self.bundle("all")
        foreign = next(line for line in whole if b'"leaf"' in line)  # of o-0
        for wrong, why in (
            (lines[:-1], "it is cut off"),
            (lines[:4] + lines[5:], "it stands where order::o-1, version 3 should"),
            ([*lines[:5], *lines[6:]], "the 3 events of order::o-1 are not the 4 that it has"),
            ([*lines[:3], lines[4], lines[3], *lines[5:]], "where order::o-1, version 2 should"),
            ([*lines[:2], foreign, *lines[3:]], "it stands where order::o-1, version 1 should"),
            ([*lines[:-1], b'{"aggregates":1,"events":3}\n'], "as much as its last line says"),
            ([lines[0], lines[-1]], "does not hold as much"),
        ):
            self.assertIn(why, self.refuted(wrong))

    def test_an_aggregate_left_out(self) -> None:
        """Out of everything none can be left; of a type nobody claims that it is all."""

        def without(name: str, gone: str) -> list[bytes]:
            lines = self.bundle(name)
            begin = next(p for p, line in enumerate(lines) if gone.encode() in line)
            kept = lines[:begin] + lines[begin + 5 : -1]
            last = json.loads(lines[-1])
            last = {"aggregates": last["aggregates"] - 1, "events": last["events"] - 4}
            return [*kept, json.dumps(last).encode() + b"\n"]

        self.assertIn("aggregates of the map are not in it", self.refuted(without("all", "o-2")))
        said = self.proven(without("type", "o-2"))
        self.assertIn("Nothing is proven of aggregates that are not in the bundle.", said)

    def test_another_key(self) -> None:
        """Somebody else's log of the same name is refuted; a key that is none is wrong usage."""
        other = Workspace(Path(self.empty) / "other")
        other.run("aggregate", "create", "order", "o-1", "--event", "made")
        other.run("audit", "export", "order", "o-1", "--out", "x.dbx-audit")
        lines = (other.folder / "x.dbx-audit").read_bytes().splitlines(keepends=True)
        shutil.rmtree(other.folder)
        self.assertIn("is not signed with the key of the log", self.refuted(lines))
        self.assertEqual(self.verify(lines, "--witness", "nonsense").returncode, 2)

    def test_commands(self) -> None:
        """``dbx audit check`` says the same; files that are there are not written over."""
        said = self.space.run("audit", "check", "one.dbx-audit", "--key", self.key)
        self.assertEqual(said, self.proven(self.bundle("one")))
        done = self.space.attempt(
            "audit", "check", "one.dbx-audit", "--key", self.key[:-4] + "AAAA"
        )
        self.assertEqual(done.returncode, 2)
        done = self.space.attempt("audit", "export", "--out", "one.dbx-audit")
        self.assertIn("is there already", done.stderr)
        done = self.space.attempt("audit", "export", "nothing", "--out", "n.dbx-audit")
        self.assertEqual(done.returncode, 1)
        done = self.space.attempt("audit", "export", "order", "none", "--out", "n.dbx-audit")
        self.assertIn("not found", done.stderr)
        left = [path.name for path in self.space.folder.iterdir() if "n.dbx" in path.name]
        self.assertEqual(left, [])
        text = self.space.run("audit", "verifier")
        self.assertEqual(text, (self.empty / "verify.py").read_text())

"""``dbx proof`` without and beside a server; what it writes is checked with the key alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from eventdbx.application.checkpoint_keys import signer_of
from eventdbx.services.workspace import open_workspace
from tests.daemon import ROOT, running
from tests.surfaces.command_line import CommandLineCase, Ended


class ProofCase(CommandLineCase):
    """A home with some events."""

    def setUp(self) -> None:
        super().setUp()
        self.create("order", "o-1", "--field", "total:=12", "--note", "first")
        for number in range(4):
            self.apply("order", "o-1", "order_paid", "--field", f"part:={number}")
        self.create("order", "o-2")
        self.made = 0

    @property
    def key(self) -> str:
        """The key of the log, as those who verify have it."""
        opened = open_workspace(None, environ=os.environ)
        return signer_of(opened.config.integrity).log_key("default").vkey()

    def out(self, suffix: str = "json") -> str:
        """Return the name of a new file."""
        self.made += 1
        return str(self.home / f"proof-{self.made}.{suffix}")

    def proof(self, *arguments: str, suffix: str = "json") -> str:
        """Make a proof in a file and return its name."""
        out = self.out(suffix)
        self.dbx("proof", *arguments, "--out", out)
        return out

    def check(self, file: str, *options: str) -> dict[str, Any]:
        """Check a file with our command and with the verifier; both must say that it holds."""
        found: dict[str, Any] = self.dbx(
            "proof", "check", file, "--key", self.key, "--json", *options
        ).document
        independent = self.verify(file, *options)
        self.assertEqual(independent.returncode, 0, independent.stdout + independent.stderr)
        self.assertEqual(json.loads(independent.stdout)["kind"], found["kind"])
        return found

    def verify(self, file: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the verifier that imports nothing of ours."""
        program = str(ROOT / "eventdbx" / "verify.py")
        return subprocess.run(
            [sys.executable, "-I", program, file, "--key", self.key, "--json", *options],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def refuted(self, file: str, *options: str) -> str:
        """Check that neither our command nor the verifier takes a file; return our reason."""
        self.assertEqual(self.verify(file, *options).returncode, 1)
        said = self.failed("proof", "check", file, "--key", self.key, *options)
        self.assertIn("NOT PROVEN", said)
        return said

    def event_file(self, number: int = 0, *options: str) -> str:
        """Write the JSON of an event to a file."""
        events = self.dbx("events", "order", "o-1", "--json", *options).document
        file = self.out()
        Path(file).write_text(json.dumps(events[number]))
        return file


class Offline(ProofCase):
    """The store opened by the command itself."""

    def test_event(self) -> None:
        """An event is proven in the log; its JSON is compared, and a change of it noticed."""
        file = self.proof("event", "order", "o-1", "1", suffix="tlog-proof")
        event = self.event_file()
        found = self.check(file, "--event", event)
        self.assertEqual((found["kind"], found["size"]), ("log-event", 6))
        self.assertIn("v1 of order::o-1", found["proves"])
        self.assertIn("are what was logged", found["content"])
        document = json.loads(Path(event).read_text())
        for change in ({"payload": {"total": 13}}, {"event_type": "order_paid"}, {"version": 2},
                       {"metadata": {**document["metadata"], "note": "other"}}, {"more": 1},
                       {"metadata": {**document["metadata"], "issued_by": {"group": "x"}}},
                       {"metadata": {**document["metadata"], "created_at": "2020-01-01"}},
                       {"metadata": {**document["metadata"], "more": 1}}):  # fmt: skip
            Path(event).write_text(json.dumps({**document, **change}))
            self.refuted(file, "--event", event)

    def test_printed(self) -> None:
        """Without a file the proof is on stdout, alone or in a document."""
        text = self.dbx("proof", "event", "order", "o-1", "3").stdout
        self.assertTrue(text.startswith("c2sp.org/tlog-proof@v1\nextra "))
        found = self.dbx("proof", "event", "order", "o-1", "3", "--json").document
        self.assertEqual((found["proof"], found["index"], found["size"]), (text, 2, 6))
        piped = self.out()
        Path(piped).write_text(text)
        lines = self.dbx("proof", "check", piped, "--key", self.key).stdout.splitlines()
        self.assertIn("is entry 2 of the log", lines[0])
        self.assertIn("6 entries", lines[1])

    def test_by_id(self) -> None:
        """The event may be named by its id."""
        events = self.dbx("events", "order", "o-1", "--json").document
        file = self.proof("event", "--event-id", events[2]["metadata"]["event_id"])
        self.assertIn("v3 of order::o-1", self.check(file)["proves"])
        self.assertIn("there is no event 17", self.failed("proof", "event", "--event-id", "17"))

    def test_in_aggregate(self) -> None:
        """An event is proven in the timeline of its aggregate."""
        file = self.proof("event", "order", "o-1", "4", "--in-aggregate")
        found = self.check(file, "--event", self.event_file(3))
        self.assertEqual(found["kind"], "aggregate-event")
        self.assertIn("which had 5 events", found["proves"])

    def test_complete(self) -> None:
        """All events of an aggregate, in order; a list with one less is refused."""
        file = self.proof("aggregate", "order", "o-1")
        self.assertIn("these 5 events are all that order::o-1 had", self.check(file)["proves"])
        document = json.loads(Path(file).read_text())
        del document["events"][-1]
        Path(file).write_text(json.dumps(document))
        self.refuted(file)

    def test_consistency(self) -> None:
        """A checkpoint that somebody kept is the beginning of the log after more was written."""
        proof = self.dbx("proof", "event", "order", "o-1", "3").stdout
        kept = self.out("checkpoint")
        Path(kept).write_text(proof.partition("\n\n")[2])
        self.apply("order", "o-2", "order_paid")
        self.proof("event", "order", "o-2", "2")
        for first, second in ((kept, None), ("6", "7"), (kept, "7")):
            more = () if second is None else ("--to", second)
            file = self.proof("consistency", "--from", first, *more)
            self.assertEqual(self.check(file)["size"], 7)

    def test_growth(self) -> None:
        """A version of an aggregate is the beginning of what it is now."""
        file = self.proof("consistency", "order", "o-1", "--from", "2")
        self.assertIn("the first 2 events of order::o-1", self.check(file)["proves"])
        file = self.proof("consistency", "order", "o-1", "--from", "2", "--to", "4")
        self.assertIn("are the beginning of its first 4; it had 5", self.check(file)["proves"])
        document = json.loads(Path(file).read_text())
        for name in ("first", "second"):
            changed = {**document, name: {**document[name], "root": document["root"]}}
            Path(file).write_text(json.dumps(changed))
            self.refuted(file)

    def test_receipts(self) -> None:
        """The commands that write keep the receipt in a file, and print what they always print."""
        writes = (
            ("create", "order", "o-3", "--event", "order_created"),
            ("create", "order", "o-4", "--event", "order_created", "--json"),
            ("apply", "order", "o-3", "order_paid", "--field", "a=b"),
            ("patch", "order", "o-3", "order_changed",
             "--patch", '[{"op":"add","path":"/c","value":1}]'),
        )  # fmt: skip
        for write in writes:
            out = self.out("tlog-proof")
            ended = self.dbx("aggregate", *write, "--receipt", out)
            self.assertNotIn("receipt", ended.stdout)
            self.assertIn(f"of order::{write[2]}", self.check(out)["proves"])
        self.check(out, "--event", self.written(ended.stdout))

    def written(self, text: str) -> str:
        """Keep what a command printed of the event that it wrote."""
        file = self.out()
        Path(file).write_text(text)
        return file

    def test_receipt_in_the_way(self) -> None:
        """Where the file is there already, nothing is written; nor with a refused event."""
        out = self.written("mine")
        command = ("aggregate", "apply", "order", "o-1", "order_paid")
        self.assertIn("is there already", self.failed(*command, "--receipt", out))
        self.assertEqual(Path(out).read_text(), "mine")
        other = self.out()
        self.failed(*command, "--payload", "{", "--receipt", other)
        self.failed(*command, "--expect-version", "9", "--receipt", other)
        self.assertFalse(Path(other).exists())
        self.assertEqual(len(self.dbx("events", "order", "o-1", "--json").document), 5)

    def test_receipt_that_cannot_be_written(self) -> None:
        """The event is written all the same, and the message says how to ask for the proof."""
        said = self.failed(
            "aggregate", "apply", "order", "o-1", "order_paid",
            "--receipt", str(self.home / "none" / "x"),
        )  # fmt: skip
        self.assertIn("the event was written (v6), but not its receipt", said)
        self.assertEqual(len(self.dbx("events", "order", "o-1", "--json").document), 6)

    def test_refusals(self) -> None:
        """What cannot be proven is refused with the reason."""
        self.proof("event", "order", "o-1", "1")
        for reason, arguments in (
            ("the last is v5", ("event", "order", "o-1", "0")),
            ("the last is v5", ("event", "order", "o-1", "6")),
            ("not found", ("event", "order", "none", "1")),
            ("not found", ("aggregate", "order", "none")),
            ("there is no checkpoint of size 5", ("event", "order", "o-1", "1", "--size", "5")),
            ("there is no checkpoint of size", ("consistency", "--from", str((1 << 64) - 1))),
            ("at least one event", ("consistency", "--from", "0")),
            ("first is the smaller one", ("consistency", "--from", "6", "--to", "5")),
            ("which has v1 to v5", ("consistency", "order", "o-1", "--from", "6")),
            ("which has v1 to v5", ("consistency", "order", "o-1", "--from", "1", "--to", "6")),
            ("no beginning of v2", ("consistency", "order", "o-1", "--from", "3", "--to", "2")),
            ("cannot read", ("consistency", "--from", str(self.home / "none"))),
        ):
            self.assertIn(reason, self.failed("proof", *arguments), arguments)
        torn = self.out()
        Path(torn).write_text("example.org\n5\n")
        self.assertIn("unreadable checkpoint", self.failed("proof", "consistency", "--from", torn))

    def test_usage(self) -> None:
        """Which event, and what of an aggregate, has to be said."""
        for arguments in (
            ("event", "order", "o-1"), ("event", "order", "o-1", "1", "--event-id", "5"),
            ("consistency", "order", "--from", "1"), ("consistency",), ("check", "x"),
            ("consistency", "order", "o-1", "--from", "1", "--to", "x"),
            ("event", "order", "o-1", "1", "--size", "6", "--in-aggregate"),
        ):  # fmt: skip
            self.misused("proof", *arguments)

    def test_files_are_not_replaced(self) -> None:
        """No proof takes the place of another file."""
        out = self.proof("aggregate", "order", "o-1")
        before = Path(out).read_text()
        said = self.failed("proof", "aggregate", "order", "o-2", "--out", out)
        self.assertIn("is there already", said)
        self.assertEqual(Path(out).read_text(), before)

    def test_wrong_keys(self) -> None:
        """A proof under another key, or without the witnesses that are wanted, proves nothing."""
        file = self.proof("event", "order", "o-1", "1")
        other = "example.org/x+6d3ecd3a+AV8W5nYBqi5bHp4qlTpfn8XNTJrBGJmZNnWvzyWxs+lx"
        self.assertIn("the keys cannot be used",
                      self.failed("proof", "check", file, "--key", other + "A"))  # fmt: skip
        said = self.failed("proof", "check", file, "--key", self.key, "--quorum", "1")
        self.assertIn("the keys cannot be used", said)
        changed = Path(file).read_text().replace("\nindex 0\n", "\nindex 1\n")
        moved = self.out()
        Path(moved).write_text(changed)
        self.refuted(moved)


class BesideServer(CommandLineCase):
    """The same through a running server."""

    def setUp(self) -> None:
        super().setUp()
        self.space = running()

    def ask(self, *arguments: str) -> Ended:
        """Run a command against the server."""
        config = str(self.space.folder / ".dbx" / "config.toml")
        return self.dbx("--config", config, *arguments)

    def test_event(self) -> None:
        """The server signs a checkpoint for the event, and the proof is checked without it."""
        one = f"p-{os.getpid()}-{self.id()[-20:].replace('.', '-')}".lower()
        config = str(self.space.folder / ".dbx" / "config.toml")
        self.ask("aggregate", "create", "order", one, "--event", "order_made", "--field", "a=b")
        self.ask("aggregate", "apply", "order", one, "order_paid")
        opened = open_workspace(config, environ={"HOME": str(self.space.folder)})
        key = signer_of(opened.config.integrity).log_key("default").vkey()
        for arguments in (
            ("event", "order", one, "2"),
            ("event", "order", one, "2", "--in-aggregate"),
            ("aggregate", "order", one),
            ("consistency", "order", one, "--from", "1"),
        ):
            file = str(self.home / f"{arguments[0]}{len(arguments)}")
            self.ask("proof", *arguments, "--out", file)
            found = self.dbx("proof", "check", file, "--key", key, "--json").document
            self.assertIn(one, found["proves"])

"""With encryption on nothing of what was written is in any file, and what is readable is a list.

A real server with everything in it is killed, and every file that it has left is searched.
"""

from __future__ import annotations

import base64
import json
import os
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from tests.daemon import Workspace

SECRET = "Zq7xW9k"
"""Every text that must not be found begins so, and nothing else does."""

HIDDEN = {
    name: f"{SECRET}-{name}-that-nobody-reads"
    for name in (
        "payload", "member", "metadata", "note", "archive", "snapshot", "state", "patched",
        "queued", "idempotent", "restored", "batched", "staged",
    )
}  # fmt: skip

READABLE = {
    "type": "order",
    "id": "readable-id-o-1",
    "index": "readable-target-1",
    "published": "readable-reason-of-a-version",
}
"""What keys of the store have in them (docs/encryption.md): these must be found, so that the search
is known to find what is there."""

FAILING = {"type": "http", "endpoint": "http://127.0.0.1:1/"}
"""A plugin that nobody answers, so that the queue keeps what it was to be told."""


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {
        str(one.relative_to(folder)): one.read_bytes()
        for one in sorted(folder.rglob("*"))
        if one.is_file()
    }


def forms(text: str) -> list[bytes]:
    """Return a text as it might be written, also within base64, wherever that begins."""
    found = [text.encode(), text.encode("utf-16-le")]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + text.encode())
        # Without what the bytes before and behind it have a part in.
        inner = encoded[-(-shift * 4 // 3) : (shift + len(text)) * 4 // 3]
        found += [inner] if len(inner) > len(SECRET) else []
    return found


class Nothing(SynchronousTestCase):
    """Every file of an installation."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(self.space.stop, signal.SIGKILL)
        self.key = base64.b64encode(os.urandom(32)).decode()
        folder = self.space.folder / ".dbx"
        for name in ("tokens.json", "tokens.journal", "cli.token"):
            (folder / name).unlink(missing_ok=True)
        lines = (folder / "config.toml").read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("data_encryption_key")]
        self.assertEqual(len(kept), len(lines) - 1)
        (folder / "config.toml").write_text("".join(kept))
        self.space._environment["EVENTDBX_DATA_ENCRYPTION_KEY"] = self.key

    def found(self, text: str) -> list[str]:
        """Return the files in which a text is, in whatever form."""
        wanted = forms(text)
        return [
            name
            for name, content in files(self.space.folder).items()
            if any(form in content for form in wanted)
        ]

    def test_the_search(self) -> None:
        """A text is found as it is, and within base64."""
        for before in (b"", b"a", b"ab", b"abc"):
            text = base64.b64encode(before + HIDDEN["note"].encode() + b"z")
            self.assertTrue(any(form in text for form in forms(HIDDEN["note"])), before)

    def fill(self) -> str:
        """Write something of everything; return a token that was issued."""
        hidden = HIDDEN
        name = READABLE["id"]
        reference = ("--type", "reference", "--reference-integrity", "weak")
        self.space.run("schema", "create", "order", "-e", "made", "-e", "changed", "-e", "kept")
        self.space.run("schema", "field", "order", "owner", *reference)
        with BlockingClient("127.0.0.1", self.space.port, self.space.token) as client:
            client.append("order", READABLE["index"], "made", {"a": 1})
            entry = {"name": "far", "config": FAILING}
            client.plugins({"do": "configure", "entry": entry})
            client.append(
                "order", name, "made",
                {"text": hidden["payload"], hidden["member"]: 1,
                 "owner": f"default#order#{READABLE['index']}"},
                metadata={"@text": hidden["metadata"]},
                note=hidden["note"],
                idempotency_key=hidden["idempotent"],
            )  # fmt: skip
            client.append("order", name, "changed", {"state": hidden["state"]})
            patch = [{"op": "add", "path": "/patched", "value": hidden["patched"]}]
            client.patch("order", name, "changed", patch)
            client.append("order", "o-2", "made", {"text": hidden["queued"]})
            client.append("order", "o-3", "made", {"text": [{"deep": hidden["batched"]}]})
            client.archive("order", "o-2", hidden["archive"])
            client.restore("order", "o-3", hidden["restored"])
            staged = {
                "kind": "apply", "aggregate_type": "order", "aggregate_id": name,
                "event_type": "kept", "content_json": json.dumps({hidden["staged"]: 1}),
                "metadata_json": json.dumps({"@text": hidden["staged"]}),
                "note": hidden["staged"], "idempotency_key": hidden["staged"],
            }  # fmt: skip
            client.staging({"do": "stage", "writes": [staged]})
            client.schema({"do": "publish", "force": True, "reason": READABLE["published"]})
        self.space.run("aggregate", "snapshot", "order", name, "--comment", hidden["snapshot"])
        made = self.space.run(
            "token", "generate", "--group", "g", "--user", "u", "--action", "aggregate.read",
            "--json",
        )  # fmt: skip
        token: str = json.loads(made)["token"]
        return token

    def check(self, token: str) -> None:
        """Nothing hidden is in any file, nor is the key, nor a token; everything can be read."""
        for text in READABLE.values():
            self.assertTrue(self.found(text), text)
        for text in (SECRET, *HIDDEN.values(), self.key, token, token.rpartition(".")[2]):
            self.assertEqual(self.found(text), [], text)
        raw = base64.b64decode(self.key)
        self.assertEqual([name for name, text in files(self.space.folder).items() if raw in text],
                         [])  # fmt: skip

    def test_killed(self) -> None:
        """The key comes from the environment and is in no file."""
        config = self.space.folder / ".dbx" / "config.toml"
        self.space.start()
        token = self.fill()
        self.space.stop(signal.SIGKILL)
        self.check(token)
        shown = self.space.run("events", "order", READABLE["id"], "--json")
        for name in ("payload", "metadata", "note", "state"):
            self.assertIn(HIDDEN[name], shown)
        self.assertNotIn(self.key, config.read_text())
        self.check(token)

    def test_turned_on(self) -> None:
        """What was written plain is sealed once encryption is on, and gone from every file."""
        self.space.run("config", "--set", "encryption=false")
        self.space.start()
        token = self.fill()
        self.space.stop()
        for name in ("payload", "note", "metadata", "state", "snapshot", "archive"):
            self.assertTrue(self.found(HIDDEN[name]), name)
        before = json.loads(self.space.run("events", "order", READABLE["id"], "--json"))
        report = json.loads(self.space.run("keys", "status", "--json"))
        self.assertGreater(report["domains"][0]["plain"], 20)
        self.space.run("config", "--set", "encryption=true")
        self.space.start()
        self.space.wait_for_log("everything that was plain is sealed")
        report = json.loads(self.space.run("keys", "status", "--json"))
        self.assertEqual(report["domains"][0]["plain"], 0)
        self.space.stop()
        self.check(token)
        self.assertEqual(
            json.loads(self.space.run("events", "order", READABLE["id"], "--json")), before
        )
        self.assertIn("verified", self.space.run("verify"))

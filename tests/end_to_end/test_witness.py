"""Two servers: one signs checkpoints of its log, the other cosigns them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib import request as url_request

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.checkpoint_keys import verify
from eventdbx.domain.checkpoints import Trust, check_checkpoint
from eventdbx.domain.notes import parse_note, parse_vkey
from tests.daemon import Workspace, free_port

WAIT_S = 30.0


def installation(folder: Path) -> tuple[Workspace, int]:
    """Return a database whose server has a port for health."""
    workspace, port = Workspace(folder), free_port()
    workspace.run("config", "--port", str(port))
    return workspace, port


class Witnessed(SynchronousTestCase):
    """A log and its witness, as a user sets them up."""

    def test_log_and_witness(self) -> None:
        """Keys are exchanged; from then on checkpoints carry the witness's word, also after both
        have been stopped; tiles and checkpoint are there for everybody."""
        folder = Path(mkdtemp(dir=Path(self.mktemp()).parent))
        log, log_port = installation(folder / "log")
        witness, witness_port = installation(folder / "witness")
        log_key = self.keys(log)["log"]
        witness_key = self.keys(witness)["witness"]
        witness.run("config", "--set", f"integrity.witnessed_logs={log_key}")
        url = f"http://127.0.0.1:{witness_port}/tlog/witness"
        log.run("config", "--set", f"integrity.witnesses={witness_key} {url}")
        log.run("config", "--set", "integrity.checkpoint_interval_ms=50")
        size = 0
        for _round in range(2):
            log.start(log_port)
            self.addCleanup(log.stop)
            witness.start(witness_port)
            self.addCleanup(witness.stop)
            for _number in range(3):
                size += 1
                log.run("aggregate", "create", "order", f"o-{size}", "--event", "made")
            self.wait_until_witnessed(log, size)
            body = self.fetch(log_port, "/tlog/default/checkpoint")
            keys = parse_vkey(log_key), parse_vkey(witness_key)
            trust = Trust(keys[0].name, keys[:1], keys[1:], 1)
            self.assertEqual(
                check_checkpoint(parse_note(body), trust, verify).checkpoint.size, size
            )
            self.assertEqual(len(self.fetch(log_port, f"/tlog/default/tile/0/000.p/{size}")),
                             32 * size)  # fmt: skip
            log.stop()
            witness.stop()
        kept = json.loads((witness.folder / ".dbx" / "witness.json").read_text())
        self.assertEqual(kept["logs"][parse_vkey(log_key).name]["size"], size)

    def keys(self, workspace: Workspace) -> dict[str, Any]:
        """Return the keys of an installation."""
        found: dict[str, Any] = json.loads(workspace.run("checkpoint", "--key", "--json"))
        return found

    def wait_until_witnessed(self, log: Workspace, size: int) -> None:
        """Return when the witness has seen so many events."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            found = json.loads(log.run("checkpoint", "--json"))
            if found["witnessed_size"] == size:
                self.assertEqual(found["unwitnessed"], {})
                return
        self.fail(f"not cosigned: {found}\n{log.log}")

    def fetch(self, port: int, path: str) -> bytes:
        """Return what everybody may read."""
        with url_request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            body: bytes = answer.read()
        return body

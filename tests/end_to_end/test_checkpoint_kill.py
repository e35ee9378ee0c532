"""What strangers were shown before a kill -9 is still the beginning of the log after it."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from urllib import request as url_request
from urllib.error import HTTPError, URLError

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.checkpoint_keys import verify
from eventdbx.client import BlockingClient
from eventdbx.domain.checkpoints import Checkpoint, Trust, check_checkpoint
from eventdbx.domain.merkle import root_of
from eventdbx.domain.notes import parse_note, parse_vkey
from eventdbx.domain.tiles import TILE_WIDTH, Tile
from eventdbx.errors import EventDBXError
from tests.daemon import Workspace, free_port

ROUNDS = 3
SEEN_MIN = 25
"""Different checkpoints that are fetched before the server is killed."""


class CheckpointKill(SynchronousTestCase):
    """A server that signs each group of commits, written to from two sides."""

    def setUp(self) -> None:
        self.space = Workspace(Path(mkdtemp(dir=Path(self.mktemp()).parent)) / "database")
        self.http = free_port()
        self.space.run("config", "--port", str(self.http))
        self.space.run("config", "--set", "integrity.checkpoint=commit")
        self.addCleanup(self.space.stop, signal.SIGKILL)
        line = self.space.run("checkpoint", "--key").splitlines()[0]
        key = parse_vkey(line.removeprefix("log: "))
        self.trust = Trust(key.name, (key,))

    def write(self, name: str) -> None:
        """Append until the server is gone."""
        client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        with contextlib.suppress(EventDBXError, OSError):
            while True:
                client.append("order", name, "paid", {"amount": 1})

    def fetch(self, path: str) -> bytes:
        """Return what everybody may read."""
        url = f"http://127.0.0.1:{self.http}/tlog/default/{path}"
        with url_request.urlopen(url, timeout=10) as answer:
            body: bytes = answer.read()
        return body

    def checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint that is served, None before there is one."""
        try:
            note = parse_note(self.fetch("checkpoint"))
        except HTTPError:
            return None
        return check_checkpoint(note, self.trust, verify).checkpoint

    def leaves(self, size: int) -> list[bytes]:
        """Return the leaf hashes of the log, from its tiles."""
        found = b""
        for index in range((size + TILE_WIDTH - 1) // TILE_WIDTH):
            width = min(TILE_WIDTH, size - index * TILE_WIDTH)
            found += self.fetch(Tile(0, index, width).path())
        return [found[at : at + 32] for at in range(0, len(found), 32)]

    def test_consistent_over_kills(self) -> None:
        """Every checkpoint that was seen in any round fits the log of the end."""
        seen: dict[int, bytes] = {}
        for _round in range(ROUNDS):
            self.space.start(self.http)
            writers = [Thread(target=self.write, args=(f"o-{number}",)) for number in range(2)]
            for writer in writers:
                writer.start()
            target = len(seen) + SEEN_MIN
            while len(seen) < target:
                with contextlib.suppress(URLError):
                    found = self.checkpoint()
                    if found is not None:
                        self.assertEqual(seen.setdefault(found.size, found.root), found.root)
            self.space.stop(signal.SIGKILL)
            for writer in writers:
                writer.join()
        self.space.start(self.http)
        self.space.run("checkpoint", "--sign")
        last = self.checkpoint()
        assert last is not None
        self.assertGreaterEqual(last.size, max(seen))
        leaves = self.leaves(last.size)
        self.assertEqual(root_of(leaves), last.root)
        for size, root in seen.items():
            self.assertEqual(root_of(leaves[:size]), root, size)
        self.space.stop()
        self.assertEqual(self.space.run("verify").split()[0], "verified")

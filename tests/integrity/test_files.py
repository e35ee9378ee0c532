"""Changed bytes in the files of a closed store: it is not opened, or verification says so.

Never is there silently less than before.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

from eventdbx.errors import StorageError
from eventdbx.storage import keys
from eventdbx.storage.rocks import RocksStore
from tests.integrity.stores import AttackCase, BuiltStore, passed

TABLE_FLIPS = 60
LOG_FLIPS = 40


class FileCase(AttackCase):
    """A store on the disk, copied before each change."""

    def setUp(self) -> None:
        seed = os.environ.get("FLIP_SEED") or str(int.from_bytes(os.urandom(4), "big"))
        self.random = Random(seed)
        self.seed = f"FLIP_SEED={seed}"
        self.folder = Path(self.mktemp())
        self.built = BuiltStore(RocksStore.open(str(self.folder)), None)
        self.built.fill(100)
        self.note = self.built.sign()
        self.pairs = list(self.built.above.view().scan(b"\x01", b"\xff"))
        self.told = 0

    def flipped(self, pattern: str, number: int) -> None:
        """Change a byte of a file of a copy; open the copy and verify it."""
        copy = Path(f"{self.folder}-{number}")
        shutil.copytree(self.folder, copy)
        self.addCleanup(shutil.rmtree, copy)
        path = self.random.choice(
            sorted(path for path in copy.glob(pattern) if path.stat().st_size)
        )
        content = bytearray(path.read_bytes())
        at = self.random.randrange(len(content.rstrip(b"\x00")))
        content[at] ^= self.random.randrange(1, 256)
        path.write_bytes(content)
        where = f"{path.name}, byte {at} of {len(content)} ({self.seed})"
        try:
            below = RocksStore.open(str(copy))
        except StorageError:
            self.told += 1
            return
        try:
            self.look(below, where)
        finally:
            below.close()

    def look(self, below: RocksStore, where: str) -> None:
        """Verify a store with a changed byte; if nothing is found, all must be there."""
        try:
            view = BuiltStore(below, None).above.view()
        except StorageError:
            self.told += 1
            return
        found = passed(view, self.note).findings
        if found:
            self.told += 1
            return
        left = list(view.scan(b"\x01", b"\xff"))
        # The newest checkpoint is kept outside as well.
        newest = max(key for key, _note in self.pairs if key.startswith(keys.CHECKPOINT))
        kept, there = (
            [pair for pair in pairs if pair[0] != newest] for pairs in (left, self.pairs)
        )
        self.assertEqual(kept, there, where)

    def test_tables(self) -> None:
        """Bytes of the tables of a store that was closed."""
        self.built.above.close()
        for number in range(TABLE_FLIPS):
            self.flipped("*.sst", number)
        self.assertGreater(self.told, TABLE_FLIPS // 2)

    def test_logs(self) -> None:
        """Bytes of the write-ahead log of a store that was never closed.

        A damaged last batch looks like one that a power cut has torn: what it held must be missed
        by the checkpoint that is kept outside, if it was more than that checkpoint itself.
        """
        self.addCleanup(self.built.above.close)
        for number in range(LOG_FLIPS):
            self.flipped("*.log", number)
        self.assertGreater(self.told, LOG_FLIPS // 2)

    def test_block(self) -> None:
        """One damaged block does not keep the rest from being verified: both are told."""
        self.built.above.close()
        (path,) = [one for one in self.folder.glob("*.sst") if one.stat().st_size > 50_000]
        content = bytearray(path.read_bytes())
        at = len(content) // 2
        content[at : at + 64] = bytes(64)
        path.write_bytes(content)
        below = RocksStore.open(str(self.folder))
        self.addCleanup(below.close)
        found = passed(BuiltStore(below, None).above.view(), self.note)
        self.assertTrue(any("checksum mismatch" in one.message for one in found.findings))
        self.assertTrue(found.checked)
        self.assertGreater(len(found.checked), 20)

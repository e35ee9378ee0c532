"""Both adapters against the contract of the port."""

from __future__ import annotations

import tempfile

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.rocks import RocksStore
from tests.storage.contract import StoreContract


class MemoryTests(StoreContract, SynchronousTestCase):
    """The store in memory."""

    def setUp(self) -> None:
        self.store = MemoryStore()


class RocksTests(StoreContract, SynchronousTestCase):
    """The store on disk."""

    def setUp(self) -> None:
        self.store = RocksStore.open(tempfile.mkdtemp(dir="."))
        self.addCleanup(self.store.close)

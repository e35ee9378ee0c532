"""Both adapters against the contract of the port."""

from __future__ import annotations

import os
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.opening import open_store
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.sealed import SealedStore, Seals
from tests.storage.contract import StoreContract


class MemoryTests(StoreContract, SynchronousTestCase):
    """The store in memory."""

    def setUp(self) -> None:
        self.store = MemoryStore()


class PlainTests(StoreContract, SynchronousTestCase):
    """Values with a checksum, in memory."""

    def setUp(self) -> None:
        self.store = SealedStore(MemoryStore(), Seals(None, seal=False))


class SealedTests(StoreContract, SynchronousTestCase):
    """Sealed values on disk."""

    def setUp(self) -> None:
        path = os.path.join(tempfile.mkdtemp(dir="."), "store")
        self.store = open_store(path, data_keys=[bytes(32)], seal=True)
        self.addCleanup(self.store.close)


class RocksTests(StoreContract, SynchronousTestCase):
    """The store on disk."""

    def setUp(self) -> None:
        self.store = RocksStore.open(tempfile.mkdtemp(dir="."))
        self.addCleanup(self.store.close)

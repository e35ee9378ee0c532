"""Stores with a little of everything in them, to be attacked from above and from below."""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.checkpoint_keys import Signer, verify
from eventdbx.application.checkpointing import Checkpoints
from eventdbx.application.integrity.anchors import Anchors, Kept
from eventdbx.application.integrity.findings import Checked, Finding
from eventdbx.application.integrity.passes import Task, walk
from eventdbx.application.schemas import Catalogue
from eventdbx.application.views import Views
from eventdbx.application.writer import Writer
from eventdbx.domain.checkpoints import Trust, cosign
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.events import Actor
from eventdbx.storage.hops import synchronous
from eventdbx.storage.interfaces import IOrderedStore, IReadView
from eventdbx.storage.keyslots import KeySlots
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.sealed import SealedStore, Seals
from eventdbx.storage.store import Store
from tests.domain.signers import witness_key

ALICE = Actor("people", "alice")
DOMAIN = "default"
SIGNER = Signer("example.org/db", b"\x07" * 32)
WITNESS, WITNESS_SIGN = witness_key("witness.example/w", b"\x08" * 32)
WRAPPING = b"k" * 32
START_NS = 1_767_604_211_123_456_789


def anchors(*kept: bytes) -> Anchors:
    """Return what the log is held against: our key, one witness, and checkpoints kept elsewhere."""
    trusts = {
        number: Trust(key.name, (key,), () if number else (WITNESS,))
        for number, key in ((number, SIGNER.log_key(DOMAIN, number)) for number in (0, 1))
    }
    return Anchors(trusts, verify, tuple(Kept("checkpoint kept elsewhere", note) for note in kept))


def task(*kept: bytes) -> Task:
    """Return what a pass over such a store needs to know."""
    return Task(Views({}), DOMAIN, anchors(*kept))


class Outcome(NamedTuple):
    """What a pass over a whole store came to."""

    checked: list[Checked]
    findings: list[Finding]

    @property
    def records(self) -> set[str]:
        """The names of the bad records."""
        return {one.record for one in self.findings}


def passed(view: IReadView, *kept: bytes) -> Outcome:
    """Return what a pass over everything finds."""
    outcome = Outcome([], [])
    for _place, one in walk(view, task(*kept)):
        if isinstance(one, Checked):
            outcome.checked.append(one)
        elif isinstance(one, Finding):
            outcome.findings.append(one)
    return outcome


class BuiltStore:
    """A store with its writer and its checkpoints. ``below`` is what an attacker has."""

    def __init__(self, below: IOrderedStore, slots: KeySlots | None) -> None:
        self.below = below
        self.above = SealedStore(below, Seals(slots, seal=slots is not None))
        self.store = Store(self.above, hop=synchronous())
        self.now = START_NS
        self._salts = 0
        self.checkpoints = Checkpoints(self.store, DOMAIN, lambda: SIGNER)
        self.writer = self.make_writer()

    def make_writer(self) -> Writer:
        """Return a writer as after a restart."""
        schemas = Catalogue(self.store, clock_ns=self._clock)
        return Writer(
            self.store,
            clock_ns=self._clock,
            entropy=self._entropy,
            rules=schemas.rules,
            new_slot=self.above.seals.new_slot,
        )

    def _clock(self) -> int:
        self.now += 1_000_003
        return self.now

    def _entropy(self, count: int) -> bytes:
        self._salts += 1
        return sha256(self._salts.to_bytes(8, "big")).digest()[:count]

    def write(self, *writes: Write, key: str | None = None) -> None:
        """Commit writes."""
        result(self.writer.write(writes, actor=ALICE, idempotency_key=key, render=len))

    def append(self, identifier: str, content: Any, **rest: Any) -> Write:
        """Return an append to an order."""
        text = orjson.dumps(content)
        return Write("append", "order", identifier, "order_paid", text, **rest)

    def archive(self, identifier: str, *, archived: bool = True) -> None:
        """Archive an order, or bring it back."""
        result(
            self.writer.archive(
                "order", identifier, archived=archived, comment="old", actor=ALICE,
                render=lambda _head: None,
            )
        )  # fmt: skip

    def snapshot(self, identifier: str) -> None:
        """Keep the state of an order."""
        done = self.writer.snapshot("order", identifier, comment="kept", render=lambda one: one)
        result(done)

    def sign(self, *, cosigned: bool = False) -> bytes:
        """Sign a checkpoint of everything; return its note as it is stored."""
        note = result(self.checkpoints.renew())
        if cosigned:
            newest = self.checkpoints.newest()
            assert newest is not None
            line = cosign(note.text, WITNESS, self.now // 1_000_000_000, WITNESS_SIGN)
            note = result(self.checkpoints.add_signatures(newest.size, [line], [WITNESS]))
        return bytes(note.encode())

    def fill(self, aggregates: int) -> None:
        """Commit several events of each aggregate, and some of everything else."""
        for number in range(aggregates):
            name = f"o-{number}"
            rest: dict[str, Any] = {"note": f"note {number}"} if number % 5 == 0 else {}
            if number % 7 == 0:
                rest["metadata"] = orjson.dumps({"@source": "web", "@shop": number})
            if number % 11 == 0:
                rest["publish_targets"] = (PublishTarget("mails", "all", "high"),)
            key = f"key {number}" if number % 10 == 0 else None
            writes = [self.append(name, {"total": number, "by": f"user {number}"}, **rest)]
            writes += [self.append(name, {"step": step}) for step in range(1 + number % 4)]
            self.write(*writes, key=key)
            if number % 9 == 0:
                self.snapshot(name)
                self.write(self.append(name, {"total": number + 1, "text": "after"}))
            if number % 13 == 0:
                self.archive(name)
            if number % 26 == 0:
                self.archive(name, archived=False)
            if number % 50 == 49:
                self.sign(cosigned=number % 100 == 99)
        self.write(self.append("o-1", {"total": 0}))
        self.sign()
        self.write(self.append("o-1", {"total": 1}))


def result(deferred: Deferred[Any]) -> Any:
    """Return what a Deferred has fired with."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    (value,) = found
    if hasattr(value, "raiseException"):
        value.raiseException()
    return value


class AttackCase(SynchronousTestCase):
    """Opens stores in folders of the test's own."""

    def open_plain(self, below: IOrderedStore | None = None) -> BuiltStore:
        """Return a store whose values are not sealed, in memory unless it is given."""
        return BuiltStore(MemoryStore() if below is None else below, None)

    def open_sealed(self, below: IOrderedStore | None = None) -> BuiltStore:
        """Return a store whose values are sealed."""
        slots = KeySlots.create(os.path.join(tempfile.mkdtemp(dir="."), "data_keys"), WRAPPING)
        self.addCleanup(slots.close)
        return BuiltStore(MemoryStore() if below is None else below, slots)

    def on_disk(self) -> RocksStore:
        """Return an empty store on the disk."""
        store = RocksStore.open(tempfile.mkdtemp(dir="."))
        self.addCleanup(store.close)
        return store

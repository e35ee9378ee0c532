"""Erasing while a store that was plain is being sealed, and written."""

from __future__ import annotations

import random

from twisted.internet.defer import Deferred

from eventdbx import limits
from eventdbx.application import datakeys
from eventdbx.application.erasing import Order
from eventdbx.config import Config
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys
from tests.erasure.places import ALICE, KEY, Later, OnDisk, now

ANNA, BEN = "anna-7351@example.org", "ben-7351@example.org"
GONE = ("anna-says-7351", "anna-notes-7351", ANNA)
STAYS = "kept-7351"


class ErasedMeanwhile(OnDisk):
    """A plain store with events about two people, opened again to be sealed."""

    sealed = False

    def config(self) -> Config:
        """Plain at first."""
        return Config(data_encryption_key=KEY, encryption=self.sealed)

    def filled(self) -> None:
        """Write what is there before sealing begins."""
        self.patch(limits, "PURGE_WAITS_S", 0)
        self.patch(datakeys, "SEALED_AT_ONCE", 3)
        for number in range(4):
            self.write(f"o-{number}", {"kept": STAYS})
            self.write(f"o-{number}", {"who": GONE[0]}, subject=ANNA, note=GONE[1])
            self.write(f"o-{number}", {"other": STAYS}, Subject=BEN)
            self.snapshot(f"o-{number}", GONE[0])
        self.archive("o-3", GONE[1])
        self.sealed = True
        self.reopen()

    def meanwhile(self, seed: int) -> None:
        """Erase somebody and an aggregate, seal, wrap and write, in an order of its own."""
        choices = random.Random(seed)
        sealing, erasing, whole = Later(), Later(), Later()

        async def seal() -> None:
            while await self.domain.data_keys.seal_some(sealing):
                pass

        async def erase() -> None:
            await self.domain.erasing.subject(ANNA, Order("asked for", ALICE, erasing))

        async def erase_whole() -> None:
            await self.domain.erasing.aggregate("order", "o-1", Order("asked for", ALICE, whole))

        done = [Deferred.fromCoroutine(one()) for one in (seal, erase, erase_whole)]
        number = 0
        while not all(one.called for one in done):
            busy = [one for one in (sealing, erasing, whole) if one.busy]
            thread = choices.choice(busy)
            try:
                thread.run_one()
            except StorageError:
                continue  # Another one is reading, which waits for its turn here.
            if choices.random() < 0.3:
                number += 1
                self.write("o-0", {f"later{number % 3}": STAYS})
                self.snapshot("o-0", STAYS)
        for one in done:
            self.successResultOf(one)

    def test_in_any_order(self) -> None:
        for seed in range(4):
            with self.subTest(seed=seed):
                self.sealed = False
                self.folder = self.folder / str(seed)
                self.folder.mkdir()
                self.successResultOf(self.domain.store.close())
                self.open()
                self.filled()
                self.meanwhile(seed)
                self.check()

    def check(self) -> None:
        """All is gone that should be, nothing else, and everything has keys of its own."""
        self.assertTrue(self.domain.data_keys.all_sealed)
        self.assertEqual(self.findings(), [])
        self.assertEqual(self.state("o-2"), {"kept": STAYS, "other": STAYS})
        self.assertEqual(self.state("o-1"), {})
        self.assert_gone((*GONE, STAYS))
        view = self.domain.store.view()
        for number in range(4):
            head = eventlog.load_head(view, keys.name("order", f"o-{number}"))
            assert head is not None
            self.assertTrue(head.key_slot and (head.state_slot or number == 1), head)
            for event in self.events(f"o-{number}"):
                self.assertTrue(event.key_slots or event.erased, event[:5] + event[10:11])
            for snapshot in eventlog.snapshots(view, "order", f"o-{number}"):
                self.assertTrue(snapshot.key_slots or snapshot.erased, snapshot)
        copy = self.copy()
        self.successResultOf(self.domain.erasing.subject(BEN, Order("asked for", ALICE, now)))
        self.with_keys_of_today(copy)
        self.successResultOf(self.domain.store.close())
        self.open(copy)
        self.assertEqual(self.state("o-2"), {"kept": STAYS})
        self.successResultOf(self.domain.store.close())
        self.open()

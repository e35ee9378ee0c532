"""Data keys in a server: when they are wrapped anew, what is refused, what happens to trouble."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.config import decode_data_key
from eventdbx.domain.commands import Write
from eventdbx.errors import ConfigError
from eventdbx.services.rekeying import AGAIN_S, PAUSE_S, RekeyingService
from eventdbx.services.reloading import LiveConfiguration, at_once
from eventdbx.services.stores import StoreService
from eventdbx.services.workspace import open_workspace
from eventdbx.storage.hops import synchronous
from tests.application.test_writer import ALICE


class RekeyingCase(SynchronousTestCase):
    """One domain on the disk with a hundred data keys, and a clock."""

    def setUp(self) -> None:
        self.patch(limits, "KEY_SLOTS_WRAPPED_AT_ONCE", 16)
        home = Path(self.mktemp()).resolve()
        environ = {"HOME": os.fspath(home)}
        self.workspace, config = open_workspace(
            os.fspath(home / ".dbx" / "config.toml"), environ=environ
        )
        self.clock = Clock()
        self.run_slowly: Callable[[Callable[[], Any]], Deferred[Any]] = execute
        self.live = LiveConfiguration(
            config, self.workspace, run_slowly=execute, report=lambda: succeed({})
        )
        self.service = RekeyingService(
            self.workspace,
            self.live,
            run_slowly=lambda work: self.run_slowly(work),
            run_on_files=execute,
            clock=self.clock,
        )
        self.stores = StoreService(
            config,
            store_path=self.workspace.store_path,
            plugins_path=self.workspace.plugins_path,
            make_hop=synchronous,
            clock=self.clock,
            on_failure=lambda failure: None,
        )
        self.stores.on_open.append(self.service.add)
        self.live.keys = self.service
        self.live.parts += [self.service.take_up, at_once(self.stores.take_up)]
        self.stores.startService()
        self.addCleanup(self.stores.stopService)
        self.service.startService()
        self.domain = self.stores.domain(None)
        writes = [Write("create", "order", f"o-{n}", "made", "{}") for n in range(100)]
        self.successResultOf(
            self.domain.writer.write(writes, actor=ALICE, idempotency_key=None, render=len)
        )
        self.path = self.workspace.data_dir / "data_keys"

    def rotate(self) -> None:
        self.successResultOf(self.live.rotate_data_key())

    def work(self, times: int = 1_000) -> None:
        """Let the service go on for so many pauses."""
        for _ in range(times):
            self.clock.advance(PAUSE_S)

    def wrapped(self) -> bool:
        """Tell whether the present key wraps the file."""
        key = self.live.config.data_encryption_key
        assert key is not None
        return self.domain.data_keys.is_wrapped_by(decode_data_key(key))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.successResultOf(self.service.status())
        return found


class RotationTests(RekeyingCase):
    """Another key, while everything goes on."""

    def test_in_steps(self) -> None:
        """Some keys at a time, with pauses; the status says how far it is and when it is over."""
        self.rotate()
        first = self.status()["domains"][0]
        self.assertEqual(first["wrapped_by"], "older")
        done, count = first["rewrapping"]
        self.assertTrue(0 < done < count, first)
        self.work(2)
        self.assertGreater(self.status()["domains"][0]["rewrapping"][0], done)
        self.assertFalse(self.wrapped())
        self.work()
        self.assertTrue(self.wrapped())
        found = self.status()
        self.assertEqual(found["domains"][0]["wrapped_by"], "present")
        self.assertFalse(found["older_keys_needed"])

    def test_older_key_is_needed_meanwhile(self) -> None:
        """A configuration without the key that wraps a store is refused as a whole."""
        self.rotate()
        before = self.workspace.config_path.read_text()
        refused = self.live.change({"data_encryption_keys": None, "page_limit": 77})
        error = self.failureResultOf(refused, ConfigError).value
        self.assertIn("domain 'default'", str(error))
        self.assertEqual(self.workspace.config_path.read_text(), before)
        self.assertNotEqual(self.live.config.page_limit, 77)
        self.work()
        self.successResultOf(self.live.change({"data_encryption_keys": None}))
        self.assertEqual(self.live.config.data_encryption_keys, ())
        self.assertEqual(len(self.workspace.data_keys), 1)

    def test_twice(self) -> None:
        """A key that is changed again half-way: the newest one wraps the file in the end."""
        self.rotate()
        self.work(2)
        self.rotate()
        self.work()
        self.assertTrue(self.wrapped())
        self.assertEqual(self.status()["older_keys"], 2)

    def test_stopped(self) -> None:
        """A stop between two steps leaves the file as it was, and nothing beside it."""
        before = self.path.read_bytes()
        self.rotate()
        self.work(2)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.path.read_bytes(), before)
        self.assertFalse(self.path.with_name("data_keys.new").exists())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_waits_for_a_step(self) -> None:
        """A step that is on a thread is over before the store may be closed."""
        held: list[tuple[Deferred[Any], Callable[[], Any]]] = []

        def hold(work: Callable[[], Any]) -> Deferred[Any]:
            held.append((Deferred(), work))
            return held[-1][0]

        self.run_slowly = hold
        self.rotate()
        stopping = self.service.stopService()
        self.assertNoResult(stopping)
        waiting, work = held.pop()
        waiting.callback(work())
        self.successResultOf(stopping)
        self.assertFalse(self.wrapped())

    def test_trouble(self) -> None:
        """A damaged slot is named, nothing is changed, and it is tried again later."""
        slots = self.domain.data_keys.slots
        assert slots is not None
        content = bytearray(self.path.read_bytes())
        with self.path.open("r+b") as file:
            file.seek(128 + 64 * 30 + 20)
            file.write(bytes((content[128 + 64 * 30 + 20] ^ 1,)))
        self.rotate()
        self.work(20)
        self.assertFalse(self.wrapped())
        self.assertIn("damaged at the data key 31", self.domain.data_keys.trouble or "")
        with self.path.open("r+b") as file:
            file.write(content)
        self.clock.advance(AGAIN_S)
        self.work()
        self.assertTrue(self.wrapped())
        self.assertIsNone(self.domain.data_keys.trouble)

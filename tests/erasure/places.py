"""A domain on disk, sealed or plain, and looking for bytes in all that is stored of it."""

from __future__ import annotations

import shutil
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.domains import Domain
from eventdbx.application.erasing import Erased, Order
from eventdbx.application.integrity.findings import Finding
from eventdbx.application.integrity.passes import Task, walk
from eventdbx.config import Config
from eventdbx.domain.commands import Write
from eventdbx.domain.events import Actor, Event
from eventdbx.services.stores import open_domain
from eventdbx.storage import eventlog, keys
from eventdbx.storage.hops import synchronous

ALICE = Actor("ops", "alice")
KEY = b64encode(bytes(range(32))).decode()


def now(work: Any) -> Deferred[Any]:
    """Run at once what belongs on a thread."""
    try:
        return succeed(work())
    except Exception as error:
        return fail(error)


class Later:
    """Keeps what belongs on a thread until a test runs it."""

    def __init__(self) -> None:
        self._held: list[tuple[Any, Deferred[Any]]] = []

    def __call__(self, work: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self._held.append((work, done))
        return done

    @property
    def busy(self) -> bool:
        """Whether there is something to run."""
        return bool(self._held)

    def run_one(self) -> None:
        """Run the oldest piece of work."""
        work, done = self._held[0]
        result = work()
        del self._held[0]
        done.callback(result)

    def run_all(self) -> None:
        """Run work until there is none."""
        while self._held:
            self.run_one()


def config_of(sealed: bool) -> Config:
    """Return a configuration with a key, or without one."""
    return Config(data_encryption_key=KEY if sealed else None, encryption=sealed)


def holds(folder: Path, text: str) -> list[str]:
    """Return the files below a folder that have a text in them."""
    needle = text.encode()
    files = (path for path in folder.rglob("*") if path.is_file())
    return [str(path.relative_to(folder)) for path in files if needle in path.read_bytes()]


class OnDisk(SynchronousTestCase):
    """A domain in a folder of its own."""

    sealed = True

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.open()
        self.addCleanup(lambda: self.domain.store.close())

    def config(self) -> Config:
        """Return the configuration of the domain."""
        return config_of(self.sealed)

    def open(self, folder: Path | None = None) -> None:
        """Open the domain, or a copy of it elsewhere."""
        path = (folder or self.folder) / "store"
        self.domain: Domain = open_domain("default", path, self.config(), hop=synchronous())

    def reopen(self) -> None:
        """Close the domain and open it again."""
        self.successResultOf(self.domain.store.close())
        self.open()

    def write(
        self,
        identifier: str,
        payload: dict[str, Any],
        *,
        subject: str | None = None,
        event_type: str = "made",
        note: str | None = None,
        **metadata: str,
    ) -> Event:
        """Append an event to an order and return it."""
        extensions: dict[str, str] = {f"@{key}": value for key, value in metadata.items()}
        if subject is not None:
            extensions["@subject"] = subject
        write = Write(
            "append", "order", identifier, event_type, orjson.dumps(payload),
            orjson.dumps(extensions).decode() if extensions else None, note=note,
        )  # fmt: skip
        writing = self.domain.writer.write((write,), actor=ALICE, render=lambda done: done[0].event)
        return self.successResultOf(writing)

    def archive(self, identifier: str, comment: str, *, archived: bool = True) -> None:
        """Archive an order, or bring it back."""
        done = self.domain.writer.archive(
            "order", identifier, archived=archived, comment=comment, actor=ALICE,
            render=lambda head: head,
        )  # fmt: skip
        self.successResultOf(done)

    def snapshot(self, identifier: str, comment: str) -> int:
        """Take a snapshot of an order; return its id."""
        taken = self.domain.writer.snapshot(
            "order", identifier, comment=comment, render=lambda one: one.snapshot_id
        )
        return self.successResultOf(taken)

    def erase(self, identifier: str, **options: Any) -> Erased:
        """Erase an order."""
        erasing = self.domain.erasing.aggregate(
            "order", identifier, Order("asked for", ALICE, now, **options)
        )
        return self.successResultOf(erasing)

    def erase_subject(self, subject: str, **options: Any) -> Erased:
        """Erase somebody."""
        erasing = self.domain.erasing.subject(subject, Order("asked for", ALICE, now, **options))
        return self.successResultOf(erasing)

    def events(self, identifier: str) -> list[Event]:
        """Return the events of an order."""
        return list(eventlog.events(self.domain.store.view(), keys.name("order", identifier)))

    def state(self, identifier: str) -> dict[str, Any]:
        """Return the state of an order as readers see it."""
        head = self.domain.reader().aggregate("order", identifier)
        assert head is not None
        return dict(head.state)

    def findings(self) -> list[str]:
        """Return what verification of the whole store finds."""
        domain = self.domain
        task = Task(domain.schemas.in_force.views, domain.name)
        passed = walk(domain.store.view(), task)
        return [str(found) for _place, found in passed if isinstance(found, Finding)]

    def copy(self) -> Path:
        """Return a consistent copy of the store as it is now, with today's keys linked."""
        copy = Path(self.mktemp())
        copy.mkdir()
        self.domain.store._backend.checkpoint(str(copy / "store"))
        return copy

    def with_keys_of_today(self, copy: Path) -> Path:
        """Put the file of data keys beside a copy of the store."""
        if self.sealed:
            shutil.copy(self.folder / "data_keys", copy / "data_keys")
        return copy

    def assert_gone(self, texts: Sequence[str], *folders: Path) -> None:
        """Fail if any of the texts is in any file."""
        for folder in folders or (self.folder,):
            for text in texts:
                self.assertEqual(holds(folder, text), [], text)

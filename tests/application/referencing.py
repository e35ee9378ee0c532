"""A domain whose farms refer to things, for the tests of references."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import errors
from eventdbx.application.domains import Domain
from eventdbx.application.reader import Reader
from eventdbx.application.referrers import Referrer, verify_referrers
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Authorise, Committed, Writer, allow_all
from eventdbx.domain.aggregate import Head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.commands import Write, WriteKind
from eventdbx.domain.events import Event
from eventdbx.settings import Restrict
from eventdbx.storage import keys
from eventdbx.storage.interfaces import IHop, IOrderedStore
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Durability, Store, Transaction, synchronous

START_NS = 1_767_604_211_123_000_000


def link(**rule: Any) -> dict[str, Any]:
    """Return the JSON of a column of references."""
    return {"type": "text", "format": "reference", "reference": rule}


def schema(name: str, **columns: Any) -> dict[str, Any]:
    """Return the JSON of a schema with one event that admits anything."""
    return {"aggregate": name, "column_types": columns, "events": {"changed": {"fields": []}}}


def names(place: str) -> tuple[str, str]:
    """Return type and id of ``type/id``."""
    aggregate_type, _slash, aggregate_id = place.partition("/")
    return aggregate_type, aggregate_id


class ReferenceCase(SynchronousTestCase):
    """One domain on a store; ``domain`` is its name in references."""

    restrict: Restrict = "default"
    none_blocks = False
    durability: Durability = "always"

    def setUp(self) -> None:
        self.now = START_NS
        self.backend: IOrderedStore = MemoryStore()
        self.open(synchronous())

    def open(self, hop: IHop) -> None:
        """Begin as after a restart, with nothing in memory."""
        self.store = Store(self.backend, hop=hop, durability=self.durability)
        self.schemas = Catalogue(
            self.store,
            clock_ns=self.clock,
            restrict=self.restrict,
            domain="default",
            none_blocks=self.none_blocks,
        )
        self.writer = Writer(
            self.store,
            clock_ns=self.clock,
            entropy=lambda count: bytes(count),
            rules=self.schemas.rules,
        )
        self.domain = Domain("default", self.store, self.writer, self.schemas)

    def index_some(self, kind: str) -> None:
        """Index a few aggregates of a type, as the background does."""

        def step(transaction: Transaction) -> None:
            self.schemas.indexing.advance(transaction, self.schemas.in_force, kind)

        self.successResultOf(self.store.transact(step))

    def follow(self) -> None:
        """Let all that derives from events follow the schemas."""
        self.domain.folding.start(lambda work: succeed(work()))
        self.successResultOf(self.domain.folding.stop())
        self.assertEqual(self.schemas.indexing.unindexed, {})

    def clock(self) -> int:
        self.now += 1_000_000
        return self.now

    def declare(self, *schemas: dict[str, Any]) -> None:
        """Put these schemas in force, in place of all others."""
        text = orjson.dumps({one["aggregate"]: one for one in schemas})
        self.successResultOf(self.schemas.replace(self.schemas.prepare(text)))

    def writing(
        self,
        place: str,
        payload: Any,
        *,
        kind: WriteKind = "append",
        authorise: Authorise = allow_all,
    ) -> Deferred[Event]:
        """Write one event of ``type/id``."""
        content = orjson.dumps(payload)
        write = Write(kind, *names(place), "changed", content)

        def first(done: list[Committed]) -> Event:
            return done[0].event

        return self.writer.write((write,), actor=None, authorise=authorise, render=first)

    def write(self, place: str, payload: Any = None, **options: Any) -> Event:
        """Write one event, by default with an empty payload, and return it."""
        content = {} if payload is None else payload
        return self.successResultOf(self.writing(place, content, **options))

    def refused(self, place: str, payload: Any, **options: Any) -> str:
        """Return why an event may not be written; nothing of it is."""
        before = self.everything()
        error = self.failureResultOf(self.writing(place, payload, **options)).value
        assert isinstance(error, errors.EventDBXError)
        self.assertEqual(self.everything(), before)
        return str(error)

    def archiving(self, place: str, archived: bool = True) -> Deferred[Head]:
        """Archive ``type/id``, or bring it back."""
        return self.writer.archive(
            *names(place),
            archived=archived,
            comment=None,
            actor=None,
            render=lambda head: head,
        )

    def archive(self, place: str, archived: bool = True) -> Head:
        """Archive ``type/id`` and return its head."""
        return self.successResultOf(self.archiving(place, archived))

    def archive_refused(self, place: str) -> str:
        """Return why an aggregate may not be archived; nothing changes."""
        before = self.everything()
        error = self.failureResultOf(self.archiving(place)).value
        assert isinstance(error, errors.SchemaViolation)
        self.assertEqual(self.everything(), before)
        return error.detail

    @property
    def reader(self) -> Reader:
        """Return a reader of what is durable."""
        return Reader(self.store.view(), self.schemas.in_force)

    def state(self, place: str) -> dict[str, JSON]:
        """Return the state of ``type/id``."""
        head = self.reader.aggregate(*names(place))
        assert head is not None
        return head.state

    def referrers(self, place: str) -> list[Referrer]:
        """Return who refers to ``type/id``."""
        return list(self.reader.referrers("default", *names(place)))

    def everything(self) -> list[tuple[bytes, bytes]]:
        """Return the whole store."""
        return list(self.store.view().scan(b"", b"\xff"))

    def index(self) -> set[tuple[str, ...]]:
        """Return the index of referrers: target's domain, type, id; referrer's type, id; path."""
        view = self.store.view()
        found = view.scan(keys.REFERRER, keys.after(keys.REFERRER))
        return {keys.split_referrer(key) for key, _empty in found}

    def faults(self) -> list[str]:
        """Return what verification says of the index."""
        found = verify_referrers(self.store.view(), self.schemas.in_force, domain="default")
        return [one.message for one in found]

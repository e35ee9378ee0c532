"""Quotas: what is refused when a store holds as much as it may, and what is not."""

from __future__ import annotations

import os

import orjson
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.auditing import Action, AuditTrail
from eventdbx.application.domains import Domain
from eventdbx.application.quotas import Quota
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.commands import Write, WriteKind
from eventdbx.domain.events import Actor
from eventdbx.domain.grants import Grant
from eventdbx.domain.tenants import MIB
from eventdbx.errors import TenantQuota, Unauthorized
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import Store, synchronous

KIM = Actor("ops", "kim")
REACHED = "tenant quota exceeded: tenant 'acme' reached storage quota ({} MB)"


class Limited(SynchronousTestCase):
    """A writer on a RocksDB, whose memory is its own."""

    def setUp(self) -> None:
        self.store = Store(RocksStore.open(self.mktemp()), hop=synchronous(), durability="never")
        self.addCleanup(lambda: self.successResultOf(self.store.close()))
        schemas = Catalogue(self.store, clock_ns=lambda: 10**18)
        self.writer = Writer(
            self.store, clock_ns=lambda: 10**18, entropy=os.urandom, rules=schemas.rules
        )
        self.domain = Domain("acme", self.store, self.writer, schemas)

    def limit(self, quota_mib: int) -> Quota:
        """Set the quota, as whoever knows the record of a tenant does."""
        self.writer.quota = quota = Quota(self.store, "acme", quota_mib)
        return quota

    def write(self, number: int, size: int = 1, kind: WriteKind = "append") -> Deferred[None]:
        """Write one event with some random text."""
        text = orjson.dumps({"text": os.urandom(-(-size // 2)).hex()}).decode()
        one = Write(kind, "order", f"o-{number}", "noted", text)
        return self.writer.write((one,), actor=KIM, render=lambda _done: None)

    def refused(self, deferred: Deferred[None], quota_mib: int) -> None:
        """Check that something was refused for the quota."""
        error = self.failureResultOf(deferred, TenantQuota).value
        self.assertEqual((error.code, str(error)), ("tenant_quota", REACHED.format(quota_mib)))

    def test_none_allowed(self) -> None:
        """Under a quota of 0 nothing is written, until it is another one."""
        self.successResultOf(self.write(1))
        quota = self.limit(0)
        self.refused(self.write(1), 0)
        self.refused(self.write(2, kind="create"), 0)
        self.refused(self.writer.snapshot("order", "o-1", comment=None, render=lambda _s: None), 0)
        both = [Write("append", "order", one, "noted", "{}") for one in ("o-1", "o-2")]
        self.refused(self.writer.write(both, actor=KIM, render=lambda _done: None), 0)
        self.assertEqual(quota.refused, 4)
        self.assertIsNotNone(self.domain.reader().aggregate("order", "o-1"))
        self.assertIsNone(self.domain.reader().aggregate("order", "o-2"))
        self.limit(1)
        self.successResultOf(self.write(1))
        self.writer.quota = None
        self.successResultOf(self.write(2, kind="create"))

    def test_reached(self) -> None:
        """Writing ends when the store holds as much as it may, give or take a part of it."""
        self.limit(4)
        written = 0
        while self.store.used_bytes() < 4 * MIB:
            self.successResultOf(self.write(written % 50, 20_000))
            written += 1
            self.assertLess(written, 1_000)
        over = 0
        while True:
            writing = self.write(over, 20_000)
            if not self.successful(writing):
                break
            over += 1
            self.assertLess(over, 10, "the quota was passed by more than what is unmeasured")
        self.assertGreaterEqual(self.store.used_bytes(), 4 * MIB)
        self.assertLess(self.store.used_bytes(), 5 * MIB)
        self.refused(self.write(1), 4)

    def successful(self, deferred: Deferred[None]) -> bool:
        """Return whether a write was let in."""
        found: list[object] = []
        deferred.addBoth(found.append)
        return found == [None]

    def test_room_again(self) -> None:
        """A store that holds less again, since its files were compacted, is written again."""
        self.limit(1)
        while self.successful(self.write(1, 100_000)):
            pass
        # What is in memory counts twice, for it is in the log as well.
        self.store.purge([(b"", b"\xff")], logs=False)
        self.assertLess(self.store.used_bytes(), MIB)
        self.successResultOf(self.write(1))

    def test_not_refused(self) -> None:
        """Archiving, the audit trail, and the retry of what was written are always possible."""
        write = Write("create", "order", "o-1", "made", "{}", idempotency_key="k")
        first = self.successResultOf(
            self.writer.write((write,), actor=KIM, render=lambda done: done[0].event.event_id)
        )
        self.limit(0)
        again = self.successResultOf(
            self.writer.write((write,), actor=KIM, render=lambda done: done[0].event.event_id)
        )
        self.assertEqual(again, first)
        for archived in True, False:
            archiving = self.writer.archive(
                "order", "o-1", archived=archived, comment=None, actor=KIM, render=lambda _h: None
            )
            self.successResultOf(archiving)
        complaints: list[object] = []
        trail = AuditTrail(lambda: self.domain, lambda action, _error: complaints.append(action))
        action = Action("tenants", "quota_set", "acme", "test", KIM)
        self.successResultOf(trail.record(action))
        self.assertEqual(complaints, [])

    def test_rights_come_first(self) -> None:
        """Who may not write learns nothing of the quota."""
        self.limit(0)
        grant = Grant("j", "s", actions=("aggregate.read",), resources=("*",))
        one = Write("append", "order", "o-1", "noted", "{}")
        writing = self.writer.write(
            (one,), actor=KIM, authorise=grant.require, render=lambda _done: None
        )
        self.failureResultOf(writing, Unauthorized)

    def test_seldom_measured(self) -> None:
        """Far from the quota, writes are not measured: what was put since is known."""
        quota = self.limit(1_000)
        self.successResultOf(self.write(1))
        look_at = quota._look_at
        for number in range(100):
            self.successResultOf(self.write(number, 1_000))
        self.assertEqual(quota._look_at, look_at)
        self.assertGreater(look_at, self.store.accepted_bytes)

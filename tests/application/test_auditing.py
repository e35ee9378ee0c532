"""The audit trail, on a real store in memory."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import errors
from eventdbx.application.auditing import (
    AREAS,
    AUDIT_TYPE,
    DETAILS_BYTES_MAX,
    Action,
    AuditTrail,
    TrailQuery,
    read_trail,
)
from eventdbx.application.domains import Domain
from eventdbx.application.following import Wanted, follow
from eventdbx.application.integrity import Finding, verify_aggregate, verify_aggregates, verify_rest
from eventdbx.application.judging import Candidate, Judging
from eventdbx.application.parts import PartsBuilder
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.actions import action_line, parse_action
from eventdbx.domain.commands import Write, WriteKind
from eventdbx.domain.events import Actor
from eventdbx.domain.queries import AggregateQuery, EventQuery
from eventdbx.storage import eventlog, keys
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, synchronous

ALICE = Actor("ops", "alice")
ISSUED = Action(
    "tokens", "token_issued", "t-1", "POST /admin/tokens", ALICE, jti="t-0", subject="ops:alice",
    peer="127.0.0.1:4711", after="ab" * 32, details={"ttl": 60},
)  # fmt: skip
ENABLED = Action("plugins", "plugin_enabled", "search", "control plugins.enable", Actor("x", "bob"))


class TrailCase(SynchronousTestCase):
    """A trail in a domain that is strict about schemas."""

    def setUp(self) -> None:
        self.now = 1_767_604_211_000_000_000
        store = Store(MemoryStore(), hop=synchronous())
        schemas = Catalogue(store, clock_ns=lambda: self.now, restrict="strict")
        writer = Writer(store, clock_ns=self.tick, entropy=bytes, rules=schemas.rules)
        self.domain = Domain("default", store, writer, schemas)
        self.complaints: list[str] = []
        self.trail = AuditTrail(
            lambda: self.domain, lambda _action, error: self.complaints.append(str(error))
        )

    def tick(self) -> int:
        """Return the time; a second passes."""
        self.now += 1_000_000_000
        return self.now

    def record(self, *actions: Action) -> None:
        """Record actions, which never fails."""
        for action in actions:
            self.assertIsNone(self.successResultOf(self.trail.record(action)))

    def read(self, take: int = 100, **query: Any) -> list[dict[str, Any]]:
        """Return the trail, newest first."""
        return read_trail(self.domain.store.view(), TrailQuery(take, **query)).items


class RecordingTests(TrailCase):
    """What is recorded, and what comes back."""

    def test_everything_about_an_action(self) -> None:
        """Who did what to what, through what, when, and from where."""
        self.record(ISSUED)
        (found,) = self.read()
        self.assertEqual(len(found.pop("hash")), 64)
        self.assertEqual(len(found.pop("merkle_root")), 64)
        self.assertEqual(int(found.pop("event_id")) > 0, True)
        self.assertEqual(
            found,
            {
                "time": "2026-01-05T09:10:12Z",
                "area": "tokens",
                "event": "token_issued",
                "resource": "t-1",
                "way": "POST /admin/tokens",
                "jti": "t-0",
                "subject": "ops:alice",
                "peer": "127.0.0.1:4711",
                "actor": {"group": "ops", "user": "alice"},
                "before": None,
                "after": "ab" * 32,
                "details": {"ttl": 60},
                "version": 1,
            },
        )

    def test_a_repetition_is_recorded_once(self) -> None:
        """An action that comes again after a crash leaves one event."""
        once = ISSUED._replace(key="k-1")
        self.record(once, once)
        self.assertEqual([one["version"] for one in self.read()], [1])
        self.assertEqual(self.complaints, [])

    def test_long_things_are_cut(self) -> None:
        """A name or a document from outside makes no event of any size."""
        long = ISSUED._replace(resource="r" * 100_000, details={"x": "y" * DETAILS_BYTES_MAX})
        self.record(long)
        (found,) = self.read()
        self.assertEqual(found["resource"], "r" * 512)
        self.assertEqual(found["details"], {"omitted": "too long"})

    def test_failing_to_record_is_told(self) -> None:
        """The action has happened: what cannot be recorded is complained of, nothing fails."""
        self.record(ISSUED._replace(area="no area!"))
        self.assertEqual(len(self.complaints), 1)
        self.assertIn("aggregate_id", self.complaints[0])

        def closed() -> Domain:
            raise errors.StorageError("the store is closed")

        trail = AuditTrail(closed, lambda _action, error: self.complaints.append(str(error)))
        self.assertIsNone(self.successResultOf(trail.record(ISSUED)))
        self.assertIn("closed", self.complaints[1])

    def test_lines(self) -> None:
        """An action travels in a line of text, and what is none is told from it."""
        for action in (ISSUED, ENABLED._replace(actor=None, key="k")):
            self.assertEqual(parse_action(action_line(action)), action)
        for line in (b"", b"[]", b"{", b'{"area":"tokens"}', b'{"area":1}'):
            self.assertRaises(ValueError, parse_action, line)
        for wrong in ({"actor": "x"}, {"actor": ["a"]}, {"details": 5}, {"jti": 7}):
            document = orjson.loads(action_line(ISSUED)) | wrong
            self.assertRaises(ValueError, parse_action, orjson.dumps(document))


class QueryTests(TrailCase):
    """Asking the trail."""

    def test_newest_first_across_areas(self) -> None:
        """The areas are merged by time; pages go on where the last one ended."""
        for number in range(12):
            self.record((ISSUED, ENABLED)[number % 2]._replace(resource=f"r{number}"))
        expected = [f"r{number}" for number in reversed(range(12))]
        self.assertEqual([one["resource"] for one in self.read()], expected)
        view, before, found = self.domain.store.view(), None, []
        for _page in range(3):
            page = read_trail(view, TrailQuery(5, before=before))
            found += [one["resource"] for one in page.items]
            before = page.next_before
        self.assertEqual((found, before), (expected, None))

    def test_conditions(self) -> None:
        """An area, an actor in any spelling, a resource, a time."""
        self.record(ISSUED, ENABLED, ISSUED._replace(resource="t-2"))
        self.assertEqual([one["resource"] for one in self.read(area="plugins")], ["search"])
        for actor in ("alice", "ops/alice", "ops:alice", "t-0"):
            found = [one["resource"] for one in self.read(actor=actor)]
            self.assertEqual(found, ["t-2", "t-1"])
        self.assertEqual(self.read(actor="carol"), [])
        self.assertEqual(len(self.read(resource="t-2")), 1)
        since = self.now
        self.record(ENABLED._replace(resource="later"))
        self.assertEqual([one["resource"] for one in self.read(since_ns=since + 1)], ["later"])
        self.assertRaises(errors.ConfigError, self.read, area="secrets")

    def test_an_empty_trail(self) -> None:
        """There is nothing yet."""
        for area in (None, *AREAS):
            self.assertEqual(self.read(area=area, before=5), [])


class ReservedTests(TrailCase):
    """The type belongs to the trail alone."""

    def test_nobody_writes_it(self) -> None:
        """Not even who may do everything, in no way that writes."""
        self.record(ISSUED)
        kinds: tuple[WriteKind, ...] = ("create", "append", "apply", "patch")
        for kind in kinds:
            write = Write(kind, AUDIT_TYPE, "tokens", "forged", "[]" if kind == "patch" else "{}")
            done = self.domain.writer.write((write,), actor=ALICE, render=len)
            self.failureResultOf(done, errors.Unauthorized)
        archiving = self.domain.writer.archive(
            AUDIT_TYPE, "tokens", archived=True, comment=None, actor=ALICE, render=str
        )
        self.failureResultOf(archiving, errors.Unauthorized)
        keeping = self.domain.writer.snapshot(AUDIT_TYPE, "tokens", comment=None, render=str)
        self.failureResultOf(keeping, errors.Unauthorized)
        self.assertEqual([one["event"] for one in self.read()], ["token_issued"])

    def test_a_batch_with_it_writes_nothing(self) -> None:
        """One forged event spoils the batch that it hides in."""
        self.domain.schemas.rules.restrict = "off"
        writes = [Write("append", kind, "a", "made", "{}") for kind in ("person", AUDIT_TYPE)]
        done = self.domain.writer.write(writes, actor=ALICE, render=len)
        self.failureResultOf(done, errors.Unauthorized)
        self.assertEqual(eventlog.end_position(self.domain.store.view(), 0), 0)

    def test_it_takes_no_schema(self) -> None:
        """A schema could hide the trail, or refuse it."""
        for change in (
            {"do": "create", "aggregate": AUDIT_TYPE, "events": ["token_issued"]},
            {"do": "put_schema", "aggregate": AUDIT_TYPE, "schema": {"aggregate": AUDIT_TYPE}},
        ):
            changing = self.domain.schemas.change([change])
            self.assertIn("takes no schema", str(self.failureResultOf(changing).value))

    def test_it_is_hidden(self) -> None:
        """Lists and reads pass it by, also those that see hidden types; plugins get none of it."""
        self.record(ISSUED)
        for include_hidden in (False, True):
            reader = self.domain.reader(include_hidden=include_hidden)
            self.assertEqual(reader.list_aggregates(AggregateQuery(10)).items, [])
            self.assertEqual(reader.list_events(EventQuery(10)).items, [])
            self.assertIsNone(reader.aggregate(AUDIT_TYPE, "tokens"))
            view = self.domain.store.view()
            event = eventlog.load_event(view, keys.name(AUDIT_TYPE, "tokens"), 1)
            assert event is not None
            self.assertIsNone(reader.event_by_id(event.event_id))
            builder = PartsBuilder("default", include_hidden=include_hidden)
            in_force = self.domain.schemas.in_force
            self.assertIsNone(builder.build(view, in_force, event, 0, "all"))

    def test_it_has_a_log_of_its_own(self) -> None:
        """Whoever follows the log of events meets neither an action nor a gap."""
        self.domain.schemas.rules.restrict = "off"
        for number in range(3):
            self.record(ISSUED)
            write = Write("append", "person", f"p-{number}", "made", "{}")
            self.successResultOf(self.domain.writer.write((write,), actor=ALICE, render=len))
        view = self.domain.store.view()
        self.assertEqual(eventlog.end_position(view, 0), 3)
        self.assertEqual(eventlog.end_position(view, eventlog.AUDIT_PARTITION), 3)
        page = follow(view, self.domain.seen(), Wanted(), -1, take=10, size=1 << 20)
        self.assertEqual((len(page.documents), page.place, page.more), (3, 2, False))
        ids = [entry.event_id for part in (0, 1)
               for _position, entry in eventlog.log_entries(view, part, start=0)]  # fmt: skip
        self.assertEqual(len(set(ids)), 6)
        found = verify_rest(view, domain="default")
        self.assertEqual(list(found), [])

    def test_rehearsals_pass_it_by(self) -> None:
        """A set of schemas is not tried on what the trail recorded, in strict mode either."""
        self.record(ISSUED, ENABLED)
        view = self.domain.store.view()
        for aggregates in (None, [AUDIT_TYPE]):
            rehearsal = Judging(Candidate({}, "strict"), view, aggregates=aggregates)
            self.assertTrue(rehearsal.advance(view, lambda: False))
            self.assertEqual((rehearsal.done, rehearsal.total, rehearsal.refused), (0, 0, 0))

    def test_a_hole_in_its_log_is_found(self) -> None:
        """Taking an action away altogether shows."""
        self.record(ISSUED, ISSUED, ISSUED)
        key = keys.log(eventlog.AUDIT_PARTITION, 1)
        self.successResultOf(self.domain.store.transact(lambda step: step.delete(key)))
        found = [one.message for one in verify_rest(self.domain.store.view(), domain="default")]
        self.assertEqual(len(found), 1)
        self.assertIn("position 1 is missing", found[0])

    def test_verification_proves_it(self) -> None:
        """The trail is hashed like any event, and a change of one is found."""
        self.record(ISSUED, ISSUED)
        view, views = self.domain.store.view(), self.domain.schemas.in_force.views
        self.assertEqual(verify_aggregate(view, AUDIT_TYPE, "tokens").version, 2)
        found = [*verify_aggregates(view, views), *verify_rest(view, domain="default")]
        self.assertEqual([one for one in found if isinstance(one, Finding)], [])
        key = keys.event(keys.name(AUDIT_TYPE, "tokens"), 1)
        record = view.get(key)
        assert record is not None
        forged = record.replace(b"t-1", b"t-9")
        self.assertNotEqual(forged, record)
        self.successResultOf(self.domain.store.transact(lambda step: step.put(key, forged)))
        with self.assertRaises(errors.StorageError):
            verify_aggregate(self.domain.store.view(), AUDIT_TYPE, "tokens")

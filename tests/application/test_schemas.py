"""The catalogue of schemas: changes, versions, and what a crash or a second publisher leaves."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import errors
from eventdbx.application.schema_work import Origin, Prepared
from eventdbx.application.schemas import Catalogue, Exported
from eventdbx.application.writer import Committed, Writer
from eventdbx.domain.commands import Write
from eventdbx.domain.events import Event
from eventdbx.domain.schemas.history import manifest
from eventdbx.domain.schemas.writing import schemas_document
from eventdbx.settings import Restrict
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IHop
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, synchronous
from tests.storage.stepper import FaultyStore, Stepper

START_NS = 1_767_604_211_123_000_000
ORDER = {
    "aggregate": "order",
    "column_types": {"total": "integer"},
    "events": {"order_placed": {"fields": ["total"]}, "order.paid": {"fields": []}},
}


def text_of(**schemas: Any) -> bytes:
    """Return the JSON text of a set."""
    return orjson.dumps(schemas)


class CatalogueCase(SynchronousTestCase):
    """A catalogue and a writer on a store in memory."""

    restrict: Restrict = "default"

    def setUp(self) -> None:
        self.now = START_NS
        self.backend = MemoryStore()
        self.exported: list[Exported] = []
        self.open(synchronous())

    def open(self, hop: IHop) -> None:
        """Begin as after a restart, with nothing in memory."""
        self.store = Store(self.backend, hop=hop)
        self.catalogue = Catalogue(
            self.store,
            clock_ns=self.clock,
            restrict=self.restrict,
            default_threshold=None,
            export=self.export,
        )
        self.writer = Writer(
            self.store,
            clock_ns=self.clock,
            entropy=lambda count: bytes(count),
            rules=self.catalogue.rules,
        )

    def clock(self) -> int:
        self.now += 1_000_000
        return self.now

    def export(self, exported: Exported) -> Deferred[None]:
        self.exported.append(exported)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def replace(self, **schemas: Any) -> None:
        """Put a set in force."""
        prepared = self.catalogue.prepare(text_of(**schemas))
        self.successResultOf(self.catalogue.replace(prepared))

    def append(self, event: str, payload: Any, *, kind: Any = "append") -> Deferred[Event]:
        """Write one event of order o-1."""
        write = Write(kind, "order", "o-1", event, orjson.dumps(payload).decode())

        def first(done: list[Committed]) -> Event:
            return done[0].event

        return self.writer.write((write,), actor=None, render=first)

    def names(self) -> list[str]:
        """Return the names of the schemas in force."""
        return sorted(self.catalogue.in_force.schemas)

    def kept(self) -> dict[bytes, bytes]:
        """Return everything that the store keeps about schemas."""
        return dict(self.store.view().scan(b"g", b"h"))


class ChangeTests(CatalogueCase):
    """Changes of the set in force."""

    def test_next_append(self) -> None:
        """A change binds the next append, and the event records which schema accepted it."""
        free = self.successResultOf(self.append("anything_goes", {"a": 1}))
        self.assertIsNone(free.schema)
        self.replace(order=ORDER)
        error = self.failureResultOf(self.append("order_placed", {"total": "x"})).value
        self.assertEqual(str(error), "schema violation: field total must be an integer")
        event = self.successResultOf(self.append("order_placed", {"total": 1}))
        assert event.schema is not None
        self.assertEqual(event.schema[16:], b"\x00\x01")
        document = self.catalogue.document_of(event.schema[:16])
        assert document is not None
        self.assertEqual(orjson.loads(document)["column_types"], {"total": "integer"})
        self.replace()
        self.assertIsNotNone(self.catalogue.document_of(event.schema[:16]))
        stored = eventlog.load_event(self.store.view(), keys.name("order", "o-1"), 2)
        assert stored is not None
        self.assertEqual(stored.schema, event.schema)

    def test_dotted(self) -> None:
        """Declared names with dots are those of events with underscores."""
        self.replace(order=ORDER)
        event = self.successResultOf(self.append("order.paid", {}))
        self.assertEqual(event.event_type, "order_paid")

    def test_restart(self) -> None:
        """What was in force is in force after a restart."""
        self.replace(order=ORDER)
        digest = self.catalogue.in_force.digest
        self.open(synchronous())
        self.assertEqual(self.names(), ["order"])
        self.assertEqual(self.catalogue.in_force.digest, digest)
        self.failureResultOf(self.append("nothing_declared", {}), errors.SchemaViolation)

    def test_one_bad_among_many(self) -> None:
        """A set with one bad schema among many changes nothing."""
        self.replace(order=ORDER)
        before = self.kept()
        many: dict[str, Any] = {
            f"kind_{n}": {"events": {"done": {"fields": []}}} for n in range(50)
        }
        many["kind_25"] = {"column_types": {"a": "no such type"}, "events": {}}
        self.assertRaises(errors.EventDBXError, self.catalogue.prepare, text_of(**many))
        self.assertEqual(self.names(), ["order"])
        self.assertEqual(self.kept(), before)

    def test_all_or_none(self) -> None:
        """Of several changes in one operation either all or none happen."""
        create = {"do": "create", "aggregate": "order", "events": ["order_placed"]}
        again = {"do": "create", "aggregate": "order", "events": ["order_placed"]}
        self.failureResultOf(self.catalogue.change([create, again]), errors.SchemaExists)
        self.assertEqual((self.names(), self.kept()), ([], {}))
        changed = self.successResultOf(self.catalogue.change([create]))
        self.assertEqual(changed.names, ("order",))

    def test_expected_digest(self) -> None:
        """Who has seen another set than the one in force does not overwrite it."""
        seen = self.catalogue.in_force.digest
        self.replace(order=ORDER)
        create = {"do": "create", "aggregate": "person", "events": ["person_born"]}
        change = self.catalogue.change([create], expect=seen)
        error = self.failureResultOf(change, errors.SchemaViolation).value
        self.assertIn("schemas have changed since they were read", str(error))
        expect = self.catalogue.in_force.digest
        self.successResultOf(self.catalogue.change([create], expect=expect))
        self.assertEqual(self.names(), ["order", "person"])

    def test_log_of_changes(self) -> None:
        """Every change of the set leaves who, why, what, from and to."""
        create = {"do": "create", "aggregate": "order", "events": ["order_placed"]}
        empty = self.catalogue.in_force.digest
        self.successResultOf(self.catalogue.change([create], origin=Origin(" kim ", "first")))
        (change,) = self.catalogue.changes()
        self.assertEqual(
            {key: change[key] for key in ("actor", "reason", "action", "aggregates", "from")},
            {
                "actor": "kim",
                "reason": "first",
                "action": "change",
                "aggregates": ["order"],
                "from": empty,
            },
        )
        self.assertEqual(change["to"], self.catalogue.in_force.digest)

    def test_times_are_no_content(self) -> None:
        """The digest of a set does not depend on when it was written."""
        self.replace(order={**ORDER, "created_at": "2020-01-01T00:00:00Z"})
        digest = self.catalogue.in_force.digest
        self.replace(order={**ORDER, "created_at": "2021-01-01T00:00:00Z"})
        self.assertEqual(self.catalogue.in_force.digest, digest)

    def test_too_large(self) -> None:
        """A set beyond the limit is refused, whether its text is or what it says."""
        text = b'{"order":' + b" " * (16 * 1_048_576) + b"{}}"
        self.assertRaises(errors.InvalidSchema, self.catalogue.prepare, text)
        # Short as a text, too long as what is stored of it.
        short = b",".join(b'"t%05d":{"events":{}}' % number for number in range(25_000))
        self.assertRaises(errors.InvalidSchema, self.catalogue.prepare, b"{" + short + b"}")

    def test_automatic_snapshots(self) -> None:
        """A threshold takes a snapshot with every event whose version it divides."""
        self.replace(order={**ORDER, "snapshot_threshold": 2})
        for total in range(5):
            self.successResultOf(self.append("order_placed", {"total": total}))
        found = list(eventlog.snapshots(self.store.view(), None, None))
        self.assertEqual(
            [(one.version, one.comment) for one in found],
            [(2, "auto snapshot v2"), (4, "auto snapshot v4")],
        )
        self.assertEqual(found[1].state, {"total": 3})

    def test_compiled_once(self) -> None:
        """A contract is compiled again only when its own schema has changed."""
        self.replace(order=ORDER)
        before = self.catalogue.in_force.contracts["order"]
        create = {"do": "create", "aggregate": "person", "events": ["person_born"]}
        self.successResultOf(self.catalogue.change([create]))
        self.assertIs(self.catalogue.in_force.contracts["order"], before)


class StrictTests(CatalogueCase):
    """The strict mode."""

    restrict: Restrict = "strict"

    def test_no_schema(self) -> None:
        """A type without a schema takes no events."""
        error = self.failureResultOf(self.append("order_placed", {})).value
        self.assertEqual(
            str(error),
            "schema violation: aggregate order requires a schema before events can be appended "
            "when restrict=strict",
        )
        self.replace(order=ORDER)
        self.successResultOf(self.append("order_placed", {"total": 1}))


class OffTests(CatalogueCase):
    """The mode without validation."""

    restrict: Restrict = "off"

    def test_only_locks(self) -> None:
        """Nothing is validated, but a lock is an order."""
        self.replace(order={**ORDER, "field_locks": ["secret"]})
        self.successResultOf(self.append("never_declared", {"total": "x"}))
        error = self.failureResultOf(self.append("order_placed", {"secret": 1})).value
        self.assertEqual(str(error), "schema violation: field secret is locked for aggregate order")


class ModeTests(CatalogueCase):
    """Another mode while the domain is open."""

    def test_from_mode_to_mode(self) -> None:
        """The next append is judged in the mode that was taken up last."""
        self.successResultOf(self.append("anything", {}))
        self.catalogue.take_up("strict", None)
        error = self.failureResultOf(self.append("anything", {})).value
        self.assertIn("restrict=strict", str(error))
        self.replace(order=ORDER)
        self.assertIsNotNone(self.failureResultOf(self.append("order_placed", {"total": "x"})))
        self.catalogue.take_up("off", None)
        self.successResultOf(self.append("order_placed", {"total": "x"}))
        self.assertEqual(self.catalogue.restrict, "off")
        self.catalogue.take_up("default", None)
        self.assertIsNotNone(self.failureResultOf(self.append("order_placed", {"total": "x"})))

    def test_threshold_of_new_schemas(self) -> None:
        """New schemas take the threshold that is configured then; others keep theirs."""
        for name, threshold in (("first", None), ("second", 50)):
            self.catalogue.take_up("default", threshold)
            change = {"do": "create", "aggregate": name, "events": ["made"]}
            self.successResultOf(self.catalogue.change([change]))
        schemas = self.catalogue.in_force.schemas
        found = [schemas[name].snapshot_threshold for name in ("first", "second")]
        self.assertEqual(found, [None, 50])


class VersionTests(CatalogueCase):
    """Published versions."""

    def publish(self, **options: Any) -> Any:
        """Publish what is in force."""
        return self.successResultOf(self.catalogue.publish(**options))

    def test_publish(self) -> None:
        """A version has an id of its time, a checksum, a parent, and entries in the audit."""
        self.replace(order=ORDER)
        origin = Origin(" kim ", " first ")
        first = self.publish(origin=origin, labels=(" a ", "", "b"), activate=True)
        self.assertRegex(first.version, r"^v20260105T\d{9}Z$")
        self.assertEqual((first.activated, first.skipped), (True, False))
        document = manifest(self.catalogue.history)
        self.assertEqual(document["active_version"], first.version)
        (version,) = document["versions"]
        self.assertEqual(version["author"], "kim")
        self.assertEqual(version["reason"], "first")
        self.assertEqual(version["labels"], ["a", "b"])
        self.assertNotIn("parent", version)
        self.assertEqual([one["action"] for one in document["audit_log"]], ["publish", "activate"])
        self.replace(order={**ORDER, "locked": True})
        second = self.publish()
        self.assertEqual(self.catalogue.history.versions[1].parent, first.version)
        self.assertEqual(self.catalogue.history.active, first.version)
        self.assertNotEqual(second.version, first.version)

    def test_unchanged_is_skipped(self) -> None:
        """What differs in nothing but times is no new version, unless it is forced."""
        self.replace(order=ORDER)
        first = self.publish()
        self.replace(order={**ORDER, "updated_at": "2020-01-01T00:00:00Z"})
        again = self.publish()
        self.assertEqual((again.version, again.skipped), (first.version, True))
        again = self.publish(activate=True)
        self.assertTrue(again.skipped and again.reactivated)
        self.assertEqual(self.catalogue.history.active, first.version)
        forced = self.publish(force=True)
        self.assertFalse(forced.skipped)
        self.assertEqual(len(self.catalogue.history.versions), 2)

    def test_activate_and_roll_back(self) -> None:
        """Activation puts a version in force; rolling back the one before the active one."""
        self.replace(order=ORDER)
        first = self.publish(activate=True).version
        self.replace(order={**ORDER, "locked": True})
        second = self.publish(activate=True).version
        done = self.successResultOf(self.catalogue.rollback())
        self.assertEqual((done.version, done.autosaved), (first, None))
        self.assertFalse(self.catalogue.in_force.schemas["order"].locked)
        self.successResultOf(self.append("order_placed", {"total": 1}))
        self.successResultOf(self.catalogue.activate("latest"))
        self.assertEqual(self.catalogue.history.active, second)
        self.failureResultOf(self.append("order_placed", {"total": 1}), errors.SchemaViolation)
        again = self.successResultOf(self.catalogue.activate(second))
        self.assertTrue(again.already_active)
        self.assertEqual(
            self.catalogue.history.audit[-1].details, "requested version already active"
        )

    def test_edits_are_saved_first(self) -> None:
        """What was edited and never published is a version before another one is activated."""
        self.replace(order=ORDER)
        first = self.publish(activate=True).version
        self.replace(order={**ORDER, "hidden": True})
        done = self.successResultOf(self.catalogue.activate(first))
        assert done.autosaved is not None
        saved, text = self.catalogue.text_of(done.autosaved)
        self.assertEqual(saved.reason, "autosave before activate")
        self.assertTrue(orjson.loads(text)["order"]["hidden"])
        self.assertEqual(self.catalogue.history.active, first)

    def test_nothing_there(self) -> None:
        """Versions that do not exist are refused with what is missing."""
        for word, text in (
            ("latest", "no schema versions recorded"),
            ("active", "no active schema version available"),
            ("v1", "schema version 'v1' was not found"),
        ):
            failed = self.catalogue.activate(word)
            error = self.failureResultOf(failed, errors.ConfigError).value
            self.assertEqual(error.detail, text)
        self.failureResultOf(self.catalogue.rollback(), errors.ConfigError)
        self.replace(order=ORDER)
        self.publish(activate=True)
        error = self.failureResultOf(self.catalogue.rollback(), errors.ConfigError).value
        self.assertEqual(error.detail, "no earlier schema version to roll back to")

    def test_history_survives(self) -> None:
        """Versions, audit and the active one are there after a restart."""
        self.replace(order=ORDER)
        self.publish(origin=Origin("kim", None), labels=("x",), activate=True)
        before = self.catalogue.history
        self.open(synchronous())
        self.assertEqual(self.catalogue.history, before)

    def test_labels(self) -> None:
        """A version is also found by its label, the newest of several."""
        self.replace(order=ORDER)
        first = self.publish(labels=("stable", "v1")).version
        second = self.publish(labels=("stable",), force=True).version
        find = self.catalogue.history.find
        self.assertEqual(
            [find(word).id for word in ("v1", "stable", first)], [first, second, first]
        )

    def test_same_millisecond(self) -> None:
        """Two versions of one millisecond have different ids."""
        self.replace(order=ORDER)
        ids = []
        for _ in range(3):
            self.now = START_NS
            ids.append(self.publish(force=True).version)
        self.assertEqual(ids[1:], [ids[0] + "-01", ids[0] + "-02"])

    def test_export(self) -> None:
        """Whoever exports is told the newest text and can read the text of each version."""
        self.replace(order=ORDER)
        self.publish()
        newest = self.exported[-1]
        self.assertEqual(orjson.loads(newest.text).keys(), {"order"})
        self.assertEqual(newest.text_of(0).decode(), newest.text)
        self.assertEqual([one.number for one in self.exported], [1, 2])


class TogetherTests(CatalogueCase):
    """Several who change schemas at once, and crashes between."""

    def setUp(self) -> None:
        super().setUp()
        self.backend = FaultyStore()
        self.hop = Stepper()
        self.open(self.hop)

    def prepared(self, **schemas: Any) -> Prepared:
        """Return a set that is ready to be put in force."""
        return self.catalogue.prepare(text_of(**schemas))

    def test_publishers_cannot_interleave(self) -> None:
        """Two publishers in flight together come one after the other, each whole."""
        first = self.catalogue.publish(
            self.prepared(order=ORDER), origin=Origin("a", None), activate=True
        )
        second = self.catalogue.publish(
            self.prepared(person=ORDER | {"aggregate": "person"}),
            origin=Origin("b", None),
            activate=True,
        )
        self.assertNoResult(first)
        self.assertNoResult(second)
        self.hop.settle()
        done = [self.successResultOf(one).version for one in (first, second)]
        history = self.catalogue.history
        self.assertEqual([one.id for one in history.versions], done)
        self.assertEqual(history.versions[1].parent, done[0])
        self.assertEqual(
            [(one.actor, one.action) for one in history.audit],
            [("a", "publish"), ("a", "activate"), ("b", "publish"), ("b", "activate")],
        )
        self.assertEqual(self.names(), ["person"])

    def test_second_change_meets_the_first(self) -> None:
        """A change that arrives while another waits for the disk builds on it."""
        events = {"do": "add_events", "aggregate": "order", "events": ["order_sent"]}
        create = {"do": "create", "aggregate": "order", "events": ["order_placed"]}
        first = self.catalogue.change([create])
        second = self.catalogue.change([events])
        self.hop.settle()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(
            sorted(self.catalogue.in_force.schemas["order"].events), ["order_placed", "order_sent"]
        )

    def test_crash_at_any_point(self) -> None:
        """After a crash at any point of a change the old or the new version is in force, whole."""
        done = self.catalogue.publish(self.prepared(order=ORDER), activate=True)
        self.hop.settle()
        old_version = self.successResultOf(done).version
        old = schemas_document(self.catalogue.in_force.schemas)
        self.hop.patient = True
        new = {f"kind_{n}": ORDER | {"aggregate": f"kind_{n}"} for n in range(20)}
        changed = self.catalogue.publish(self.prepared(**new), activate=True)
        seen = set()
        while True:
            # What a process would find that started now, after the death of this one.
            later = Catalogue(Store(self.backend, hop=synchronous()), clock_ns=self.clock)
            found = schemas_document(later.in_force.schemas)
            active, versions = later.history.active, len(later.history.versions)
            if found == old:
                self.assertEqual((active, versions), (old_version, 1))
            else:
                self.assertEqual(len(later.in_force.schemas), 20)
                self.assertEqual((versions, active), (2, later.history.versions[1].id))
                text = orjson.loads(later.text_of("active")[1])
                self.assertEqual(text.keys(), new.keys())
            seen.add(found == old)
            if self.hop.departures:
                self.hop.turn()
            elif self.hop.underway:
                self.hop.step()
            else:
                break
        self.successResultOf(changed)
        self.assertEqual(seen, {True, False})

    def test_a_failed_disk_acknowledges_nothing(self) -> None:
        """A change that cannot be synced fails, and nothing is exported."""
        assert isinstance(self.backend, FaultyStore)
        exported = len(self.exported)
        self.backend.sync_error = errors.StorageError("no space")
        failed = self.catalogue.replace(self.prepared(order=ORDER))
        self.hop.settle()
        self.failureResultOf(failed, errors.StorageError)
        self.assertEqual(len(self.exported), exported)

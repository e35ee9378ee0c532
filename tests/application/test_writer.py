"""Every rule of a write, on a real store in memory."""

from __future__ import annotations

from typing import NamedTuple

import orjson
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import errors, limits
from eventdbx.application.integrity import Finding, verify_aggregate, verify_aggregates, verify_rest
from eventdbx.application.schemas import Catalogue
from eventdbx.application.views import Views
from eventdbx.application.writer import Writer
from eventdbx.domain.aggregate import Head
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.events import Actor, Event
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, synchronous

ALICE = Actor("ops", "alice")


class Clock:
    """Unix time in nanoseconds, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_767_604_211_123_456_789

    def __call__(self) -> int:
        return self.now


class Done(NamedTuple):
    """What one write came to."""

    event: Event
    head: Head


def found_in(view: IReadView) -> list[Finding]:
    """Return what verification of the whole store finds."""
    found = [*verify_aggregates(view, Views({})), *verify_rest(view, domain="default")]
    return [one for one in found if isinstance(one, Finding)]


class WriterCase(SynchronousTestCase):
    """A writer on a memory store."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Store(MemoryStore(), hop=synchronous())
        self.writer = self.make_writer()

    def make_writer(self, *, strict: bool = False) -> Writer:
        """Return a writer as after a restart: with nothing in its memory."""
        schemas = Catalogue(
            self.store, clock_ns=self.clock, restrict="strict" if strict else "default"
        )
        return Writer(
            self.store,
            clock_ns=self.clock,
            entropy=lambda count: bytes(count),
            rules=schemas.rules,
        )

    def write(self, *writes: Write, key: str | None = None) -> list[Done]:
        """Commit writes and return what came of them."""
        done: Deferred[list[Done]] = self.writer.write(
            writes,
            actor=ALICE,
            idempotency_key=key,
            render=lambda committed: [Done(one.event, one.head) for one in committed],
        )
        return self.successResultOf(done)

    def refused(self, *writes: Write, key: str | None = None) -> errors.EventDBXError:
        """Return the error of a write, having checked that it left no trace."""
        before = self.everything()
        done = self.writer.write(writes, actor=ALICE, idempotency_key=key, render=len)
        error = self.failureResultOf(done).value
        assert isinstance(error, errors.EventDBXError)
        self.assertEqual(self.everything(), before)
        return error

    def everything(self) -> list[tuple[bytes, bytes]]:
        """Return the whole store."""
        return list(self.store.view().scan(b"", b"\xff"))

    def append(self, identifier: str = "o-1", content: object = None, **rest: object) -> Write:
        """Return an append to an order."""
        text = orjson.dumps({"total": 1} if content is None else content)
        return Write("append", "order", identifier, "order_paid", text, **rest)  # type: ignore[arg-type]


class AppendTests(WriterCase):
    """Appending."""

    def test_first_event(self) -> None:
        """The first event makes the aggregate; everything about it is recorded."""
        metadata = '{"@source":"web"}'
        (done,) = self.write(
            Write("append", "order", "o-1", "order.paid", '{"b":2,"a":null}', metadata, "n")
        )
        event, head = done
        self.assertEqual(event.payload, b'{"a":null,"b":2}')
        self.assertEqual((event.event_type, event.event_type_raw), ("order_paid", "order.paid"))
        self.assertEqual((event.issued_by, event.note), (ALICE, "n"))
        self.assertEqual(event.created_at, self.clock.now)
        self.assertEqual(head.state, {"a": None, "b": 2})
        self.assertEqual(head.extensions, {"@source": "web"})
        self.assertEqual(head.merkle_root, event.hash)
        view = self.store.view()
        self.assertEqual(eventlog.load_head(view, keys.name("order", "o-1")), head)
        self.assertEqual(list(eventlog.events(view, keys.name("order", "o-1"))), [event])

    def test_spelling_of_an_event_type(self) -> None:
        """A session's spelling is always kept; without a session only one that differs."""
        for actor, name, raw in (
            (ALICE, "order.paid", "order.paid"),
            (ALICE, "order_paid", "order_paid"),
            (None, "order.paid", "order.paid"),
            (None, "order_paid", None),
        ):
            done = self.writer.write(
                (Write("append", "order", "o-1", name, "{}"),),
                actor=actor,
                render=lambda committed: committed[0].event,
            )
            event = self.successResultOf(done)
            self.assertEqual((event.event_type, event.event_type_raw), ("order_paid", raw))

    def test_state_is_folded(self) -> None:
        """Objects set keys, other values set ``_value``, null changes nothing but the version."""
        for content, state in (
            ('{"a":1,"b":{"c":2}}', {"a": 1, "b": {"c": 2}}),
            ('{"b":{"d":3}}', {"a": 1, "b": {"d": 3}}),
            ("null", {"a": 1, "b": {"d": 3}}),
            ("[1]", {"a": 1, "b": {"d": 3}, "_value": [1]}),
            ("{}", {"a": 1, "b": {"d": 3}, "_value": [1]}),
        ):
            ((_event, head),) = self.write(Write("append", "order", "o-1", "e", content))
            self.assertEqual(head.state, state)
        self.assertEqual(head.version, 5)

    def test_positions_and_ids(self) -> None:
        """Positions are gap-free in commit order; ids grow although the clock steps back."""
        self.write(self.append("o-1"))
        self.clock.now -= 10**12
        self.writer = self.make_writer()
        self.write(self.append("o-2"))
        self.refused(self.append("o 3"))
        self.write(self.append("o-1"))
        entries = list(eventlog.log_entries(self.store.view(), 0, start=0))
        self.assertEqual([position for position, _entry in entries], [0, 1, 2])
        ids = [entry.event_id for _position, entry in entries]
        self.assertEqual(ids, sorted(set(ids)))

    def test_time_never_before_the_event_before(self) -> None:
        """An aggregate's events carry times that never go backwards."""
        ((first, _),) = self.write(self.append())
        self.clock.now -= 5_000_000_000
        ((second, _),) = self.write(self.append())
        self.assertEqual(second.created_at, first.created_at)

    def test_survives_a_restart(self) -> None:
        """A writer with an empty memory goes on where the last one ended."""
        self.write(self.append())
        self.writer = self.make_writer()
        ((event, head),) = self.write(self.append())
        self.assertEqual((event.version, head.version), (2, 2))
        checked = verify_aggregate(self.store.view(), "order", "o-1")
        self.assertEqual(checked.merkle_root, head.merkle_root)

    def test_strict_mode(self) -> None:
        """Strict mode refuses a type without a schema, in the words that clients know."""
        self.writer = self.make_writer(strict=True)
        self.assertEqual(
            str(self.refused(self.append())),
            "schema violation: aggregate order requires a schema before events can be appended "
            "when restrict=strict",
        )


class RefusalTests(WriterCase):
    """What is refused, with which words; nothing is ever changed by it."""

    def test_bad_input(self) -> None:
        """Each kind of bad input has its own message."""
        long = orjson.dumps({"x": "y" * limits.PAYLOAD_BYTES_MAX}).decode()
        for write, message in (
            (Write("append", "Order", "o-1", "e", "{}"), "aggregate_type must be lowercase"),
            (Write("append", "order", "", "e", "{}"), "aggregate_id must not be empty"),
            (Write("append", "order", "a\n", "e", "{}"), "cannot include leading or trailing"),
            (Write("append", "order", "a.b", "e", "{}"), "aggregate_id may only contain"),
            (Write("append", "order", "o-1", "e-f", "{}"), "event_type must be lowercase"),
            (
                Write("append", "order", "o-1", "e", None),
                "payload_json must be provided when patch",
            ),
            (Write("create", "order", "o-1", "e", None), "must be provided when creating"),
            (Write("append", "order", "o-1", "e", "{x"), "invalid payload_json: key must be a str"),
            (Write("append", "order", "o-1", "e", "nope"), "invalid payload_json: expected ident"),
            (Write("append", "order", "o-1", "e", "{}", "[]"), "metadata must be a JSON object"),
            (Write("append", "order", "o-1", "e", "{}", '{"a":1}'), "metadata key 'a' must start"),
            (Write("append", "order", "o-1", "e", "{}", None, "n" * 129), "event note cannot exc"),
            (Write("append", "order", "o-1", "e", long), "exceeds maximum size of 262144 bytes"),
            (Write("append", "order", "o-1", "e", "[" * 65 + "]" * 65), "recursion limit exceeded"),
            (
                Write("append", "order", "o-1", "e", "{}", '{"@expected_version":"1"}'),
                "must be a non-negative integer",
            ),
        ):
            error = self.refused(write)
            self.assertEqual(error.code, "invalid_schema")
            self.assertIn(message, str(error))

    def test_publish_targets(self) -> None:
        """Publish targets are checked before anything is written."""
        for target, message in (
            (PublishTarget(" ", None, None), "publish target plugin cannot be empty"),
            (PublishTarget("p", "some", None), "invalid publish mode 'some'"),
            (PublishTarget("p", "ALL", "urgent"), "invalid publish priority 'urgent'"),
        ):
            error = self.refused(self.append(publish_targets=(target,)))
            self.assertEqual(str(error), "invalid schema: " + message)

    def test_existing_and_missing(self) -> None:
        """Create refuses an existing aggregate; apply and patch refuse a missing one."""
        create = Write("create", "order", "o-1", "e", "{}")
        self.assertEqual(
            str(self.refused(Write("apply", "order", "o-1", "e", "{}"))),
            "aggregate order::o-1 does not exist",
        )
        patch = Write("patch", "order", "o-1", "e", '[{"op":"add","path":"/a","value":1}]')
        self.assertEqual(self.refused(patch).code, "aggregate_not_found")
        self.write(create)
        self.assertEqual(
            str(self.refused(create)), "schema violation: aggregate order::o-1 already exists"
        )

    def test_unauthorised(self) -> None:
        """Who may not write learns nothing about what exists."""
        self.write(self.append())

        def deny(action: str, resource: str) -> None:
            raise errors.Unauthorized()

        for write in (
            Write("create", "order", "o-1", "e", "{}"),
            Write("patch", "order", "none", "e", "[]"),
            self.append(expected_version=9),
        ):
            done = self.writer.write([write], actor=ALICE, authorise=deny, render=len)
            self.failureResultOf(done, errors.Unauthorized)

    def test_archived(self) -> None:
        """An archived aggregate takes no events, and still counts as existing."""
        self.write(self.append())
        self.successResultOf(
            self.writer.archive(
                "order", "o-1", archived=True, comment="done", actor=ALICE, render=lambda head: head
            )
        )
        self.assertEqual(self.refused(self.append()).code, "aggregate_archived")
        patch = Write("patch", "order", "o-1", "e", '[{"op":"add","path":"/a","value":1}]')
        self.assertEqual(self.refused(patch).code, "aggregate_archived")
        self.assertIn("exists", str(self.refused(Write("create", "order", "o-1", "e", "{}"))))


class ConcurrencyTests(WriterCase):
    """Expected versions, idempotency keys, atomic batches."""

    def test_expected_version(self) -> None:
        """A write that expects another version is refused and told which one it found."""
        self.write(self.append(expected_version=0))
        self.write(self.append(expected_version=1))
        error = self.refused(self.append(expected_version=1))
        self.assertEqual(str(error), "schema violation: expected version 1, found 2")
        reserved = self.append(metadata='{"@expected_version":2,"@a":1}')
        ((event, _),) = self.write(reserved)
        self.assertEqual(event.extensions, b'{"@a":1}')

    def test_retry_gets_the_first_result(self) -> None:
        """The same request under the same key returns the first event, also after a restart."""
        first = self.write(self.append(content={"a": 1}, idempotency_key="k"))
        self.write(self.append(content={"a": 2}))
        self.writer = self.make_writer()
        before = self.everything()
        again = self.write(self.append(content={"a": 1}, idempotency_key="k"))
        self.assertEqual(again, first)
        self.assertEqual(self.everything(), before)

    def test_key_with_other_content(self) -> None:
        """The same key with other content is a clear error; another aggregate may use it."""
        self.write(self.append(idempotency_key="k"))
        error = self.refused(self.append(content={"other": 1}, idempotency_key="k"))
        self.assertEqual(
            str(error),
            "schema violation: idempotency key 'k' was already used with different content",
        )
        self.write(self.append("o-2", idempotency_key="k"))

    def test_retry_of_a_create_and_of_an_expected_version(self) -> None:
        """A retry succeeds where the same write without a key would be refused."""
        create = Write("create", "order", "o-1", "e", "{}", idempotency_key="c")
        self.assertEqual(self.write(create), self.write(create))
        expecting = self.append(expected_version=1, idempotency_key="e")
        self.assertEqual(self.write(expecting), self.write(expecting))

    def test_keys_are_forgotten_in_time(self) -> None:
        """Keys past their retention are pruned by later ones."""
        self.write(self.append(idempotency_key="old"))
        self.clock.now += (limits.IDEMPOTENCY_RETENTION_S + 1) * 10**9
        self.write(self.append(idempotency_key="new"))
        left = list(self.store.view().scan(keys.IDEMPOTENCY, keys.after(keys.IDEMPOTENCY)))
        self.assertEqual(len(left), 1)

    def test_batch_is_all_or_nothing(self) -> None:
        """One bad write of a batch, and nothing of it is written."""
        error = self.refused(
            self.append("o-1"), self.append("o-2"), self.append("o-1", expected_version=7)
        )
        self.assertEqual(str(error), "schema violation: expected version 7, found 1")
        done = self.write(self.append("o-1"), self.append("o-2"), self.append("o-1"))
        self.assertEqual([event.version for event, _head in done], [1, 1, 2])

    def test_batch_retry(self) -> None:
        """A batch under one key is returned whole on a retry."""
        batch = (self.append("o-1"), self.append("o-2"))
        first = self.write(*batch, key="b")
        self.assertEqual(self.write(*batch, key="b"), first)
        self.assertIsInstance(self.refused(self.append("o-1"), key="b"), errors.IdempotencyConflict)

    def test_same_key_twice_in_one_batch(self) -> None:
        """A write repeated within its own batch is written once."""
        twice = self.append(idempotency_key="k")
        first, second = self.write(twice, twice)
        self.assertEqual(first, second)
        self.assertEqual(first.event.version, 1)


class PatchTests(WriterCase):
    """Patch events."""

    def test_patch_is_computed_from_typed_state(self) -> None:
        """A patch works on true values and stores the whole new value of each touched key."""
        self.write(self.append(content={"n": "7", "addr": {"zip": "9", "city": "Rome"}}))
        patch = '[{"op":"remove","path":"/addr/zip"},{"op":"replace","path":"/n","value":8}]'
        ((event, head),) = self.write(Write("patch", "order", "o-1", "e", patch))
        self.assertEqual(event.payload, b'{"addr":{"city":"Rome"},"n":8}')
        self.assertEqual(head.state, {"n": 8, "addr": {"city": "Rome"}})


class ArchiveAndSnapshotTests(WriterCase):
    """Archiving moves a head; a snapshot keeps a state."""

    def test_archive_and_restore(self) -> None:
        """Archiving keeps version and root; restoring clears the comment."""
        ((_event, before),) = self.write(self.append())
        for archived, comment in ((True, "old"), (True, "older"), (False, None)):
            self.clock.now += 10**9
            after = self.successResultOf(
                self.writer.archive(
                    "order", "o-1", archived=archived, comment=comment, actor=ALICE,
                    render=lambda head: head,
                )
            )  # fmt: skip
            self.assertEqual(after.archived, archived)
            self.assertEqual(after.archive_comment, comment)
            self.assertEqual(after.merkle_root, before.merkle_root)
            self.assertEqual(after.updated_at, self.clock.now)
            view = self.store.view()
            found = [list(eventlog.heads(view, archived=tag)) for tag in (False, True)]
            self.assertEqual(found, [[], [after]] if archived else [[after], []])
        self.write(self.append())
        self.assertEqual(found_in(self.store.view()), [])

    def test_snapshot(self) -> None:
        """A snapshot is found by id and keeps the state of its version."""
        self.write(self.append(content={"n": 1}))
        snapshot = self.successResultOf(
            self.writer.snapshot("order", "o-1", comment="c", render=lambda one: one)
        )
        self.write(self.append(content={"n": 2}))
        self.assertEqual(eventlog.snapshot_by_id(self.store.view(), snapshot.snapshot_id), snapshot)
        self.assertEqual((snapshot.state, snapshot.version), ({"n": 1}, 1))
        missing = self.writer.snapshot("order", "none", comment=None, render=lambda one: one)
        self.failureResultOf(missing, errors.AggregateNotFound)


class VerifyTests(WriterCase):
    """Tampering with stored bytes is found and named."""

    def setUp(self) -> None:
        super().setUp()
        for content in ({"a": 1}, {"a": 2}, {"a": 3}):
            self.write(self.append(content=content))
        self.name = keys.name("order", "o-1")

    def tamper(self, key: bytes, change: bytes | None) -> str:
        """Put other bytes under a key, and return what verification says."""
        self.store._backend.write({key: change}, sync=True)
        error = self.assertRaises(
            errors.StorageError, verify_aggregate, self.store._backend.view(), "order", "o-1"
        )
        return str(error)

    def test_changed_payload(self) -> None:
        """A changed payload is found at its version."""
        key = keys.event(self.name, 2)
        record = self.store.view().get(key)
        assert record is not None
        self.assertIn("at version 2", self.tamper(key, record.replace(b'{"a":2}', b'{"a":9}')))

    def test_missing_event(self) -> None:
        """A missing event is found at its version."""
        self.assertIn("at version 2", self.tamper(keys.event(self.name, 2), None))

    def test_truncated_history(self) -> None:
        """A missing last event is found although the rest is whole."""
        self.assertIn("the events end at 2", self.tamper(keys.event(self.name, 3), None))

    def test_swapped_events(self) -> None:
        """An event under another version's key is found."""
        record = self.store.view().get(keys.event(self.name, 1))
        self.assertIn("at version 2", self.tamper(keys.event(self.name, 2), record))

    def test_log_gap(self) -> None:
        """A hole in the commit log is found."""
        self.store._backend.write({keys.log(0, 1): None}, sync=True)
        findings = found_in(self.store._backend.view())
        self.assertTrue(any("position 1 is missing" in one.message for one in findings))

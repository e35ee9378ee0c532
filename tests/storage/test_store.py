"""Group commit, acknowledgement, fail-stop and closing of the transactional store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.errors import StorageError, StoreFailed
from eventdbx.storage.store import Store, Transaction, synchronous
from tests.storage.stepper import FaultyStore, Stepper

T = TypeVar("T")


def putting(key: bytes, value: bytes, result: object = None) -> Callable[[Transaction], object]:
    """A step that puts one pair and returns ``result``."""

    def step(transaction: Transaction) -> object:
        transaction.put(key, value)
        return result

    return step


def noting(notes: list[T], note: T) -> Callable[[object], None]:
    """A callback that appends ``note``."""
    return lambda _: notes.append(note)


class StoreTests(SynchronousTestCase):
    """A store whose disk moves when the test says so."""

    def setUp(self) -> None:
        self.backend = FaultyStore()
        self.hop = Stepper()
        self.failures: list[Failure] = []
        self.store = Store(self.backend, hop=self.hop, on_failure=self.failures.append)

    def test_acknowledged_after_the_sync(self) -> None:
        """A write is acknowledged, and shown to readers, only once it was synced."""
        written = self.store.transact(putting(b"a", b"1", "done"))
        self.assertNoResult(written)
        self.assertIsNone(self.store.view().get(b"a"))
        self.assertEqual(self.backend.calls, ["write 1"])
        self.hop.step()
        self.assertEqual(self.successResultOf(written), "done")
        self.assertEqual(self.store.view().get(b"a"), b"1")
        self.assertEqual(self.backend.calls, ["write 1", "sync"])

    def test_commits_are_announced(self) -> None:
        """Who wants to know of commits hears of each once it is readable and acknowledged."""
        heard: list[bytes | None] = []
        notes: list[str] = []
        self.store.on_commit.append(lambda: heard.append(self.store.view().get(b"a")))
        self.store.on_commit.append(lambda: notes.append("announced"))
        written = self.store.transact(putting(b"a", b"1"))
        written.addCallback(noting(notes, "acknowledged"))
        self.assertEqual(heard, [])
        self.hop.step()
        self.assertEqual(heard, [b"1"])
        self.assertEqual(notes, ["acknowledged", "announced"])
        self.store.transact(lambda transaction: transaction.get(b"a"))
        self.assertEqual(heard, [b"1"])

    def test_an_announcement_that_fails(self) -> None:
        """One that cannot deal with a commit keeps neither the others nor the store from work."""
        heard: list[str] = []
        self.store.on_commit += [lambda: [][0], lambda: heard.append("second")]
        for key in (b"a", b"b"):
            written = self.store.transact(putting(key, b"1", "done"))
            self.hop.step()
            self.assertEqual(self.successResultOf(written), "done")
        self.assertEqual(heard, ["second", "second"])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 2)

    def test_newcomers_share_the_next_sync(self) -> None:
        """Everything that arrives during a sync is committed together by the next one."""
        first = self.store.transact(putting(b"a", b"1"))
        others = [self.store.transact(putting(b"k%d" % n, b"")) for n in range(5)]
        self.hop.step()
        self.successResultOf(first)
        self.assertEqual(self.hop.brief, [True, False])
        self.assertEqual(self.backend.calls, ["write 1", "sync", "write 5"])
        for other in others:
            self.assertNoResult(other)
        self.hop.step()
        for other in others:
            self.successResultOf(other)

    def test_what_arrives_together(self) -> None:
        """What arrives in one turn of the reactor departs together when the turn ends."""
        hop = Stepper(patient=True)
        store = Store(self.backend, hop=hop)
        answers = [store.transact(putting(b"k%d" % n, b"")) for n in range(3)]
        self.assertEqual(self.backend.calls, [])
        hop.turn()
        self.assertEqual(self.backend.calls, ["write 3"])
        hop.settle()
        for answer in answers:
            self.successResultOf(answer)

    def test_closing_before_the_turn_ends(self) -> None:
        """Closing does not wait for more to arrive."""
        hop = Stepper(patient=True)
        store = Store(self.backend, hop=hop)
        answer = store.transact(putting(b"a", b""))
        closed = store.close()
        hop.settle()
        self.successResultOf(answer)
        self.successResultOf(closed)
        hop.turn()
        self.assertEqual(self.backend.calls, ["write 1", "sync", "sync", "close"])

    def test_steps_see_what_was_accepted(self) -> None:
        """A step sees its own writes and those of every step before it, durable or not."""
        self.store.transact(putting(b"a", b"1"))
        self.store.transact(putting(b"b", b"2"))

        def step(transaction: Transaction) -> object:
            transaction.put(b"c", b"3")
            transaction.delete(b"a")
            everything = list(transaction.scan(b"", b"z"))
            backwards = list(transaction.scan(b"", b"z", reverse=True))
            self.assertEqual(everything, backwards[::-1])
            return [transaction.get(key) for key in (b"a", b"b", b"c", b"d")], everything

        result = self.store.transact(step)
        self.hop.settle()
        expected = ([None, b"2", b"3", None], [(b"b", b"2"), (b"c", b"3")])
        self.assertEqual(self.successResultOf(result), expected)
        self.assertEqual(list(self.store.view().scan(b"", b"z")), expected[1])

    def test_a_raising_step_changes_nothing(self) -> None:
        """Only the caller of a step that raises fails; its writes are dropped."""

        def step(transaction: Transaction) -> None:
            transaction.put(b"x", b"1")
            raise ValueError("no")

        first = self.store.transact(putting(b"a", b"1"))
        failing = self.store.transact(step)
        last = self.store.transact(putting(b"b", b"2"))
        self.hop.settle()
        self.successResultOf(first)
        self.failureResultOf(failing, ValueError)
        self.successResultOf(last)
        self.assertIsNone(self.store.view().get(b"x"))
        self.assertEqual(self.store.waiting_bytes, 0)

    def test_order(self) -> None:
        """Answers come in the order of the calls, failures and mere readers included."""
        order: list[int] = []

        def reading(transaction: Transaction) -> object:
            return transaction.get(b"a")

        def failing(transaction: Transaction) -> None:
            raise ValueError

        steps = [putting(b"a", b"1"), reading, failing, putting(b"b", b"2"), failing, reading]
        for number, step in enumerate(steps):
            answer: Deferred[object] = self.store.transact(step)
            answer.addBoth(noting(order, number))
        self.assertEqual(order, [])
        self.hop.settle()
        self.assertEqual(order, list(range(len(steps))))

    def test_reading_alone_is_answered_at_once(self) -> None:
        """With nothing on its way a step that writes nothing needs no disk."""
        self.assertEqual(self.successResultOf(self.store.transact(lambda t: t.get(b"a"))), None)
        self.failureResultOf(self.store.transact(lambda t: 1 // 0), ZeroDivisionError)
        self.assertEqual(self.backend.calls, [])

    def test_a_read_waits_for_what_it_saw(self) -> None:
        """A result that rests on a write under way is not given before that write is safe."""
        self.store.transact(putting(b"a", b"1"))
        read = self.store.transact(lambda t: t.get(b"a"))
        self.assertNoResult(read)
        self.hop.step()
        self.assertEqual(self.successResultOf(read), b"1")

    def test_cancelling_stops_only_the_waiting(self) -> None:
        """Who cancels does not learn the outcome; the write happens all the same."""
        written = self.store.transact(putting(b"a", b"1"))
        written.cancel()
        self.failureResultOf(written, CancelledError)
        self.hop.settle()
        self.assertEqual(self.store.view().get(b"a"), b"1")

    def test_never_alone_before_others_were_told(self) -> None:
        """One step behind a batch may not hold up the answers of that batch."""
        self.store.transact(putting(b"a", b"1"))
        self.store.transact(putting(b"b", b"2"))
        self.hop.settle()
        self.assertEqual(self.hop.brief, [True, False])

    def test_callbacks_may_write(self) -> None:
        """A caller may write again from the callback of its first write."""
        written = self.store.transact(putting(b"a", b"1"))
        written.addCallback(lambda _: self.store.transact(putting(b"b", b"2", "both")))
        self.hop.step()
        self.assertNoResult(written)
        self.hop.step()
        self.assertEqual(self.successResultOf(written), "both")

    def test_synchronous(self) -> None:
        """Offline every Deferred has fired when the call returns."""
        store = Store(FaultyStore(), hop=synchronous())
        self.assertEqual(self.successResultOf(store.transact(putting(b"a", b"1", 7))), 7)
        self.successResultOf(store.close())


class BoundsTests(SynchronousTestCase):
    """What waits is bounded, per batch and altogether."""

    def setUp(self) -> None:
        self.backend = FaultyStore()
        self.hop = Stepper()
        self.store = Store(self.backend, hop=self.hop)

    def test_batches_are_bounded(self) -> None:
        """Too many writes for one batch make several, committed one after the other."""
        most = limits.COMMIT_BATCH_EVENTS_MAX
        count = 1 + 2 * most + 5
        answers = [self.store.transact(putting(b"%06d" % n, b"")) for n in range(count)]
        seen = self.store.transact(lambda t: len(list(t.scan(b"", b"z"))))
        self.hop.settle()
        for answer in answers:
            self.successResultOf(answer)
        self.assertEqual(self.successResultOf(seen), count)
        writes = [call for call in self.backend.calls if call != "sync"]
        self.assertEqual(writes, ["write 1", f"write {most}", f"write {most}", "write 5"])
        self.assertEqual(len(list(self.store.view().scan(b"", b"z"))), count)

    def test_large_batches_are_bounded(self) -> None:
        """A batch takes no more once it has the bytes that a batch may have."""
        half = bytes(limits.COMMIT_BATCH_BYTES_MAX // 2)
        for n in range(5):
            self.store.transact(putting(b"%d" % n, half))
        self.hop.settle()
        writes = [call for call in self.backend.calls if call != "sync"]
        self.assertEqual(writes, ["write 1", "write 2", "write 2"])

    def test_saturation(self) -> None:
        """When too much waits the store says so, and tells when there is room again."""
        half = bytes(limits.COMMIT_WAITING_BYTES_MAX // 2)
        self.successResultOf(self.store.when_drained())
        self.store.transact(putting(b"a", half))
        self.assertFalse(self.store.saturated)
        self.store.transact(putting(b"b", half))
        self.assertTrue(self.store.saturated)
        waiting = (self.store.waiting_bytes, self.store.waiting_count)
        self.assertEqual(waiting, (limits.COMMIT_WAITING_BYTES_MAX + 2, 2))
        drained = self.store.when_drained()
        self.assertNoResult(drained)
        self.hop.step()
        self.successResultOf(drained)
        self.hop.settle()
        self.assertEqual((self.store.waiting_bytes, self.store.waiting_count), (0, 0))


class FailStopTests(SynchronousTestCase):
    """After a failed write or sync nothing is acknowledged any more."""

    def setUp(self) -> None:
        self.backend = FaultyStore()
        self.hop = Stepper()
        self.failures: list[Failure] = []
        self.store = Store(self.backend, hop=self.hop, on_failure=self.failures.append)

    def assert_failed(self, *answers: Deferred[object]) -> None:
        for answer in answers:
            failure = self.failureResultOf(answer, StoreFailed)
            self.assertIn("disk gone", str(failure.value))
        self.failureResultOf(self.store.transact(putting(b"z", b"")), StoreFailed)
        self.assertEqual(len(self.failures), 1)
        self.assertEqual((self.store.waiting_bytes, self.store.waiting_count), (0, 0))

    def test_failed_sync(self) -> None:
        """A failed sync fails everyone who waits and everyone who comes later."""
        count = limits.COMMIT_BATCH_EVENTS_MAX + 5
        answers = [self.store.transact(putting(b"%d" % n, b"")) for n in range(count)]
        self.backend.sync_error = StorageError("disk gone")
        self.hop.step()
        self.assert_failed(*answers)
        self.assertIsNone(self.store.view().get(b"0"))
        self.assertEqual(self.backend.calls, ["write 1", "sync"])

    def test_failed_write(self) -> None:
        """A failed write is as final as a failed sync."""
        self.backend.write_error = StorageError("disk gone")
        self.assert_failed(self.store.transact(putting(b"a", b"")))

    def test_failed_write_of_the_next_batch(self) -> None:
        """The batch that was durable is acknowledged although the next one cannot be written."""
        good = self.store.transact(putting(b"a", b"1"))
        bad = self.store.transact(putting(b"b", b"2"))
        self.backend.write_error = StorageError("disk gone")
        self.hop.step()
        self.successResultOf(good)
        self.assert_failed(bad)
        self.assertEqual(self.store.view().get(b"a"), b"1")

    def test_owner_in_trouble(self) -> None:
        """An error of the owner's own while it is told is logged, and the callers learn."""

        def trouble(failure: Failure) -> None:
            raise RuntimeError("owner")

        store = Store(self.backend, hop=self.hop, on_failure=trouble)
        answer = store.transact(putting(b"a", b""))
        self.backend.sync_error = StorageError("disk gone")
        self.hop.settle()
        self.failureResultOf(answer, StoreFailed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_failed_store_closes(self) -> None:
        """A failed store still closes its backend, without another sync."""
        self.store.transact(putting(b"a", b"")).addErrback(lambda _: None)
        self.backend.sync_error = StorageError("disk gone")
        self.hop.settle()
        closed = self.store.close()
        self.hop.settle()
        self.successResultOf(closed)
        self.assertEqual(self.backend.calls, ["write 1", "sync", "close"])


class CloseTests(SynchronousTestCase):
    """Closing loses nothing that was accepted."""

    def setUp(self) -> None:
        self.backend = FaultyStore()
        self.hop = Stepper()
        self.store = Store(self.backend, hop=self.hop)

    def test_order(self) -> None:
        """What was accepted is committed and acknowledged, then the backend is closed."""
        events: list[str] = []
        for name in ("first", "second"):
            self.store.transact(putting(name.encode(), b"")).addCallback(noting(events, name))
        for number in (1, 2):
            self.store.close().addCallback(noting(events, f"closed {number}"))
        self.failureResultOf(self.store.transact(putting(b"late", b"")), StorageError)
        self.hop.settle()
        self.assertEqual(events, ["first", "second", "closed 1", "closed 2"])
        calls = ["write 1", "sync", "write 1", "sync", "sync", "close"]
        self.assertEqual(self.backend.calls, calls)
        self.assertTrue(self.hop.stopped)
        self.successResultOf(self.store.close())
        self.assertRaises(StorageError, self.store.view)

    def test_failed_last_sync(self) -> None:
        """Whoever closes learns that the last sync failed."""
        self.backend.sync_error = StorageError("disk gone")
        closed = self.store.close()
        self.hop.settle()
        self.failureResultOf(closed, StorageError)
        self.assertEqual(self.backend.calls, ["sync", "close"])
        self.assertEqual(len(self.flushLoggedErrors(StorageError)), 1)


class DurabilityTests(SynchronousTestCase):
    """The relaxed settings."""

    def setUp(self) -> None:
        self.backend = FaultyStore()
        self.hop = Stepper()
        self.clock = Clock()
        self.failures: list[Failure] = []

    def interval_store(self) -> Store:
        return Store(
            self.backend,
            hop=self.hop,
            durability="interval",
            clock=self.clock,
            interval_s=2.0,
            on_failure=self.failures.append,
        )

    def test_never(self) -> None:
        """With ``never`` a write is acknowledged unsynced; closing syncs."""
        store = Store(self.backend, hop=self.hop, durability="never")
        self.successResultOf(store.transact(putting(b"a", b"1")))
        self.assertEqual(store.view().get(b"a"), b"1")
        self.assertEqual(self.backend.calls, ["write 1"])
        store.close()
        self.hop.settle()
        self.assertEqual(self.backend.calls, ["write 1", "sync", "close"])

    def test_interval(self) -> None:
        """With ``interval`` writes are acknowledged at once and synced together in time."""
        store = self.interval_store()
        self.successResultOf(store.transact(putting(b"a", b"1")))
        self.successResultOf(store.transact(putting(b"b", b"1")))
        self.clock.advance(1.9)
        self.assertFalse(self.hop.underway)
        self.clock.advance(0.2)
        self.hop.settle()
        self.assertEqual(self.backend.calls, ["write 1", "write 1", "sync"])
        self.clock.advance(10)
        self.assertFalse(self.hop.underway)
        self.successResultOf(store.transact(putting(b"c", b"1")))
        closed = store.close()
        self.hop.settle()
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_interval_fails_late(self) -> None:
        """A sync that fails in the background stops the store as any other does."""
        store = self.interval_store()
        self.successResultOf(store.transact(putting(b"a", b"1")))
        self.backend.sync_error = StorageError("disk gone")
        self.clock.advance(2.1)
        self.hop.settle()
        self.assertEqual(len(self.failures), 1)
        self.failureResultOf(store.transact(putting(b"b", b"1")), StoreFailed)

"""What plugins get, in which order, and what is left when something fails."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from eventdbx.domain.commands import PublishTarget
from eventdbx.domain.delivery.entries import Backoff, Batch
from eventdbx.domain.delivery.parts import Item
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.settings import Config, PluginQueue, Prune
from eventdbx.storage.outbox import done_counts
from tests.plugins.draining import DrainingCase, hook, refusing


class OrderTests(DrainingCase):
    """Delivery when all goes well, and order when not."""

    def test_everything_once(self) -> None:
        """Events arrive in commit order, once, also across a restart."""
        self.put(hook())
        for name in ("o-1", "o-2", "o-1"):
            self.order(name)
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-2.1", "o-1.2"])
        self.assertEqual(self.counts(), (0, 0, 3, 0))
        self.stop()
        self.open()
        self.order("o-3")
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-2.1", "o-1.2", "o-3.1"])

    def test_begins_at_the_end(self) -> None:
        """A new plugin gets what is committed from then on."""
        self.order()
        self.put(hook())
        self.order()
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.2"])

    def test_failing_aggregate_waits_alone(self) -> None:
        """Later events of an aggregate wait behind one that fails; others flow."""
        self.put(hook())
        self.target().answer = refusing("o-1.1")
        for name in ("o-1", "o-2", "o-1", "o-3", "o-1"):
            self.order(name)
        self.pass_time(0.5)
        self.assertEqual(self.target().accepted, ["o-2.1", "o-3.1"])
        self.target().answer = lambda _items: None
        self.order("o-1")
        self.pass_time(1)
        wanted = ["o-2.1", "o-3.1", "o-1.1", "o-1.2", "o-1.3", "o-1.4"]
        self.assertEqual(self.target().accepted, wanted)
        self.assertEqual(self.counts(), (0, 0, 6, 0))

    def test_backoff(self) -> None:
        """Attempts come after 1, 2, 4, 10 and 10 seconds, then the job is dead."""
        self.max_attempts = 6
        self.open()
        self.put(hook())
        self.target().answer = refusing("o-1.1")
        self.order()
        times: list[float] = []
        for tenth in range(400):
            self.pass_time(0.1)
            while len(times) < len(self.target().tried):
                times.append(tenth / 10)
        gaps = [round(b - a) for a, b in zip(times, times[1:], strict=False)]
        self.assertEqual(gaps, [1, 2, 4, 10, 10])
        self.assertEqual(self.target().attempts, [1, 2, 3, 4, 5, 6])
        self.assertEqual(self.counts(), (0, 0, 0, 1))
        (job,) = self.queue()["jobs"]["dead"]
        self.assertEqual((job["attempts"], job["last_error"], job["status"]), (6, "no", "dead"))

    def test_another_configuration(self) -> None:
        """Attempts and what is remembered follow the configuration while plugins are served."""
        self.put(hook(), hook("own", max_attempts=4))
        for name in ("hook", "own"):
            self.target(name).answer = refusing("o-1.1")
        self.order()
        self.order("o-2")
        self.pass_time(0.5)
        self.assertEqual(self.counts(), (2, 0, 2, 0))
        prune = Prune(done_ttl_secs=86_400, max_done_jobs=0)
        config = Config(plugin_max_attempts=2, plugin_queue=PluginQueue(prune=prune))
        self.drainer.take_up(config)
        self.pass_time(1)
        self.assertEqual(self.counts(), (1, 0, 0, 1))
        self.put(hook(), hook("own", max_attempts=4), hook("later"))
        self.target("later").answer = refusing("o-3.1")
        self.order("o-3")
        self.pass_time(3)
        self.assertEqual(len(self.target("later").attempts), 2)

    def test_done_jobs_are_forgotten_at_intervals(self) -> None:
        """What was done long ago leaves the store though nothing is delivered any more."""
        self.put(hook())
        self.order()
        self.pass_time(1)
        view = self.drainer.domain.store.view
        self.assertEqual(sum(count for _, count in done_counts(view(), "hook")), 1)
        prune = Prune(done_ttl_secs=1, interval_secs=7200)
        self.drainer.take_up(Config(plugin_queue=PluginQueue(prune=prune)))
        self.pass_time(3660, step=0.5)
        self.assertEqual(self.counts()[2], 0)
        self.assertEqual(sum(count for _, count in done_counts(view(), "hook")), 1)
        soon = Config(plugin_queue=PluginQueue(prune=Prune(done_ttl_secs=1, interval_secs=60)))
        self.drainer.take_up(soon)
        self.pass_time(61, step=0.5)
        self.assertEqual(sum(count for _, count in done_counts(view(), "hook")), 0)

    def test_dead_holds_its_aggregate(self) -> None:
        """Behind a dead event its aggregate waits, across a restart, until it is retried."""
        self.max_attempts = 1
        self.open()
        self.put(hook())
        self.target().answer = refusing("o-1.2")
        for name in ("o-1", "o-1", "o-1", "o-2"):
            self.order(name)
        self.pass_time(2)
        self.stop()
        self.open()
        self.order("o-1")
        self.pass_time(2)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-2.1"])
        self.assertEqual(self.counts(), (2, 0, 2, 1))
        self.target().answer = lambda _items: None
        retried = self.desk.retry(job_id=None, name=None, since_ms=None, wait_s=5)
        self.pass_time(1)
        self.assertEqual(self.successResultOf(retried), (1, 0))
        self.assertEqual(self.target().accepted[2:], ["o-1.2", "o-1.3", "o-1.4"])

    def test_fails_behind_one_that_failed(self) -> None:
        """What is refused behind a held event has attempts of its own; nothing is repeated."""
        self.max_attempts = 3
        self.open()
        self.put(hook(batch=Batch(max_events=4)))
        self.target().answer = refusing("o-1.1")
        for _event in range(4):
            self.order()
        self.pass_time(0.5)
        self.target().answer = refusing("o-1.3")
        self.pass_time(20)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-1.2"])
        (job,) = self.queue()["jobs"]["dead"]
        self.assertEqual((job["version"], job["attempts"]), (3, 3))

    def test_targets_behind_one_that_failed(self) -> None:
        """Whom an event is for does not hang on the one before it."""
        self.put(hook(), hook("other"))
        self.target().answer = refusing("o-1.1")
        self.order()
        self.order("o-1", PublishTarget("other", None, None))
        self.order()
        self.pass_time(0.5)
        self.target().answer = lambda _items: None
        self.pass_time(3)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-1.3"])
        self.assertEqual(self.target("other").accepted, ["o-1.1", "o-1.2", "o-1.3"])

    def test_dead_dropped(self) -> None:
        """A dead event that is given up lets its aggregate go on."""
        self.max_attempts = 1
        self.open()
        self.put(hook())
        self.target().answer = refusing("o-1.1")
        self.order()
        self.order()
        self.pass_time(1)
        self.assertEqual(self.successResultOf(self.desk.discard(job_ids=None, name=None)), 1)
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.2"])
        self.assertEqual(self.counts(), (0, 0, 1, 0))

    def test_dead_continues(self) -> None:
        """With ``on_dead: continue`` the aggregate goes on after a dead event, which stays."""
        self.max_attempts = 1
        self.open()
        self.put(hook(on_dead="continue"))
        self.target().answer = refusing("o-1.1")
        self.order()
        self.order()
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.2"])
        self.assertEqual(self.counts(), (0, 0, 1, 1))
        self.stop()
        self.open()
        self.target().answer = lambda _items: None
        self.desk.retry(job_id=None, name=None, since_ms=None, wait_s=0)
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.2", "o-1.1"])
        self.assertEqual(self.counts(), (0, 0, 2, 0))

    def test_strict(self) -> None:
        """With ``order: strict`` nothing overtakes."""
        self.put(hook(order="strict", concurrency=8))
        self.target().answer = refusing("o-1.1")
        for name in ("o-1", "o-2", "o-1"):
            self.order(name)
        self.pass_time(2)
        self.assertEqual(self.target().accepted, [])
        self.target().answer = lambda _items: None
        self.pass_time(10)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-2.1", "o-1.2"])

    def test_no_order(self) -> None:
        """With ``order: none`` only the one event waits."""
        self.put(hook(order="none"))
        self.target().answer = refusing("o-1.1")
        self.order()
        self.order()
        self.pass_time(0.5)
        self.target().answer = lambda _items: None
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.2", "o-1.1"])

    def test_batch_finds_the_culprit(self) -> None:
        """A refused batch is split until the event that is refused stands alone."""
        self.put(hook(batch=Batch(max_events=16)))
        self.target().answer = refusing("o-5.1")
        self.outlet().serving = False
        for number in range(16):
            self.order(f"o-{number}")
        self.outlet().serving = True
        self.pass_time(0.5)
        self.assertEqual(len(self.target().tried[0]), 16)
        wanted = sorted(f"o-{number}.1" for number in range(16) if number != 5)
        self.assertEqual(sorted(self.target().accepted), wanted)
        (job,) = self.queue()["jobs"]["pending"]
        self.assertEqual((job["aggregate_id"], job["attempts"]), ("o-5", 1))

    def test_concurrency(self) -> None:
        """Deliveries in flight are of different aggregates, at most so many."""
        self.put(hook(concurrency=2))
        flying: list[Deferred[None]] = []

        def answer(_items: Sequence[Item]) -> Deferred[None]:
            flying.append(Deferred())
            return flying[-1]

        self.target().answer = answer
        for name in ("o-1", "o-1", "o-2", "o-3"):
            self.order(name)
        self.pass_time(0.2)
        self.assertEqual(self.target().tried, [["o-1.1"], ["o-2.1"]])
        self.assertEqual(self.counts(), (2, 2, 0, 0))
        flying[1].callback(None)
        self.assertEqual(self.target().tried[2:], [["o-3.1"]])
        flying[0].callback(None)
        self.assertEqual(self.target().tried[3:], [["o-1.2"]])
        flying[2].callback(None)
        flying[3].callback(None)

    def test_breaker(self) -> None:
        """A target that is not there costs the attempts of a few events, not of all."""
        self.put(hook())
        self.target().answer = lambda _items: DeliveryFailed("down", unavailable=True)
        for number in range(50):
            self.order(f"o-{number}")
        self.pass_time(4)
        self.assertEqual(len(self.target().tried), 5)
        self.pass_time(60)
        self.assertLess(len(self.target().tried), 10)
        self.target().answer = lambda _items: None
        self.pass_time(120)
        self.assertEqual(len(set(self.target().accepted)), 50)
        self.assertEqual(self.counts(), (0, 0, 50, 0))

    def test_retry_asks_at_once(self) -> None:
        """Who retries says that the target is there again: no probe is waited for."""
        self.max_attempts = 1
        self.open()
        self.put(hook())
        self.target().answer = lambda _items: DeliveryFailed("down", unavailable=True)
        for number in range(8):
            self.order(f"o-{number}")
        self.pass_time(200)
        self.assertEqual(self.counts()[3], 8)
        self.target().answer = lambda _items: None
        retried = self.desk.retry(job_id=None, name=None, since_ms=None, wait_s=5)
        self.pass_time(1)
        self.assertEqual(self.successResultOf(retried), (8, 0))
        self.assertEqual(len(self.target().accepted), 8)

    def test_gone(self) -> None:
        """A target that is gone for good pauses the plugin; nothing is lost."""
        self.put(hook())
        self.target().answer = lambda _items: DeliveryFailed("410 Gone", gone=True)
        self.order()
        self.order("o-2")
        self.pass_time(60)
        self.assertEqual(len(self.target().tried), 1)
        (lag,) = self.successResultOf(self.desk.lags())
        self.assertEqual((lag.paused, lag.lag), ("410 Gone", 2))
        self.stop()
        self.open()
        self.pass_time(5)
        self.assertEqual(len(self.target().tried), 1)
        self.target().answer = lambda _items: None
        self.outlet().resume()
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-2.1"])

    def test_rate_limit(self) -> None:
        """Not more events a second than the entry allows, after one second's worth."""
        self.put(hook(rate_limit=10.0))
        for number in range(60):
            self.order(f"o-{number}")
        self.pass_time(2)
        self.assertIn(len(self.target().accepted), range(28, 33))
        self.pass_time(4)
        self.assertEqual(len(self.target().accepted), 60)

    def test_linger(self) -> None:
        """A batch waits a little for others."""
        self.put(hook(batch=Batch(max_events=3, linger_ms=500)))
        self.order("o-1")
        self.pass_time(0.3)
        self.order("o-2")
        self.assertEqual(self.target().tried, [])
        self.pass_time(0.4)
        self.assertEqual(self.target().tried, [["o-1.1", "o-2.1"]])

    def test_retry_after(self) -> None:
        """What the target asks for is waited for."""
        self.put(hook(backoff=Backoff(first_s=0.1, max_s=0.1)))
        self.target().answer = lambda _items: DeliveryFailed(
            "slow down", unavailable=True, retry_after_s=30
        )
        self.order()
        self.order("o-2")
        self.pass_time(29)
        self.assertEqual(len(self.target().tried), 1)
        self.target().answer = lambda _items: None
        self.pass_time(3)
        self.assertEqual(sorted(self.target().accepted), ["o-1.1", "o-2.1"])

"""What is counted of deliveries, under the names that dashboards know."""

from __future__ import annotations

from collections.abc import Sequence

from eventdbx.domain.delivery.entries import Backoff, Batch
from eventdbx.domain.delivery.parts import Item
from eventdbx.measures import Measures
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.plugins.watching import DeliveryWatch
from tests.plugins.draining import DrainingCase, hook, refusing

LABEL = "log (hook)"


class Told:
    """Keeps what it is told of deliveries."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[str, str, int]] = []

    def delivery(self, plugin: str, outcome: str, items: Sequence[Item], seconds: float) -> None:
        self.deliveries.append((plugin, outcome, len(items)))


class Watching(DrainingCase):
    """Plugins whose deliveries are counted."""

    def setUp(self) -> None:
        self.told = Told()
        self.measures = Measures(lambda: 1.0)
        self.watch = DeliveryWatch(self.measures, self.told)
        super().setUp()

    def jobs(self) -> tuple[int, int, int, int]:
        """Enqueued, completed, failed, tried again."""
        measures = self.measures
        counted = (
            measures.jobs_enqueued,
            measures.jobs_completed,
            measures.jobs_failed,
            measures.retries,
        )
        enqueued, completed, failed, again = (one.get(LABEL) for one in counted)
        return enqueued, completed, failed, again

    def outcomes(self) -> dict[str, int]:
        """How many deliveries ended how."""
        return {
            dict(labels)["outcome"]: series.count
            for labels, series in self.measures.deliveries.series()
        }

    def test_jobs_are_counted_once(self) -> None:
        """Events that are accepted were enqueued and completed, each once."""
        self.put(hook(batch=Batch(max_events=10)))
        for number in range(3):
            self.order(f"o-{number}")
        self.pass_time(2)
        self.assertEqual(self.jobs(), (3, 3, 0, 0))
        self.assertEqual(set(self.outcomes()), {"accepted"})
        self.assertEqual(sum(count for _, _, count in self.told.deliveries), 3)

    def test_failed_attempts_and_retries_are_counted(self) -> None:
        """A job that fails twice has failed twice, and completes once."""
        self.put(hook(backoff=Backoff(first_s=1, max_s=1)))
        self.target().answer = refusing("o-1.1")
        self.order("o-1")
        self.pass_time(1.6)
        self.target().answer = lambda _items: None
        self.pass_time(5)
        enqueued, completed, failed, again = self.jobs()
        self.assertEqual((enqueued, completed), (1, 1))
        self.assertEqual(again, failed)
        self.assertGreaterEqual(failed, 2)
        self.assertEqual(self.outcomes(), {"refused": failed, "accepted": 1})

    def test_a_target_that_is_away_is_told_apart(self) -> None:
        """An outage is the plugin's, not the event's, and has an outcome of its own."""
        self.put(hook())
        self.target().answer = lambda _items: DeliveryFailed("down", unavailable=True)
        self.order("o-1")
        self.pass_time(0.5)
        self.assertEqual(set(self.outcomes()), {"unavailable"})

    def test_part_of_a_batch_is_counted(self) -> None:
        """What a target has taken before it refused is completed."""
        self.put(hook(batch=Batch(max_events=10)))
        self.target().answer = lambda items: (
            DeliveryFailed("full", accepted=1, blames=True) if len(items) > 1 else None
        )
        self.outlet().pace.not_before = self.time.seconds() + 1
        for number in range(3):
            self.order(f"o-{number}")
        self.pass_time(3)
        enqueued, completed, failed, _again = self.jobs()
        self.assertEqual((enqueued, failed > 0), (3, True))
        self.assertGreaterEqual(completed, 2)

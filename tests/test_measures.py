"""What the server counts about itself: numbers, quantiles of the last minute, bounds of memory."""

from __future__ import annotations

from threading import Thread

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.measures import (
    PLACES,
    QUANTILES,
    SERIES_MAX,
    Counted,
    Family,
    Measures,
    Observed,
    Sample,
    Series,
    gauge,
)

OK = ("append_event", "ok")


class Windows(SynchronousTestCase):
    """Quantiles speak of the last minute."""

    def test_an_empty_series_has_zeros(self) -> None:
        """Without a value there is a zero for every quantile."""
        self.assertEqual(Series((), remembers=True).quantiles(5.0), [0.0] * len(QUANTILES))

    def test_quantiles_are_within_a_hundredth(self) -> None:
        """Each quantile is a value that was measured, up to one percent."""
        series = Series((), remembers=True)
        for number in range(1, 1001):
            series.add(number / 1000, 1.0)
        expected = (0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
        for found, wanted in zip(series.quantiles(1.0), expected, strict=True):
            self.assertApproximates(found, wanted, wanted * 0.012)

    def test_what_is_older_than_a_minute_is_forgotten(self) -> None:
        """A value is seen for at least 40 seconds and gone after 60; sum and count stay."""
        series = Series((), remembers=True)
        series.add(2.0, 100.0)
        self.assertApproximates(series.quantiles(139.9)[-1], 2.0, 0.03)
        self.assertEqual(series.quantiles(160.1)[-1], 0.0)
        self.assertEqual((series.count, series.total), (1, 2.0))

    def test_a_long_silence_forgets_everything(self) -> None:
        """The first value after hours stands alone."""
        series = Series((), remembers=True)
        series.add(9.0, 100.0)
        series.add(0.5, 100_000.0)
        self.assertApproximates(series.quantiles(100_000.0)[-1], 0.5, 0.006)

    @given(st.lists(st.floats(0, 1e9, allow_nan=False), min_size=1, max_size=60))
    def test_the_extremes_are_those_of_the_values(self, values: list[float]) -> None:
        """Quantiles rise, and memory is bounded whatever is measured."""
        series = Series((1.0,), remembers=True)
        for value in values:
            series.add(value, 0.0)
        found = series.quantiles(0.0)
        self.assertEqual(found, sorted(found))
        low, high = min(values), min(max(values), 1e5)
        self.assertTrue(low * 0.98 - 1e-6 <= found[0] <= low * 1.02 + 1e-6 or low > 1e5, found)
        self.assertTrue(found[-1] <= high * 1.021 + 1e-6, found)
        self.assertLess(len(series._windows[0]), PLACES)
        self.assertEqual(series.buckets()[-1], ("+Inf", len(values)))


class Counting(SynchronousTestCase):
    """Numbers by label set."""

    def test_buckets_are_cumulative(self) -> None:
        """A value on a bound is below it."""
        observed = Observed("plugin", bounds=(0.5, 1.0))
        for value in (0.1, 0.5, 0.7, 3.0):
            observed.add(("a",), value, 0.0)
        family = observed.histogram("name", "Text.")
        self.assertEqual(
            [(dict(sample.labels).get("le"), sample.value) for sample in family.samples],
            [("0.5", 2), ("1", 3), ("+Inf", 4), (None, 4.3), (None, 4)],
        )

    def test_label_sets_are_bounded(self) -> None:
        """Whoever invents labels shares one series with others who do."""
        observed, counted = Observed("path"), Counted("name_total", "Text.", "path")
        for number in range(SERIES_MAX + 10):
            observed.add((str(number),), 0.1, 0.0)
            counted.add(str(number))
        self.assertEqual(len(observed.series()), SERIES_MAX + 1)
        self.assertEqual(len(counted.family().samples), SERIES_MAX + 1)
        self.assertEqual(counted.get("other"), 10)

    def test_threads_lose_nothing(self) -> None:
        """Counting on several threads at once adds up."""
        observed, counted = Observed("a", remembers=True), Counted("n_total", "T.", "a")

        def count() -> None:
            for _ in range(20_000):
                observed.add(("x",), 0.001, 1.0)
                counted.add("x")

        threads = [Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(observed.series()[0][1].count, 80_000)
        self.assertEqual(counted.get("x"), 80_000)

    def test_families_without_numbers_are_not_shown(self) -> None:
        """A family appears with its first number, with its summary and its histogram."""
        measures = Measures(lambda: 5.0)
        self.assertEqual(measures.families(), [])
        measures.control.add(OK, 0.25, 5.0)
        shown = {family.name: family for family in measures.families()}
        self.assertEqual(
            sorted(shown),
            [
                "eventdbx_capnp_control_request_duration_histogram_seconds",
                "eventdbx_capnp_control_request_duration_seconds",
                "eventdbx_capnp_control_requests_total",
            ],
        )
        labels = (("operation", "append_event"), ("status", "ok"))
        counted = shown["eventdbx_capnp_control_requests_total"]
        self.assertEqual(counted.samples, [Sample("", labels, 1)])
        summary = shown["eventdbx_capnp_control_request_duration_seconds"]
        self.assertEqual(summary.samples[0].labels, (*labels, ("quantile", "0")))
        self.assertEqual(summary.samples[-2:], [
            Sample("_sum", labels, 0.25), Sample("_count", labels, 1),
        ])  # fmt: skip

    def test_gauges_name_their_labels(self) -> None:
        """A gauge has one number for each set of label values."""
        self.assertEqual(
            gauge("name", "Text.", [(("a",), 2.0)], "state"),
            Family("name", "gauge", "Text.", [Sample("", (("state", "a"),), 2.0)]),
        )

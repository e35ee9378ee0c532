"""What the server counts about itself: counts, durations, and windows over the last minute.

Pure: clocks are arguments, and how numbers are shown is in :mod:`eventdbx.surfaces.http`. Memory is
bounded, whatever is counted: a series holds three windows of at most :data:`PLACES` places each,
a family at most :data:`SERIES_MAX` series. Counting may happen on any thread.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import exp, log
from threading import Lock
from typing import Literal, NamedTuple, TypeAlias

Kind = Literal["counter", "gauge", "summary", "histogram"]
Labels: TypeAlias = tuple[str, ...]

WINDOW_S = 20.0
WINDOWS = 3
"""Quantiles speak of the last minute, less up to one window."""

QUANTILES = (0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)

SERIES_MAX = 1_000
"""Label sets of one family; those beyond share one whose labels are all ``other``."""

DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds. The buckets of old versions, which dashboards know."""

FINE_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, *DURATION_BOUNDS, 10.0)
"""Seconds: requests and commits take less than the finest bucket of old versions."""

BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

FRESH_MAX = 256
"""Values of one series that are put down and not yet entered."""

# Values are remembered by their logarithm: 1 % off at most, and never more than PLACES of them.
_STEP = 1 / log(1.02)
_SMALLEST, _LARGEST = 1e-7, 1e5
_OFFSET = 1.0 - log(_SMALLEST) * _STEP
PLACES = int(log(_LARGEST) * _STEP + _OFFSET) + 1


class Sample(NamedTuple):
    """One number of a family: ``suffix`` goes behind the family's name."""

    suffix: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(NamedTuple):
    """All numbers of one name, as they are shown. Counters have their ``_total`` in the name."""

    name: str
    kind: Kind
    help: str
    samples: Sequence[Sample]


class Series:
    """The values of one label set: their number, their sum, buckets, and the last minute.

    Values are put down as they come and entered later, many at a time, which is cheaper.
    """

    __slots__ = ("_bounds", "_buckets", "_count", "_fresh", "_lock", "_total", "_turn_at",
                 "_windows")  # fmt: skip

    def __init__(self, bounds: Sequence[float], *, remembers: bool) -> None:
        self._count = 0
        self._total = 0.0
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._lock = Lock()
        self._windows: list[dict[int, int]] = [{} for _ in range(WINDOWS)] if remembers else []
        self._turn_at = 0.0 if remembers else float("inf")
        self._fresh: deque[float] = deque()

    def add(self, value: float, now: float) -> None:
        """Count a value that was measured at a time of a clock that only goes forward (s)."""
        fresh = self._fresh
        if now >= self._turn_at or len(fresh) >= FRESH_MAX:
            self._enter(now)
        # Adding to a deque needs no lock: whoever enters values takes them from the other end.
        fresh.append(value)

    @property
    def count(self) -> int:
        """How many values there were."""
        self._enter(0.0)
        return self._count

    @property
    def total(self) -> float:
        """The sum of the values."""
        self._enter(0.0)
        return self._total

    def _enter(self, now: float) -> None:
        """Enter the values that were put down, which are of the present window, and begin the
        next one when it is time."""
        with self._lock:
            take = self._fresh.popleft
            values = sorted([take() for _ in range(len(self._fresh))])
            self._count += len(values)
            self._total += sum(values)
            below = 0
            for index, bound in enumerate(self._bounds):
                up_to = bisect_right(values, bound)
                self._buckets[index] += up_to - below
                below = up_to
            self._buckets[-1] += len(values) - below
            if self._windows:
                window = self._windows[0]
                for value in values:
                    if _SMALLEST < value < _LARGEST:
                        place = int(log(value) * _STEP + _OFFSET)
                    else:
                        place = 0 if value <= _SMALLEST else PLACES - 1
                    window[place] = window.get(place, 0) + 1
            if now >= self._turn_at:
                self._turn(now)

    def _turn(self, now: float) -> None:
        """Begin as many new windows as have passed."""
        passed = 1 + int((now - self._turn_at) / WINDOW_S)
        for _ in range(min(passed, WINDOWS)):
            self._windows.pop()
            self._windows.insert(0, {})
        self._turn_at += passed * WINDOW_S

    def quantiles(self, now: float) -> list[float]:
        """Return the values at :data:`QUANTILES` of the last minute, zeros if there were none."""
        self._enter(now)
        with self._lock:
            places: dict[int, int] = {}
            for window in self._windows:
                for place, count in window.items():
                    places[place] = places.get(place, 0) + count
        ordered = sorted(places.items())
        total = sum(places.values())
        found: list[float] = []
        reached, index = 0, -1
        for quantile in QUANTILES:
            while index < len(ordered) - 1 and (index < 0 or reached <= quantile * (total - 1)):
                index += 1
                reached += ordered[index][1]
            found.append(_value_at(ordered[index][0]) if ordered else 0.0)
        return found

    def buckets(self) -> list[tuple[str, int]]:
        """Return (upper bound, values up to it), ``+Inf`` last."""
        bounds = [f"{bound:g}" for bound in self._bounds] + ["+Inf"]
        self._enter(0.0)
        with self._lock:
            counts = list(self._buckets)
        reached = 0
        found = []
        for bound, count in zip(bounds, counts, strict=True):
            reached += count
            found.append((bound, reached))
        return found


def _value_at(place: int) -> float:
    return 0.0 if place <= 0 else exp((place + 0.5 - _OFFSET) / _STEP)


class Observed:
    """A family of values by label set. ``remembers``: the last minute is kept, for quantiles."""

    __slots__ = ("_bounds", "_labels", "_remembers", "_series")

    def __init__(
        self, *labels: str, bounds: Sequence[float] = FINE_BOUNDS, remembers: bool = False
    ) -> None:
        self._labels = labels
        self._bounds = bounds
        self._remembers = remembers
        self._series: dict[Labels, Series] = {}

    def add(self, labels: Labels, value: float, now: float) -> None:
        """Count a value of a label set; see :meth:`Series.add`."""
        series = self._series.get(labels)
        if series is None:
            series = self.begin(labels)
        series.add(value, now)

    def begin(self, labels: Labels) -> Series:
        """Return the series of a label set, for those who count in it again and again."""
        assert len(labels) == len(self._labels)
        if len(self._series) >= SERIES_MAX:
            labels = ("other",) * len(labels)
        # Two threads that begin at once must get the same one.
        return self._series.setdefault(labels, Series(self._bounds, remembers=self._remembers))

    def series(self) -> list[tuple[tuple[tuple[str, str], ...], Series]]:
        """Return what there is by label set."""
        return [
            (tuple(zip(self._labels, labels, strict=True)), series)
            for labels, series in list(self._series.items())
        ]

    def counter(self, name: str, text: str) -> Family:
        """Show how many values there were."""
        samples = [Sample("", labels, series.count) for labels, series in self.series()]
        return Family(name, "counter", text, samples)

    def histogram(self, name: str, text: str) -> Family:
        """Show the buckets."""
        samples = []
        for labels, series in self.series():
            for bound, count in series.buckets():
                samples.append(Sample("_bucket", (*labels, ("le", bound)), count))
            samples += _sum_and_count(labels, series)
        return Family(name, "histogram", text, samples)

    def summary(self, name: str, text: str, now: float) -> Family:
        """Show the quantiles of the last minute."""
        samples = []
        for labels, series in self.series():
            for quantile, value in zip(QUANTILES, series.quantiles(now), strict=True):
                samples.append(Sample("", (*labels, ("quantile", f"{quantile:g}")), value))
            samples += _sum_and_count(labels, series)
        return Family(name, "summary", text, samples)


def _sum_and_count(labels: tuple[tuple[str, str], ...], series: Series) -> list[Sample]:
    return [Sample("_sum", labels, series.total), Sample("_count", labels, series.count)]


class Counted:
    """A family of counts by label set."""

    __slots__ = ("_counts", "_labels", "_lock", "name", "text")

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name = name
        self.text = text
        self._labels = labels
        self._lock = Lock()
        self._counts: dict[Labels, int] = {}

    def add(self, *labels: str, count: int = 1) -> None:
        """Count more of a label set."""
        with self._lock:
            if labels not in self._counts and len(self._counts) >= SERIES_MAX:
                labels = ("other",) * len(labels)
            self._counts[labels] = self._counts.get(labels, 0) + count

    def get(self, *labels: str) -> int:
        """Return the count of a label set."""
        return self._counts.get(labels, 0)

    def family(self) -> Family:
        """Show the counts."""
        with self._lock:
            counts = list(self._counts.items())
        samples = [
            Sample("", tuple(zip(self._labels, labels, strict=True)), count)
            for labels, count in counts
        ]
        return Family(self.name, "counter", self.text, samples)


def gauge(name: str, text: str, values: Iterable[tuple[Labels, float]], *labels: str) -> Family:
    """Show numbers of now, each with its label values."""
    samples = [Sample("", tuple(zip(labels, given, strict=True)), value) for given, value in values]
    return Family(name, "gauge", text, samples)


class Measures:
    """All that one server counts. ``clock`` only goes forward and is in seconds.

    ``control``, ``store``, ``http`` and ``cli_proxy`` are told with their labels in the order of
    their declaration; the others say theirs below.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.began = clock()
        self.control = Observed("operation", "status", remembers=True)
        self.store = Observed("operation", "status", remembers=True)
        self.cli_proxy = Observed("command", "status", "exit_code", remembers=True)
        self.http = Observed("method", "path", "status", bounds=DURATION_BOUNDS)
        self.commit_events = Observed(bounds=BATCH_BOUNDS)
        self.commit_seconds = Observed()
        self.loop_lag = Observed(remembers=True)
        self.deliveries = Observed("plugin", "outcome")
        self.jobs_enqueued = Counted(
            "eventdbx_plugin_jobs_enqueued_total",
            "Total number of plugin jobs enqueued for delivery.",
            "plugin",
        )
        self.jobs_completed = Counted(
            "eventdbx_plugin_jobs_completed_total",
            "Total number of plugin jobs completed successfully.",
            "plugin",
        )
        self.jobs_failed = Counted(
            "eventdbx_plugin_jobs_failed_total",
            "Total number of plugin jobs that failed.",
            "plugin",
        )
        self.retries = Counted(
            "eventdbx_plugin_retries_total",
            "Deliveries of events that had failed before.",
            "plugin",
        )
        self.auth_failures = Counted(
            "eventdbx_auth_failures_total",
            "Requests and hellos that were refused because of their token.",
            "surface",
            "reason",
        )

    def families(self) -> list[Family]:
        """Show everything that was counted so far; families without numbers are left out."""
        now = self.clock()
        shown = [
            *_requests(self.http, "eventdbx_http_request", _HTTP_TEXTS, None),
            *_requests(self.control, "eventdbx_capnp_control_request", _CONTROL_TEXTS, now),
            *_requests(self.cli_proxy, "eventdbx_cli_proxy_command", _CLI_PROXY_TEXTS, now),
            *_requests(self.store, "eventdbx_store_operation", _STORE_TEXTS, now),
            self.commit_events.histogram(
                "eventdbx_commit_batch_events", "Writes that were made durable together."
            ),
            self.commit_seconds.histogram(
                "eventdbx_commit_seconds",
                "How long it took to make what was written together durable.",
            ),
            self.loop_lag.summary(
                "eventdbx_loop_lag_seconds",
                "How late the server's loop got round to what was due each second.",
                now,
            ),
            self.jobs_enqueued.family(),
            self.jobs_completed.family(),
            self.jobs_failed.family(),
            self.retries.family(),
            self.deliveries.histogram(
                "eventdbx_plugin_delivery_duration_seconds",
                "How long targets took to accept or refuse what was delivered.",
            ),
            self.auth_failures.family(),
        ]
        return [family for family in shown if family.samples]


_HTTP_TEXTS = (
    "Total number of HTTP requests processed by the EventDBX server.",
    "HTTP request latency observed by the EventDBX server.",
)
_CONTROL_TEXTS = (
    "Total number of Cap'n Proto control requests handled over the TCP socket.",
    "Latency of Cap'n Proto control requests handled over the TCP socket.",
)
_CLI_PROXY_TEXTS = (
    "Total number of CLI proxy shell-out commands executed.",
    "Latency of CLI proxy shell-out command execution.",
)
_STORE_TEXTS = (
    "Total number of operations executed by the event store.",
    "Duration of operations executed by the event store.",
)


def _requests(
    observed: Observed, name: str, texts: tuple[str, str], now: float | None
) -> list[Family]:
    """Show requests and how long they took; with a summary and its twin when ``now`` is given."""
    counted = observed.counter(f"{name}s_total", texts[0])
    if now is None:
        return [counted, observed.histogram(f"{name}_duration_seconds", texts[1])]
    return [
        counted,
        observed.summary(f"{name}_duration_seconds", texts[1], now),
        observed.histogram(f"{name}_duration_histogram_seconds", texts[1]),
    ]

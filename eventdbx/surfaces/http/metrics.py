"""Measures as Prometheus reads them: its text format, and OpenMetrics.

The text format is written here, for old dashboards and scripts know the order of its labels and
how its numbers look; OpenMetrics, and what the process and the interpreter say about themselves,
come from ``prometheus_client``.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, cast

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from eventdbx.measures import Family, Kind, Sample

Form = Literal["text", "openmetrics"]

CONTENT_TYPES: dict[Form, str] = {
    "text": "text/plain; version=0.0.4",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

UPTIME = "eventdbx_uptime_seconds"
_ORDER: dict[Kind, int] = {"counter": 0, "gauge": 1, "histogram": 2, "summary": 2}
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_ESCAPES_OF_HELP = str.maketrans({"\\": "\\\\", "\n": "\\n"})
_GZIP_LEVEL = 3


def chosen_form(accept: str | None) -> Form:
    """Return which format an ``Accept`` header prefers; the text format unless it says so."""
    weights = {"text": 0.0, "openmetrics": 0.0}
    for part in (accept or "").split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        form = {"application/openmetrics-text": "openmetrics", "text/plain": "text"}.get(name)
        if form is None:
            continue
        weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        try:
            weights[form] = max(weights[form], float(weight))
        except ValueError:
            continue
    asked = weights["openmetrics"]
    return "openmetrics" if asked > 0 and asked >= weights["text"] else "text"


def takes_gzip(accept_encoding: str | None) -> bool:
    """Return whether an ``Accept-Encoding`` header allows gzip."""
    for part in (accept_encoding or "").split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name == "gzip":
            return not any(one.replace(" ", "") in ("q=0", "q=0.0") for one in parameters)
    return False


def compressed(body: bytes) -> bytes:
    """Return a body for those who take gzip; the same body gives the same bytes."""
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


class Exposition:
    """Renders families, with those of the process and the interpreter behind them."""

    def __init__(self) -> None:
        self._surroundings = CollectorRegistry()
        ProcessCollector(registry=self._surroundings)
        PlatformCollector(registry=self._surroundings)
        GCCollector(registry=self._surroundings)

    def render(self, families: Sequence[Family], form: Form) -> bytes:
        """Return the body of an answer; takes milliseconds, on any thread."""
        if form == "openmetrics":
            registry = CollectorRegistry()
            registry.register(_Given(families, self._surroundings))
            rendered: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
            return rendered
        foreign = (_family(metric) for metric in self._surroundings.collect())
        return text_of([*families, *foreign]).encode()


def text_of(families: Iterable[Family]) -> str:
    """Return families in the text format: counters, gauges, the others; the uptime last."""
    ordered = sorted(families, key=lambda one: (one.name == UPTIME, _ORDER.get(one.kind, 3)))
    return "\n".join("".join(_lines(family)) for family in ordered if family.samples)


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help.translate(_ESCAPES_OF_HELP)}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for suffix, labels, value in family.samples:
        shown = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels)
        yield f"{family.name}{suffix}{{{shown}}} {number(value)}\n"


def number(value: float) -> str:
    """Return a number as short as it can be: ``3``, ``0.25``, ``1`` for 1.0."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _family(metric: Metric) -> Family:
    """Return what ``prometheus_client`` has collected as a family of ours."""
    name = metric.name + ("_total" if metric.type == "counter" else "")
    samples = [
        Sample(one.name.removeprefix(name), tuple(one.labels.items()), one.value)
        for one in metric.samples
        if not one.name.endswith("_created")
    ]
    return Family(name, cast(Kind, metric.type), metric.documentation, samples)


class _Given(Collector):
    """Hands families to ``prometheus_client``."""

    def __init__(self, families: Sequence[Family], surroundings: CollectorRegistry) -> None:
        self._families = families
        self._surroundings = surroundings

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            name = family.name
            counter = family.kind == "counter"
            metric = Metric(name.removesuffix("_total") if counter else name, family.help,
                            family.kind)  # fmt: skip
            for suffix, labels, value in family.samples:
                shown = {key: _bound(text) if key in _BOUNDS else text for key, text in labels}
                metric.add_sample(name + suffix, shown, value)
            yield metric
        yield from self._surroundings.collect()


_BOUNDS = ("le", "quantile")


def _bound(text: str) -> str:
    """Return a bound as OpenMetrics wants it: ``1.0``, where the text format has ``1``."""
    return text if text == "+Inf" else str(float(text))

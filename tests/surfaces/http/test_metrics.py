"""How measures look to Prometheus, in both of its formats."""

from __future__ import annotations

import gzip

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.measures import Family, Measures, Sample, gauge
from eventdbx.surfaces.http.metrics import (
    Exposition,
    chosen_form,
    compressed,
    number,
    takes_gzip,
    text_of,
)

OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;"
    "version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def measured() -> Measures:
    """Measures in which something was counted."""
    measures = Measures(lambda: 100.0)
    measures.control.add(("append_event", "ok"), 0.25, 100.0)
    measures.http.add(("GET", "/health", "200"), 0.001, 100.0)
    measures.jobs_failed.add('log (a"b\\c\nd)')
    return measures


class TextFormat(SynchronousTestCase):
    """What old scripts and dashboards read."""

    def test_lines_look_as_they_always_did(self) -> None:
        """Labels in their order, numbers short, buckets named as before, a blank line between."""
        shown = text_of(measured().families())
        self.assertIn(
            "# HELP eventdbx_http_requests_total Total number of HTTP requests processed by the "
            "EventDBX server.\n# TYPE eventdbx_http_requests_total counter\n"
            'eventdbx_http_requests_total{method="GET",path="/health",status="200"} 1\n\n',
            shown,
        )
        self.assertIn(
            'eventdbx_http_request_duration_seconds_bucket{method="GET",path="/health",'
            'status="200",le="1"} 1\n',
            shown,
        )
        self.assertIn(
            'eventdbx_capnp_control_request_duration_seconds_sum{operation="append_event",'
            'status="ok"} 0.25\n',
            shown,
        )

    def test_counters_come_first_and_the_uptime_last(self) -> None:
        """Families are in the order of old versions."""
        uptime = gauge("eventdbx_uptime_seconds", "Text.", [((), 12.345)])
        shown = text_of([uptime, *measured().families()])
        kinds = [line.split()[3] for line in shown.splitlines() if line.startswith("# TYPE")]
        first, *others, last = kinds
        self.assertEqual((first, last), ("counter", "gauge"))
        self.assertNotIn("counter", others[others.index("histogram") :])
        self.assertTrue(shown.endswith("eventdbx_uptime_seconds{} 12.345\n"))

    def test_label_values_are_escaped(self) -> None:
        """A plugin may be named anything."""
        (family,) = [one for one in read_text(text_of(measured().families()))
                     if one.name == "eventdbx_plugin_jobs_failed"]  # fmt: skip
        self.assertEqual(family.samples[0].labels, {"plugin": 'log (a"b\\c\nd)'})

    def test_numbers_are_as_short_as_they_can_be(self) -> None:
        """Integers have no point, other numbers every digit that they need."""
        self.assertEqual(
            [number(one) for one in (3, 1.0, 0.25, 1e-7, float("inf"), float("nan"), 2.0**60)],
            ["3", "1", "0.25", "1e-07", "+Inf", "NaN", "1.152921504606847e+18"],
        )

    def test_process_and_interpreter_are_shown(self) -> None:
        """Memory, processor time, open files and collections of garbage are there."""
        families = {one.name: one for one in read_text(Exposition().render([], "text").decode())}
        for name in ("process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds",
                     "python_gc_collections", "python_info"):  # fmt: skip
            self.assertTrue(families[name].samples, name)
        self.assertGreater(families["process_resident_memory_bytes"].samples[0].value, 1e6)


class OpenMetrics(SynchronousTestCase):
    """What newer scrapers ask for."""

    def test_it_is_read_by_a_strict_parser(self) -> None:
        """All families are valid OpenMetrics, with the same numbers."""
        extra = Family("x_total", "counter", "Text.", [Sample("", (("a", "b"),), 3)])
        body = Exposition().render([*measured().families(), extra], "openmetrics").decode()
        self.assertTrue(body.endswith("# EOF\n"))
        families = {one.name: one for one in read_openmetrics(body)}  # type: ignore[no-untyped-call]
        self.assertEqual(families["x"].samples[0].value, 3)
        buckets = families["eventdbx_http_request_duration_seconds"].samples
        self.assertIn("1.0", [one.labels.get("le") for one in buckets])
        self.assertEqual(
            families["eventdbx_capnp_control_request_duration_seconds"].type, "summary"
        )


class Choosing(SynchronousTestCase):
    """Which format and encoding a scraper gets."""

    def test_formats(self) -> None:
        """OpenMetrics only for those who prefer it."""
        chosen = {
            None: "text",
            "*/*": "text",
            "text/html,application/xhtml+xml,*/*;q=0.8": "text",
            OF_PROMETHEUS: "openmetrics",
            "application/openmetrics-text": "openmetrics",
            "application/openmetrics-text;q=0": "text",
            "application/openmetrics-text;q=0.1,text/plain;q=0.9": "text",
            "application/openmetrics-text;q=nonsense": "text",
        }
        for accept, form in chosen.items():
            self.assertEqual(chosen_form(accept), form, accept)

    def test_gzip(self) -> None:
        """Only for those who take it."""
        for given, taken in {None: False, "gzip": True, "deflate, GZIP;q=0.5": True,
                             "gzip;q=0": False, "identity": False}.items():  # fmt: skip
            self.assertEqual(takes_gzip(given), taken, given)
        self.assertEqual(gzip.decompress(compressed(b"x" * 99)), b"x" * 99)

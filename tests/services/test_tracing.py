"""Spans of what carries a trace, made with the real packages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from threading import Event
from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.services.tracing import Spans, make_spans, trace_context

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CARRIED = f'{{"@trace":{{"traceparent":"00-{TRACE}-{PARENT}-01"}},"@note":1}}'
NOW_NS = 1_700_000_000_000_000_000


class Hanging(InMemorySpanExporter):
    """An exporter whose target does not answer."""

    def __init__(self, go_on: Event) -> None:
        super().__init__()
        self.asked = Event()
        self._go_on = go_on

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self._go_on.wait()
        return SpanExportResult.SUCCESS


class Traced(SynchronousTestCase):
    """Spans that go to memory."""

    def setUp(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.spans = Spans(self.exporter, batched=False, now_ns=lambda: NOW_NS)
        self.addCleanup(self.spans.close)

    def test_a_request_continues_the_trace_of_its_event(self) -> None:
        """The span has the writer's trace and parent, the operation, and the time it took."""
        self.spans.request("append_event", "ok", CARRIED, 0.25)
        (span,) = self.exporter.get_finished_spans()
        assert span.parent is not None and span.context is not None
        self.assertEqual(span.context.trace_id, int(TRACE, 16))
        self.assertEqual(span.parent.span_id, int(PARENT, 16))
        self.assertEqual((span.name, span.kind), ("eventdbx append_event", SpanKind.SERVER))
        self.assertEqual((span.start_time, span.end_time), (NOW_NS - 250_000_000, NOW_NS))
        self.assertEqual(span.status.status_code, StatusCode.UNSET)

    def test_failures_are_marked(self) -> None:
        """A request that was refused has the code of its error."""
        self.spans.request("append_event", "version_conflict", CARRIED, 0.1)
        (span,) = self.exporter.get_finished_spans()
        self.assertEqual(span.status.status_code, StatusCode.ERROR)
        self.assertEqual(span.status.description, "version_conflict")

    def test_each_event_of_a_delivery_has_its_own_trace(self) -> None:
        """Events without a trace, or whose metadata the plugin does not get, have no span."""
        items: list[Any] = [
            SimpleNamespace(parts=SimpleNamespace(record=record))
            for record in (
                SimpleNamespace(extensions=CARRIED.encode()),
                SimpleNamespace(extensions=b'{"@note":1}'),
                SimpleNamespace(extensions=None),
                None,
            )
        ]
        self.spans.delivery("http (hook)", "unavailable", items, 1.0)
        (span,) = self.exporter.get_finished_spans()
        assert span.attributes is not None
        self.assertEqual(span.attributes["eventdbx.plugin"], "http (hook)")
        self.assertEqual(span.status.status_code, StatusCode.ERROR)

    def test_an_exporter_that_hangs_does_not_hold_up_the_end(self) -> None:
        """A server whose collector is away ends all the same."""
        go_on = Event()
        self.addCleanup(go_on.set)
        hanging = Hanging(go_on)
        spans = Spans(hanging)
        spans.request("append_event", "ok", CARRIED, 0.1)
        spans.close(0.05)
        self.assertTrue(hanging.asked.wait(10))
        self.assertFalse(go_on.is_set())

    def test_nonsense_is_not_traced(self) -> None:
        """A trace that is none harms nobody and makes no span."""
        for metadata in ("", "{}", "[]", '["@trace"]', '{"@trace":1}', '{"@trace":{}}', '"@trace"',
                         '{"@trace":"00-zz"}', '{"@trace":{"traceparent":7}}', '{"@trace"',
                         '{"@trace":{"id":"t-1"}}', f'{{"@trace":"00-{"0" * 32}-{PARENT}-01"}}',
                         b"\xff\"@trace\""):  # fmt: skip
            self.spans.request("append_event", "ok", metadata, 0.1)
        self.assertEqual(self.exporter.get_finished_spans(), ())

    def test_the_text_alone_will_do(self) -> None:
        """``@trace`` may be the text of ``traceparent``."""
        self.assertEqual(trace_context('{"@trace":"00-x"}'), {"traceparent": "00-x"})
        self.assertEqual(
            trace_context('{"@trace":{"traceparent":"00-x","tracestate":"a=1","more":2}}'),
            {"traceparent": "00-x", "tracestate": "a=1"},
        )


class Choosing(SynchronousTestCase):
    """When something is traced at all."""

    def test_off_unless_an_exporter_is_named(self) -> None:
        """The variables of OpenTelemetry decide; without them there is nothing."""
        for environ in ({}, {"OTEL_TRACES_EXPORTER": "none"},
                        {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "TRUE"},
                        {"OTEL_TRACES_EXPORTER": "no-such-exporter"}):  # fmt: skip
            self.assertIsNone(make_spans(environ), environ)
        spans = make_spans({"OTEL_TRACES_EXPORTER": "console"})
        assert spans is not None
        spans.close()

    def test_off_without_the_packages(self) -> None:
        """A server without OpenTelemetry starts all the same, and traces nothing."""
        for name in [one for one in sys.modules if one.split(".")[0] == "opentelemetry"]:
            self.patch_module(name)
        self.assertIsNone(make_spans({"OTEL_TRACES_EXPORTER": "console"}))

    def patch_module(self, name: str) -> None:
        """Let a module be missing for the length of a test."""
        missing: Any = None
        self.addCleanup(sys.modules.__setitem__, name, sys.modules[name])
        sys.modules[name] = missing

"""Spans of requests and deliveries, continued from the trace that an event carries.

Whoever writes an event puts its trace context (W3C) into the event's metadata, as the member
``@trace``: ``{"traceparent": "00-...", "tracestate": "..."}``, or the text of ``traceparent``
alone. Events without one are not traced. Nothing is traced either unless OpenTelemetry is installed
and an exporter is named in its own variables (``OTEL_TRACES_EXPORTER``,
``OTEL_EXPORTER_OTLP_ENDPOINT``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from threading import Thread
from typing import Any

import orjson
from twisted.logger import Logger

from eventdbx import __version__
from eventdbx.domain.delivery.parts import Item

KEY = "@trace"
_QUOTED = b'"@trace"'
_OF_ENDPOINT = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXPORTERS = {"otlp": ("otlp_proto_http", "otlp_proto_grpc")}

CLOSE_S = 3.0
"""How long the end of a server waits for the last spans to leave."""

log = Logger()


def make_spans(environ: Mapping[str, str]) -> Spans | None:
    """Return where traced requests and deliveries go, None when nothing is to be traced."""
    wanted = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not wanted and any(environ.get(name) for name in _OF_ENDPOINT):
        wanted = "otlp"
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or wanted in ("", "none"):
        return None
    try:
        exporter = _exporter(wanted)
        return None if exporter is None else Spans(exporter)
    except ImportError as error:
        log.warn("nothing is traced: {reason}", reason=str(error))
        return None


def _exporter(name: str) -> Any:
    """Return an exporter that a package has registered under a name, None if there is none."""
    for known in _EXPORTERS.get(name, (name,)):
        for found in entry_points(group="opentelemetry_traces_exporter", name=known):
            return found.load()()
    log.warn(
        "nothing is traced: no package offers the exporter '{name}' of OTEL_TRACES_EXPORTER",
        name=name,
    )
    return None


class Spans:
    """Makes spans of what has ended and hands them to an exporter, on a thread of its own.

    ``batched`` false exports each span at once.
    """

    def __init__(
        self,
        exporter: Any,
        *,
        batched: bool = True,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.name": "eventdbx", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        processor = BatchSpanProcessor if batched else SimpleSpanProcessor
        self._provider.add_span_processor(processor(exporter))
        self._tracer = self._provider.get_tracer("eventdbx", __version__)
        self._trace = trace
        self._extract = TraceContextTextMapPropagator().extract
        self._now_ns = now_ns

    def request(self, operation: str, status: str, metadata: str | bytes, seconds: float) -> None:
        """Take a request that has just been answered, if its event carries a trace."""
        self._ended(
            operation,
            self._trace.SpanKind.SERVER,
            metadata,
            seconds,
            {"eventdbx.operation": operation, "eventdbx.status": status},
            failure=None if status == "ok" else status,
        )

    def delivery(self, plugin: str, outcome: str, items: Sequence[Item], seconds: float) -> None:
        """Take a delivery that has just ended: a span for each event that carries a trace."""
        for item in items:
            record = item.parts.record
            if record is not None and record.extensions is not None:
                self._ended(
                    "deliver",
                    self._trace.SpanKind.PRODUCER,
                    record.extensions,
                    seconds,
                    {"eventdbx.plugin": plugin, "eventdbx.outcome": outcome},
                    failure=None if outcome == "accepted" else outcome,
                )

    def _ended(
        self,
        name: str,
        kind: Any,
        metadata: str | bytes,
        seconds: float,
        attributes: dict[str, str],
        *,
        failure: str | None,
    ) -> None:
        carrier = trace_context(metadata)
        if carrier is None:
            return
        context = self._extract(carrier)
        if not self._trace.get_current_span(context).get_span_context().is_valid:
            return
        end = self._now_ns()
        span = self._tracer.start_span(
            f"eventdbx {name}",
            context=context,
            kind=kind,
            attributes=attributes,
            start_time=end - int(seconds * 1e9),
        )
        if failure is not None:
            span.set_status(self._trace.StatusCode.ERROR, failure)
        span.end(end_time=end)

    def close(self, within_s: float = CLOSE_S) -> None:
        """Export what waits, for a moment at most: the exporter's target may be away."""
        exporting = Thread(target=self._provider.shutdown, daemon=True)
        exporting.start()
        exporting.join(within_s)


def trace_context(metadata: str | bytes) -> dict[str, str] | None:
    """Return the headers of the trace that an event's metadata carry, None if they carry none."""
    data = metadata.encode() if isinstance(metadata, str) else metadata
    if _QUOTED not in data:
        return None
    try:
        found = orjson.loads(data)[KEY]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(found, str):
        return {"traceparent": found}
    if isinstance(found, dict):
        headers = {
            name: found[name]
            for name in ("traceparent", "tracestate")
            if isinstance(found.get(name), str)
        }
        return headers if "traceparent" in headers else None
    return None

"""Traces: the SDK makes a span for every message, and the `otel` extra sends them where the standard variables say."""

import os
from typing import Any

from mcp.server.lowlevel import Server
from opentelemetry import trace

_SWITCHES = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def spans_are_wanted() -> bool:
    """Return whether a standard variable names a place for traces, and OTEL_SDK_DISABLED does not say no."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get(_SWITCHES[0]) == "none":
        return False
    return any(os.environ.get(name) for name in _SWITCHES)


def export_spans() -> None:
    """Send spans by OTLP over HTTP where the environment asks for it. Raises SystemExit without the `otel` extra."""
    if not spans_are_wanted():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - optional
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - optional
    except ImportError:
        raise SystemExit(
            "Traces are asked for by OTEL_… variables: install the otel extra of this service, or unset them."
        ) from None
    provider = TracerProvider(
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "luma-mcp")})
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush_spans() -> None:
    """Send what is still waiting to be sent; without an exporter there is nothing."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush()


def drop_unwanted_spans(server: Server[Any]) -> None:
    """Take the span of every message off the path where nobody would see it: it costs time even unexported."""
    if not spans_are_wanted():
        server.middleware.clear()

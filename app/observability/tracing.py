"""OpenTelemetry traces: a span for every MCP message. The standard OTEL_ environment variables configure the export.

The export needs the `otel` extra of this package.
"""

import os
from collections.abc import Collection
from typing import Any

from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from opentelemetry import trace
from opentelemetry.context import Context as OtelContext
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.mcp_server.tools.call_handler import Context

MAX_TRACEPARENT_LENGTH = 64
"""Limit in characters. A traceparent of version 00 of W3C Trace Context has 55."""

_SWITCHES = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def spans_are_wanted() -> bool:
    """Return whether the environment asks for traces: an exporter or endpoint is set, and not switched off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get(_SWITCHES[0]) == "none":
        return False
    return any(os.environ.get(name) for name in _SWITCHES)


def export_spans() -> None:
    """Set up the export of spans, by OTLP over HTTP, if the environment asks for traces.

    Raises SystemExit if traces are asked for and the `otel` extra is not installed.
    """
    if not spans_are_wanted():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - optional
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - optional
    except ImportError:
        raise SystemExit(
            "OTEL_… variables ask for traces, but the otel extra of this service is not installed: install it, or "
            "unset them."
        ) from None
    provider = TracerProvider(
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "luma-mcp")})
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush_spans() -> None:
    """Export the spans that are queued. Blocks. Does nothing without an exporter."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush()


def replace_spans(server: Server[Any], targets: Collection[str]) -> None:
    """Replace the SDK's tracing middleware by CallSpans, or remove it if the environment asks for no traces.

    `targets` are the names of the tools. The SDK names spans after any method and tool that a caller sends, records
    request ids of any length, and records the messages of exceptions, which may hold a prompt. Spans cost time even if
    they are not exported.
    """
    server.middleware[:] = [
        middleware for middleware in server.middleware if not isinstance(middleware, OpenTelemetryMiddleware)
    ]
    if spans_are_wanted():
        server.middleware.insert(0, CallSpans(server, targets))


class CallSpans:
    """A middleware that records a span for each message. Span names are from a closed set."""

    def __init__(self, server: Server[Any], targets: Collection[str]) -> None:
        """Name spans after the methods that `server` serves, and the tools in `targets`."""
        self._server = server
        self._targets = targets
        self._tracer = trace.get_tracer("luma-mcp")

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Pass the message on within a span."""
        name = self._name(ctx)
        with self._tracer.start_as_current_span(
            name,
            context=_parent_context(ctx),
            kind=SpanKind.SERVER,
            attributes={"mcp.method.name": name.partition(" ")[0], "mcp.protocol.version": ctx.protocol_version},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                result = await call_next(ctx)
            except Exception as exc:
                code = exc.error.code if isinstance(exc, MCPError) else type(exc).__qualname__
                _mark_failed(span, str(code))
                raise
            if isinstance(result, dict) and result.get("isError") is True:
                _mark_failed(span, "tool_error")
            return result

    def _name(self, ctx: Context) -> str:
        if self._server.get_request_handler(ctx.method) is None:
            return "other"
        target = (ctx.params or {}).get("name")
        is_named = ctx.method == "tools/call" and isinstance(target, str) and target in self._targets
        return f"{ctx.method} {target}" if is_named else ctx.method


def _parent_context(ctx: Context) -> OtelContext | None:
    """Return the context of the caller's span by the W3C traceparent in `_meta`; None without one.

    tracestate and baggage are ignored.
    """
    traceparent = (ctx.meta or {}).get("traceparent")
    if not isinstance(traceparent, str) or len(traceparent) > MAX_TRACEPARENT_LENGTH:
        return None
    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def _mark_failed(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)

"""The call log: a log line and metrics for every tool call, and for the requests that RequestLog records."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from pydantic_core import to_json
from structlog.typing import EventDict

from app.mcp_server.tools.call_handler import CallRecord
from app.observability.batched_writer import BatchedWriter
from app.observability.logging import renderer
from app.observability.metrics import Metrics, bounded_client


class CallLog:
    """Records each call in the log and the metrics. A line that cannot be written is counted and dropped."""

    def __init__(self, metrics: Metrics, render: Callable[[EventDict], str] | None) -> None:
        """Count in `metrics`. `render` formats a call's event as a log line; None logs no calls."""
        self._metrics = metrics
        self._render = render
        self._lines = BatchedWriter(metrics.lines_lost.inc)

    def call_started(self) -> None:
        """Count one call in flight."""
        self._metrics.calls_in_flight.inc()

    def call_ended(self, record: CallRecord) -> None:
        """Record a finished call."""
        self._metrics.calls_in_flight.dec()
        client = bounded_client(record.client)
        self._count(record, client)
        if self._render is not None:
            self._lines.add(self._render(_event(record, client)))

    def _count(self, record: CallRecord, client: str) -> None:
        metrics, stats = self._metrics, record.stats
        metrics.calls(record.tool, record.outcome, record.era).inc()
        metrics.client_calls(client, record.era).inc()
        metrics.call_seconds(record.tool).observe(record.seconds)
        lookups_by_level = (("local", stats.local_hits), ("shared", stats.shared_hits), ("backend", stats.fetched))
        for level, count in lookups_by_level:
            if count:
                metrics.lookups(level).inc(count)
        if stats.joined:
            metrics.flights_joined.inc(stats.joined)
        for state, count in record.state_counts.items():
            if count:
                metrics.tasks_seen(state).inc(count)


def _event(record: CallRecord, client: str) -> EventDict:
    stats = record.stats
    started = {"task_id": record.task_id} if record.task_id is not None else {}
    return {
        "event": "call",
        "level": "info",
        "logger": "app.call",
        "request_id": record.request_id,
        "tenant": record.tenant[:16],
        "tool": record.tool,
        "outcome": record.outcome,
        "ms": round(record.seconds * 1000, 2),
        "era": record.era,
        "client": client,
        "hits": stats.local_hits + stats.shared_hits,
        "joined": stats.joined,
        "fetched": stats.fetched,
        "backend_calls": stats.backend_calls,
        **started,
        "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }


def call_formatter(form: Literal["json", "text"] | None) -> Callable[[EventDict], str]:
    """Return a function that formats a call's event as a log line, like other log lines.

    It bypasses structlog's processors of standard log records, which cost time. `form` is as in `configure_logging`.
    """
    if (form or ("text" if sys.stderr.isatty() else "json")) == "json":
        return lambda event: to_json(event).decode()
    render = renderer("text")
    return lambda event: str(render(None, "info", event))

"""One line and a handful of counters for every tool call."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from pydantic_core import to_json
from structlog.processors import TimeStamper
from structlog.typing import EventDict

from app.mcp_server.door import CallRecord
from app.observability.logs import renderer
from app.observability.metrics import Metrics, bounded_client


class Journal:
    """Tells the log and the metrics of each call; a log that cannot be written costs its line only."""

    def __init__(self, metrics: Metrics, write: Callable[[EventDict], None] | None) -> None:
        """Count in `metrics` and log through `write`; None logs nothing."""
        self._metrics = metrics
        self._write = write

    def called(self, record: CallRecord) -> None:
        """Note one finished call."""
        client = bounded_client(record.client)
        self._count(record, client)
        if self._write is None:
            return
        effort = record.effort
        try:
            self._write(
                {
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
                    "hits": effort.local_hits + effort.shared_hits,
                    "joined": effort.joined,
                    "fetched": effort.fetched,
                    "backend_calls": effort.backend_calls,
                }
            )
        except OSError:
            self._metrics.lines_lost.inc()

    def _count(self, record: CallRecord, client: str) -> None:
        metrics, effort = self._metrics, record.effort
        metrics.calls(record.tool, record.outcome, record.era, client).inc()
        metrics.call_seconds(record.tool).observe(record.seconds)
        levels = (("local", effort.local_hits), ("shared", effort.shared_hits), ("backend", effort.fetched))
        for level, count in levels:
            if count:
                metrics.lookups(level).inc(count)
        if effort.joined:
            metrics.flights_joined.inc(effort.joined)
        for state, count in record.seen.items():
            if count:
                metrics.tasks_seen(state).inc(count)


def line_writer(form: Literal["json", "text"] | None) -> Callable[[EventDict], None]:
    """Return what writes a call's line to standard error, past the machinery that library records need."""
    if (form or ("text" if sys.stderr.isatty() else "json")) == "json":
        return _write_json
    render = renderer("text")
    stamp = TimeStamper(fmt="iso", utc=True)

    def write(event: EventDict) -> None:
        line = render(None, "info", stamp(None, "info", event))
        sys.stderr.write(f"{line!s}\n")

    return write


def _write_json(event: EventDict) -> None:
    stamped = {**event, "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")}
    sys.stderr.write(to_json(stamped).decode() + "\n")

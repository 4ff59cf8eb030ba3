"""Prometheus metrics, with labels from closed sets only: a caller cannot make the number of series grow."""

import os
import re
from collections.abc import Callable
from functools import cache, lru_cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody reads

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)

KNOWN_CLIENTS = (
    "chatgpt", "claude", "cline", "codex", "copilot", "cursor", "curl", "gemini", "goose", "inspector", "librechat",
    "lm-studio", "mcp", "n8n", "node", "openai", "opencode", "postman", "python", "visual-studio-code", "vscode",
    "windsurf", "zed",
)  # fmt: skip
_WORDS = re.compile(r"[^a-z0-9]+")


LONGEST_CLIENT = 64
"""Characters of a client's name that are looked at."""


def bounded_client(name: str) -> str:
    """Return the label for a client program's own name: one of a closed set, "other", or "unknown" for none."""
    return _client_label(name[:LONGEST_CLIENT]) if name else "unknown"


@lru_cache(maxsize=1024)
def _client_label(start: str) -> str:
    """Return the label for the start of a name; the cache must not keep names of any length."""
    words = _WORDS.sub("-", start.lower())
    return next((known for known in KNOWN_CLIENTS if words.startswith(known)), "other")


class Metrics:
    """The service's counters; one set per process, added up over workers where there are several."""

    def __init__(self) -> None:
        """Start from zero, in a registry of their own."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.calls = self._counters("calls", "Tool calls.", "tool", "outcome", "era", "client")
        self.call_seconds = self._histograms("call_seconds", "Time to answer a tool call.", "tool")
        self.lookups = self._counters("task_lookups", "Task ids asked, by who knew the answer.", "level")
        self.flights_joined = self._counter("flights_joined", "Task ids that joined a fetch already in the air.")
        self.tasks_seen = self._counters("tasks_seen", "Tasks answered, by state.", "state")
        self.backend_calls = self._counters("backend_calls", "HTTP calls to the backend.", "endpoint", "outcome")
        self.backend_seconds = self._histograms("backend_seconds", "Time of a backend call.", "endpoint")
        self.withheld = self._counters("calls_withheld", "Calls not sent to the backend, by why.", "reason")
        self.store_failures = self._counters("store_failures", "Operations that Redis did not answer.", "operation")
        self.link_failures = self._counters(
            "redis_link_failures", "Commands denied by Redis or without a place here, and ends of the channel.", "kind"
        )
        self.values_refused = self._counter("cache_values_refused", "Cached values that could not be trusted.")
        self.refusals = self._counters("http_refusals", "Requests turned away before MCP, by status.", "status")
        self.limit_reached = self._counters("limits_reached", "Callers refused by a limit, by limit.", "limit")
        self.callbacks = self._counters("callbacks", "Callbacks of the backend, by what became of them.", "outcome")
        self.callbacks_doubted = self._gauge(
            "callbacks_doubted", "Processes that read on schedule because callbacks of the backend stay away."
        )
        self.calls_in_flight = self._gauge("calls_in_flight", "Tool calls that are being answered.")
        self.waiting_callers = self._gauge("waiting_callers", "Calls that wait for tasks to finish.")
        self.listeners = self._gauge("listeners", "Streams of subscriptions/listen.")
        self.submissions_in_flight = self._gauge("submissions_in_flight", "Purchases that are under way.")
        self.lines_lost = self._counter("log_lines_lost", "Log lines that could not be written.")

    def _gauge(self, name: str, text: str) -> Gauge:
        """Return a gauge that adds up over the workers that live."""
        return Gauge(f"luma_mcp_{name}", text, registry=self.registry, multiprocess_mode="livesum")

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"luma_mcp_{name}", text, registry=self.registry)

    def _counters(self, name: str, text: str, *labels: str) -> Callable[..., Counter]:
        """Return what finds the counter with these values of `labels`; the library itself looks for it under a lock."""
        return cache(Counter(f"luma_mcp_{name}", text, labels, registry=self.registry).labels)

    def _histograms(self, name: str, text: str, label: str) -> Callable[..., Histogram]:
        """Return what finds the histogram with this value of `label`."""
        family = Histogram(f"luma_mcp_{name}", text, (label,), registry=self.registry, buckets=_CALL_BUCKETS)
        return cache(family.labels)

    def backend_called(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count one HTTP call to the backend."""
        self.backend_calls(endpoint, outcome).inc()
        self.backend_seconds(endpoint).observe(seconds)

    def call_withheld(self, reason: str) -> None:
        """Count one call that was answered here instead of being sent to the backend."""
        self.withheld(reason).inc()

    def store_failed(self, operation: str) -> None:
        """Count one operation that the store did not answer."""
        self.store_failures(operation).inc()

    def link_failed(self, kind: str) -> None:
        """Count what Redis denied ("denied"), an end of the channel ("channel"), or a want of places ("busy")."""
        self.link_failures(kind).inc()

    def value_refused(self) -> None:
        """Count one cached value that was ignored."""
        self.values_refused.inc()

    def refused(self, status: int) -> None:
        """Count one request that was turned away before it reached MCP."""
        self.refusals(str(status)).inc()

    def callback_heard(self, outcome: str) -> None:
        """Count one callback by what became of it."""
        self.callbacks(outcome).inc()

    def exposition(self) -> bytes:
        """Return the metrics of this process, or of all workers together."""
        return generate_latest(registry_of_all_workers() or self.registry)


def registry_of_all_workers() -> CollectorRegistry | None:
    """Return a registry that adds up every worker of this service; None where there is one process only."""
    if MULTIPROCESS_VARIABLE not in os.environ:
        return None
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry

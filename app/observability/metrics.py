"""Prometheus metrics. All label values are from closed sets, so that callers cannot increase the number of series."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.observability.metrics_folder import MULTIPROCESS_VARIABLE, live_processes
from app.ports.auth import TokenFault

disable_created_metrics()  # type: ignore[no-untyped-call]  # it would add an unused series for each counter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)

KNOWN_CLIENTS = (
    "chatgpt", "claude", "cline", "codex", "copilot", "cursor", "curl", "gemini", "goose", "inspector", "librechat",
    "lm-studio", "mcp", "n8n", "node", "openai", "opencode", "postman", "python", "visual-studio-code", "vscode",
    "windsurf", "zed",
)  # fmt: skip
_SEPARATORS = re.compile(r"[^a-z0-9]+")

MAX_CLIENT_LENGTH = 64
"""Only this many characters of a client's name choose its label."""


def bounded_client(name: str) -> str:
    """Return the label for a client's name: one of KNOWN_CLIENTS, "other", or "unknown" for ""."""
    return _client_label(name[:MAX_CLIENT_LENGTH]) if name else "unknown"


@lru_cache(maxsize=1024)
def _client_label(start: str) -> str:
    """Return the label for the start of a name. The length of `start` must be limited, because the cache keeps it."""
    normalised = _SEPARATORS.sub("-", start.lower())
    return next((known for known in KNOWN_CLIENTS if normalised.startswith(known)), "other")


class Metrics:
    """The metrics of one process. With several workers, `exposition` aggregates them."""

    def __init__(self) -> None:
        """Start from zero, in a new registry."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.calls = self._counters("calls", "Tool calls.", "tool", "outcome", "era")
        self.client_calls = self._counters("client_calls", "Tool calls, by the client's name.", "client", "era")
        self.call_seconds = self._histograms("call_seconds", "Time to answer a tool call.", "tool")
        self.lookups = self._counters("task_lookups", "Task ids looked up, by the level that answered.", "level")
        self.flights_joined = self._counter("flights_joined", "Task ids that joined a fetch in flight.")
        self.tasks_seen = self._counters("tasks_seen", "Tasks answered, by state.", "state")
        self.backend_calls = self._counters("backend_calls", "HTTP calls to the backend.", "endpoint", "outcome")
        self.backend_seconds = self._histograms("backend_seconds", "Time of a backend call.", "endpoint")
        self.withheld = self._counters("calls_withheld", "Calls not sent to the backend, by reason.", "reason")
        self.store_failures = self._counters("store_failures", "Operations of Redis that failed.", "operation")
        self.link_failures = self._counters(
            "redis_link_failures", "Failures of the link to Redis: denied, busy, channel or too_large.", "kind"
        )
        self.values_refused = self._counter("cache_values_refused", "Cached values ignored: forged or malformed.")
        self.refusals = self._counters("http_refusals", "HTTP requests refused before MCP, by status.", "status")
        self.refreshes = self._counters("sign_in_refreshes", "Refreshes of clients, by outcome.", "outcome")
        self.grants_ended = self._counters("sign_in_grants_ended", "Grants that ended early, by reason.", "reason")
        self.registrations = self._counters("sign_in_clients", "Clients that were new, by method.", "method")
        self.grants = self._counters("sign_in_grants", "Grants of people to clients.", "method", "client")
        self.tokens_refused = self._counters("tokens_refused", "Bearer tokens refused, by reason.", "reason")
        self.limit_reached = self._counters("limits_reached", "Callers refused by a limit, by limit.", "limit")
        self.callbacks = self._counters("callbacks", "Callbacks of the backend, by outcome.", "outcome")
        self.callbacks_doubted = self._gauge(
            "callbacks_doubted", "Processes that poll on schedule because callbacks do not arrive."
        )
        self.budget_thresholds = self._counters("budget_thresholds", "Thresholds that budgets have passed.", "percent")
        self.alerts = self._counters("budget_alerts", "Tries to send the alert of a budget, by outcome.", "outcome")
        self.admin_requests = self._counters(
            "admin_requests", "Requests to /admin/v1, by operation and status.", "operation", "status"
        )
        self.calls_in_flight = self._gauge("calls_in_flight", "Tool calls in flight.")
        self.waiting_callers = self._gauge("waiting_callers", "Calls that wait for tasks to finish.")
        self.listeners = self._gauge("listeners", "Open subscriptions/listen streams.")
        self.submissions_in_flight = self._gauge("submissions_in_flight", "Submissions in flight.")
        self._free_slots = Gauge(
            "luma_mcp_credential_free_places",
            "Submissions that a team's credential takes at once in this process, less those in flight.",
            ("number",),
            registry=self.registry,
            multiprocess_mode="liveall",
        )
        self._budget_used = Gauge(
            "luma_mcp_budget_used",
            "Share of a team's budget that is spent or reserved in its present window.",
            ("team", "window"),
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.lines_lost = self._counter("log_lines_lost", "Log lines that could not be written.")

    def _gauge(self, name: str, text: str) -> Gauge:
        """Return a gauge whose value is the sum over the live workers."""
        return Gauge(f"luma_mcp_{name}", text, registry=self.registry, multiprocess_mode="livesum")

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"luma_mcp_{name}", text, registry=self.registry)

    def _counters(self, name: str, text: str, *labels: str) -> Callable[..., Counter]:
        """Return a cached function from label values to their counter. The library's own lookup would take a lock."""
        return cache(Counter(f"luma_mcp_{name}", text, labels, registry=self.registry).labels)

    def _histograms(self, name: str, text: str, label: str) -> Callable[..., Histogram]:
        """Return a cached function from the value of `label` to its histogram."""
        family = Histogram(f"luma_mcp_{name}", text, (label,), registry=self.registry, buckets=_CALL_BUCKETS)
        return cache(family.labels)

    def backend_called(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count one HTTP call to the backend."""
        self.backend_calls(endpoint, outcome).inc()
        self.backend_seconds(endpoint).observe(seconds)

    def call_withheld(self, reason: str) -> None:
        """Count one call that was not sent to the backend."""
        self.withheld(reason).inc()

    def store_failed(self, operation: str) -> None:
        """Count one operation of the store that failed."""
        self.store_failures(operation).inc()

    def link_failed(self, kind: str) -> None:
        """Count one failure of the connection to Redis.

        `kind` is "denied" for a command that the ACL forbids, "busy" for a command beyond the concurrency of this
        process, "channel" for the end of the subscription to events, and "too_large" for a reply above the limit.
        """
        self.link_failures(kind).inc()

    def value_refused(self) -> None:
        """Count one cached value that was ignored because its signature does not match or it is malformed."""
        self.values_refused.inc()

    def refused(self, status: int) -> None:
        """Count one HTTP request that was refused before it reached MCP."""
        self.refusals(str(status)).inc()

    def refreshed(self, outcome: str) -> None:
        """Count one refresh of tokens by its outcome."""
        self.refreshes(outcome).inc()

    def grant_ended(self, reason: str) -> None:
        """Count one grant that ended before its lifetime."""
        self.grants_ended(reason).inc()

    def client_registered(self, method: str) -> None:
        """Count one new OAuth client, by the method of its registration."""
        self.registrations(method).inc()

    def granted(self, registration: str, client_name: str) -> None:
        """Count one grant, by the method of its client's registration and by the label of the client's name."""
        self.grants(registration, bounded_client(client_name)).inc()

    def token_refused(self, fault: TokenFault) -> None:
        """Count one bearer token that was refused."""
        self.tokens_refused(fault.value).inc()

    def count_callback(self, outcome: str) -> None:
        """Count one callback by its outcome. "missing" is a callback that did not arrive."""
        self.callbacks(outcome).inc()

    def show_free_slots(self, number: int, free: int) -> None:
        """Set how many more submissions a credential takes. `number` is its position by first use, at most 50."""
        self._free_slots.labels(str(number)).set(free)

    def show_budgets(self, shares: Mapping[tuple[str, str], float]) -> None:
        """Set the used share of each budget, by the team's name and the window, and remove earlier ones."""
        self._budget_used.clear()
        for (team, window), share in shares.items():
            self._budget_used.labels(team, window).set(share)

    def budget_passed(self, percent: int) -> None:
        """Count one budget that passed a threshold: 50, 80 or 100 percent."""
        self.budget_thresholds(str(percent)).inc()

    def alert_ended(self, outcome: str) -> None:
        """Count one attempt to send an alert: "sent", "failed", or "given_up" after the last attempt."""
        self.alerts(outcome).inc()

    def admin_answered(self, operation: str, status: int) -> None:
        """Count one request to /admin/v1."""
        self.admin_requests(operation, str(status)).inc()

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus's text format: of all workers if there are several, else of this process."""
        return generate_latest(registry_of_all_workers() or self.registry)


class WorkerProcessCollector(Collector):
    """The process metrics of all live workers, such as their memory. The label `pid` tells the workers apart."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        """Take the process ids from the names of the workers' files in `folder`, and register in `registry`."""
        self._folder = folder
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return each metric once, with a sample of each worker. There are none on a system without /proc."""
        metrics: dict[str, Metric] = {}
        for pid in live_processes(self._folder):
            for process_metric in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                metric = metrics.setdefault(
                    process_metric.name,
                    Metric(process_metric.name, process_metric.documentation, process_metric.type),
                )
                for sample in process_metric.samples:
                    metric.add_sample(sample.name, {"pid": str(pid)}, sample.value)
        return metrics.values()


def registry_of_all_workers() -> CollectorRegistry | None:
    """Return a registry that aggregates the metrics of all workers if PROMETHEUS_MULTIPROC_DIR is set, else None."""
    if (folder := os.environ.get(MULTIPROCESS_VARIABLE)) is None:
        return None
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    WorkerProcessCollector(Path(folder), registry)
    return registry

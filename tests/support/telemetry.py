"""A Telemetry that records its calls, for tests to look at."""

from dataclasses import dataclass, field


@dataclass
class Notes:
    """The recorded calls: (endpoint, outcome) of backend calls, failed store operations, and the rest by name."""

    backend_calls: list[tuple[str, str]] = field(default_factory=list)
    store_failures: list[str] = field(default_factory=list)
    values_refused: int = 0
    withheld: list[str] = field(default_factory=list)

    def backend_called(self, endpoint: str, outcome: str, seconds: float) -> None:
        self.backend_calls.append((endpoint, outcome))

    def store_failed(self, operation: str) -> None:
        self.store_failures.append(operation)

    def call_withheld(self, reason: str) -> None:
        self.withheld.append(reason)

    def value_refused(self) -> None:
        self.values_refused += 1

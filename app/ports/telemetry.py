"""The interface through which services and adapters count events."""

from typing import Protocol

WITHHELD = ("queue_full", "queue_slow", "token_refused")
"""Reasons for not sending a call to the backend: too many are queued, it was queued too long, its token was refused."""


class Telemetry(Protocol):
    """Counts events. Its methods never raise and never block."""

    def backend_called(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count one HTTP call to the backend, which took `seconds`; `outcome` is "ok" or an error code."""
        ...

    def store_failed(self, operation: str) -> None:
        """Count one operation that raised StoreUnavailable, or one read that waited too long for its turn ("wait")."""
        ...

    def call_withheld(self, reason: str) -> None:
        """Count one call that was refused instead of being sent to the backend; `reason` is one of WITHHELD."""
        ...

    def value_refused(self) -> None:
        """Count one stored value that was ignored because its signature or format is not valid."""
        ...

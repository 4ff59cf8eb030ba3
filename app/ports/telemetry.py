"""Telemetry of the services and the adapters."""

from typing import Protocol

WITHHELD = ("queue_full", "queue_slow", "token_refused")
"""Why a call is not sent to the backend: too many are queued, it was queued too long, its token was just refused."""


class Telemetry(Protocol):
    """Counts events. Its methods never raise and never block."""

    def backend_called(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count one HTTP call to the backend; `outcome` is "ok" or an error code."""
        ...

    def store_failed(self, operation: str) -> None:
        """Count one operation that the store did not answer."""
        ...

    def call_withheld(self, reason: str) -> None:
        """Count one call that was answered here instead of being sent; `reason` is one of WITHHELD."""
        ...

    def value_refused(self) -> None:
        """Count one cached value that could not be trusted and was ignored."""
        ...

"""Reports of refused purchases, which the composition turns into a count and a log line."""

from collections.abc import Callable
from dataclasses import dataclass


def _ignore() -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class PurchaseRefusals:
    """Functions that PurchaseService calls for each purchase that a limit refuses.

    Attributes:
        keyed_calls: a token has too many calls with idempotency keys under way.
        key_in_use: another call with the same key was under way for too long.
        unknown_outcomes: tokens that the backend has not accepted have too many unknown outcomes.

    """

    keyed_calls: Callable[[], None] = _ignore
    key_in_use: Callable[[], None] = _ignore
    unknown_outcomes: Callable[[], None] = _ignore


UNREPORTED = PurchaseRefusals()
"""Reports nothing."""

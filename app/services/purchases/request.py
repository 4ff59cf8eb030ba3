"""Paid calls: the request, its result, and the functions that a purchase calls."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Send = Callable[[], Awaitable[str]]
"""Submits once and returns the task id. Raises OutcomeUnknown, or another LumaError where nothing was started."""


Reconcile = Callable[[str], Awaitable[str | None]]
"""Returns the task of the submission with a callback id; None if it cannot be determined. Raises LumaError."""


@dataclass(frozen=True, slots=True)
class PurchaseRequest:
    """A paid call.

    Attributes:
        owners: the caller's name under each secret key of the service, the current one first.
        action: generate or extend.
        fingerprint: a hash of the tool and its arguments, without the key and its options.
        idempotency_key: the caller's key; None buys without one.
        retry_unknown: whether to submit again if the outcome of an earlier call with this key is unknown.

    """

    owners: tuple[str, ...]
    action: str
    fingerprint: str
    idempotency_key: str | None = None
    retry_unknown: bool = False

    @property
    def owner(self) -> str:
        """Return the caller's current name."""
        return self.owners[0]


@dataclass(frozen=True, slots=True)
class PurchaseResult:
    """The task of a purchase, and whether an earlier call with the same key bought it."""

    task_id: str
    replayed: bool


B = TypeVar("B", PurchaseResult, PurchaseResult | None)


class Outlive(Protocol):
    """Runs a purchase to its end, also if its caller disconnects."""

    async def __call__(self, purchase: Coroutine[Any, Any, B]) -> B:
        """Return what `purchase` returns, or raise what it raises."""
        ...


def fingerprint(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return a hash of a tool and its arguments."""
    canonical = json.dumps([tool, dict(arguments)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

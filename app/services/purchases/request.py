"""Paid calls: the request, its result, and the functions that a purchase calls."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol, TypeVar

Send = Callable[[], Awaitable[str]]
"""Submits once and returns the task id. Raises OutcomeUnknown, or another LumaError where nothing was started."""


Reconcile = Callable[[str], Awaitable[str | None]]
"""Returns the task of the submission with a callback id; None if it cannot be determined. Raises LumaError."""


@dataclass(frozen=True, slots=True)
class PurchaseRequest:
    """A paid call.

    Attributes:
        owners: to whom the purchase belongs: the caller's name under each secret key of the service, the current one
            first; the team of a member.
        member: who of a team buys; None outside of teams.
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
    member: str | None = None

    @property
    def owner(self) -> str:
        """Return the current name of whom the purchase belongs to."""
        return self.owners[0]

    @property
    def caller(self) -> str:
        """Return who buys: the member, else the owner."""
        return self.member or self.owner

    @property
    def key_owners(self) -> Iterable[str]:
        """Return to whom the idempotency key belongs, under each secret key: a member has one name under all."""
        return self.owners if self.member is None else repeat(self.member)


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

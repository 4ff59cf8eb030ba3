"""The request and the result of a purchase, and the types of the functions that a purchase calls."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol, TypeVar

from app.domain.budget import Charge

Send = Callable[[], Awaitable[str]]
"""Submits once and returns the task id. Raises OutcomeUnknown, or another LumaError if nothing was started."""

Reconcile = Callable[[str], Awaitable[str | None]]
"""Returns the task id of the submission with a given callback id; None if it cannot be determined. Raises LumaError."""


@dataclass(frozen=True, slots=True)
class PurchaseRequest:
    """A request to buy one generation.

    Attributes:
        owners: the ids of the owner of the purchase: the id of the caller's team; outside of teams, a keyed hash of the
            caller's token for each secret key of the service, the current one first.
        action: the kind of command, `generate` or `extend`.
        fingerprint: a hash of the tool and its arguments, without `idempotency_key` and `retry_unknown`.
        idempotency_key: the caller's key; None if the call has none.
        retry_unknown: whether to submit again if the outcome of an earlier call with this key is unknown.
        charge: the cost of the purchase for the caller's team; None outside of teams.

    """

    owners: tuple[str, ...]
    action: str
    fingerprint: str
    idempotency_key: str | None = None
    retry_unknown: bool = False
    charge: Charge | None = None

    @property
    def owner(self) -> str:
        """The current id of the owner of the purchase."""
        return self.owners[0]

    @property
    def member(self) -> str | None:
        """The team member who buys; None outside of teams."""
        return None if self.charge is None else self.charge.spender.member

    @property
    def caller(self) -> str:
        """The buyer: the member, else the owner."""
        return self.member or self.owner

    @property
    def key_owners(self) -> Iterable[str]:
        """The ids of the idempotency key's owner, one for each secret key. A member's only id is repeated endlessly."""
        return self.owners if self.member is None else repeat(self.member)


@dataclass(frozen=True, slots=True)
class PurchaseResult:
    """The task of a purchase, and whether an earlier call with the same key bought it."""

    task_id: str
    replayed: bool


B = TypeVar("B", PurchaseResult, PurchaseResult | None)


class RunShielded(Protocol):
    """Runs a purchase to its end, also if its caller disconnects, like `asyncio.shield`."""

    async def __call__(self, purchase: Coroutine[Any, Any, B]) -> B:
        """Return what `purchase` returns, or raise what it raises."""
        ...


def fingerprint(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return a hash of a tool and its arguments."""
    canonical = json.dumps([tool, dict(arguments)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

"""Interfaces of the queue of budget alerts and of their sender."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """An alert that a budget has passed a threshold in a window for the first time.

    Attributes:
        percent: the threshold: 50, 80 or 100.
        content: JSON content of the alert, with names and amounts.
        sealed_url: URL of the receiver, encrypted for the team; None if the budget has no receiver.
        created_at: when the threshold was passed, in unix seconds by the database's clock.
        tries: number of times that `take_due` has returned the alert, including this one.

    """

    id: int
    team_id: str
    percent: int
    content: Mapping[str, Any]
    sealed_url: str | None = field(repr=False)
    created_at: float
    tries: int


class Alerts(Protocol):
    """The alerts of all teams. Every method raises DatabaseUnavailable, and may be repeated."""

    async def take_due(self, limit: int, again_seconds: float, *, per_team: int) -> list[BudgetAlert]:
        """Return at most `limit` alerts that are due, `per_team` of each team, the longest due first.

        They are due again after `again_seconds`. Until then, no other process gets them.
        """
        ...

    async def settle(self, alert: BudgetAlert) -> None:
        """Record that an alert was sent or abandoned. It is never due again."""
        ...

    async def put_off(self, alert: BudgetAlert, seconds: float) -> None:
        """Make an alert due again after `seconds`."""
        ...

    async def delete_old(self, seconds: float) -> int:
        """Delete alerts older than `seconds`, and return their number."""
        ...


class AlertUrls(Protocol):
    """The sealed URLs of the budgets of all teams. Every method raises DatabaseUnavailable."""

    async def sealed_urls(self) -> list[tuple[str, str]]:
        """Return the team's id and the sealed URL of each budget that has one."""
        ...

    async def replace_sealed_url(self, team_id: str, before: str, after: str) -> None:
        """Replace the sealed URL `before` of a team's budgets with `after`, the same URL under another secret key."""
        ...


class NotDelivered(Exception):
    """An alert did not reach its receiver. `str()` completes a sentence that begins with the receiver's name."""


class AlertSender(Protocol):
    """Sends alerts to their receivers."""

    async def send(self, alert: BudgetAlert) -> None:
        """Send an alert once. Raises NotDelivered."""
        ...

"""Interfaces of the queue of budget alerts and of their sender."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """An alert: a budget crossed a threshold for the first time within one budget period.

    Attributes:
        percent: the threshold: 50, 80 or 100.
        content: JSON content of the alert, with names and amounts.
        sealed_url: URL of the receiver, encrypted with the service's secret key and bound to the team id; None if the
            budget has no receiver.
        created_at: when the threshold was crossed, in unix seconds by the database's clock.
        attempts: number of times that `take_due` has returned the alert, including this one.

    """

    id: int
    team_id: str
    percent: int
    content: Mapping[str, Any]
    sealed_url: str | None = field(repr=False)
    created_at: float
    attempts: int


class Alerts(Protocol):
    """The alerts of all teams. Every method raises DatabaseUnavailable.

    All methods except `take_due` are idempotent: a repeated `take_due` returns other alerts.
    """

    async def take_due(self, limit: int, lease_seconds: float, *, per_team: int) -> list[BudgetAlert]:
        """Lease at most `limit` alerts that are due, `per_team` of each team, and return them, the longest due first.

        No other process gets them until the lease ends after `lease_seconds`. They are then due again, unless
        `mark_done` or `reschedule` was called.
        """
        ...

    async def mark_done(self, alert: BudgetAlert) -> None:
        """Record that an alert was sent or abandoned. It is never due again."""
        ...

    async def reschedule(self, alert: BudgetAlert, seconds: float) -> None:
        """Make an alert due again after `seconds`."""
        ...

    async def delete_old(self, seconds: float) -> int:
        """Delete alerts older than `seconds`, and return their number."""
        ...


class WebhookUrls(Protocol):
    """The sealed webhook URLs that the budgets of all teams send alerts to. Every method raises DatabaseUnavailable."""

    async def sealed_urls(self) -> list[tuple[str, str]]:
        """Return the team's id and the sealed webhook URL of each budget that has one."""
        ...

    async def replace_sealed_url(self, team_id: str, old_sealed: str, new_sealed: str) -> None:
        """Replace `old_sealed` in a team's budgets with `new_sealed`, the same URL under other secret keys."""
        ...


class NotDelivered(Exception):
    """An alert did not reach its receiver. `str()` is a predicate without subject: "answered with status 500"."""


class AlertSender(Protocol):
    """Sends alerts to their receivers."""

    async def send(self, alert: BudgetAlert) -> None:
        """Send an alert once. Raises NotDelivered."""
        ...

"""Alerts of budgets that wait to be sent, and the way in which they are sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """A budget has passed a threshold in a window for the first time.

    Attributes:
        percent: 50, 80 or 100.
        content: the alert for programs, with names and amounts.
        sealed_url: where it is sent, sealed for the team; None sends it nowhere.
        created_at: when the threshold was passed, in unix seconds by the database's clock.
        tries: how often it was taken to be sent, this time among them.

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

    async def take_due(self, most: int, again_seconds: float) -> list[BudgetAlert]:
        """Return at most `most` alerts that are due, each to one caller; they are due again after `again_seconds`."""
        ...

    async def settle(self, alert: BudgetAlert) -> None:
        """Record that an alert was sent, or is given up."""
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
        """Return the id of the team and the sealed URL, for each budget that has one."""
        ...

    async def replace_sealed_url(self, team_id: str, before: str, after: str) -> None:
        """Replace a sealed URL of a team's budgets with the same URL, sealed anew."""
        ...


class NotDelivered(Exception):
    """An alert did not reach its receiver. `str()` completes a sentence that begins with the receiver's name."""


class AlertSender(Protocol):
    """Sends alerts to their receivers."""

    async def send(self, alert: BudgetAlert) -> None:
        """Send an alert once. Raises NotDelivered."""
        ...

"""The interface of the ledger, which records the costs of teams' purchases.

A purchase reserves its price in the transaction that claims it (`Purchases.claim`).
"""

from typing import Protocol

from app.domain.budget import MonthSpent, Spender, UnsettledEntry, WindowUse
from app.domain.rate_limit import LimitUse


class Ledger(Protocol):
    """Settles reservations, and reads spending. Every method raises DatabaseUnavailable, and is safe to retry."""

    async def settle_task(self, team: str, task_id: str, *, is_paid: bool) -> bool:
        """Charge (`is_paid`) or release the reservation for a team's task. Return whether it was still reserved."""
        ...

    async def take_overdue(self, limit: int) -> list[UnsettledEntry]:
        """Return at most `limit` overdue reservations.

        No process gets one of them again before a tenth of its age has passed, and at least a minute.
        """
        ...

    async def spent_this_month(self, spender: Spender, unit: str | None) -> MonthSpent:
        """Return the spending of the spender's team and member in `unit` this month."""
        ...

    async def team_budgets(self, limit: int) -> list[tuple[str, WindowUse]]:
        """Return the budgets of whole teams with the team's name, for at most `limit` teams, oldest first."""
        ...

    async def budgets_counting(self, spender: Spender) -> list[WindowUse]:
        """Return the budgets that count purchases of `spender`, with the use of their current windows."""
        ...

    async def in_flight(self, spender: Spender) -> tuple[LimitUse, ...]:
        """Return the use of the limits of generations in flight that apply to `spender`."""
        ...

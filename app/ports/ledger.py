"""The ledger: what purchases of teams cost. Reserving is part of claiming a purchase, in one transaction with it."""

from typing import Protocol

from app.domain.budget import MonthSpent, Spender, UnsettledEntry, WindowUse


class Ledger(Protocol):
    """Settles what was reserved. Every method raises DatabaseUnavailable, and may be repeated."""

    async def settle_task(self, team: str, task_id: str, *, is_paid: bool) -> bool:
        """Take or give back what the purchase of a team's task reserved; return whether it was still reserved."""
        ...

    async def take_overdue(self, most: int) -> list[UnsettledEntry]:
        """Return at most `most` reservations whose task is to be asked for, each to one caller.

        Each is due again after a tenth of its age, at least a minute.
        """
        ...

    async def spent_this_month(self, spender: Spender, unit: str | None) -> MonthSpent:
        """Return what the spender's team, and the member, have bought in `unit` this month."""
        ...

    async def team_budgets(self, most: int) -> list[tuple[str, WindowUse]]:
        """Return the budgets of whole teams, by the team's name, of at most `most` teams."""
        ...

    async def budgets_counting(self, spender: Spender) -> list[WindowUse]:
        """Return the budgets that count a purchase of `spender` with what their present windows have used."""
        ...

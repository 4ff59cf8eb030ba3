"""The ledger: what purchases of teams cost. Reserving is part of claiming a purchase, in one transaction with it."""

from typing import Protocol

from app.domain.budget import Spender, ThresholdPassed, UnsettledEntry, WindowUse


class Ledger(Protocol):
    """Settles what was reserved. Every method raises DatabaseUnavailable, and may be repeated."""

    async def name_task(self, attempt: str, task_id: str) -> None:
        """Note which task a purchase became, so that its outcome can be asked for."""
        ...

    async def take(self, attempt: str, task_id: str | None = None) -> bool:
        """Count a purchase as paid, once; return whether it was still reserved."""
        ...

    async def give_back(self, attempt: str) -> bool:
        """Set what a purchase reserved free, once; return whether it was still reserved."""
        ...

    async def reserved_attempt(self, team: str, task_id: str) -> str | None:
        """Return the purchase of a team whose task this is and which is still reserved; None where there is none."""
        ...

    async def unsettled(self, older_than_seconds: float, most: int, team: str | None = None) -> list[UnsettledEntry]:
        """Return at most `most` reservations older than that, of one team or of all, the oldest first."""
        ...

    async def mark_exhausted(self, use: WindowUse) -> ThresholdPassed | None:
        """Note that a window has refused a purchase, and return that it passed 100 % where that is news."""
        ...

    async def budgets_counting(self, spender: Spender) -> list[WindowUse]:
        """Return the budgets that count a purchase of `spender` with what their present windows have used."""
        ...

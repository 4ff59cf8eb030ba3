"""Repositories of durable data, and the failures of the database."""

from collections.abc import Collection, Sequence
from typing import Protocol

from app.domain.purchase import NewPurchase, Purchase, PurchaseState


class DatabaseUnavailable(Exception):
    """The database cannot answer now, or did not answer in time: an operation may or may not have happened.

    `str()` is the end of a sentence that begins with the database's name.
    """


class DatabaseTooNew(Exception):
    """A newer release of this program has migrated the database; `str()` says what to do."""


class Purchases(Protocol):
    """The submissions of all callers to one backend, each recorded before it is sent.

    Every method raises DatabaseUnavailable, and may be repeated.
    """

    async def claim(self, new: NewPurchase) -> Purchase | None:
        """Record `new` as sent and return None; return the purchase that holds its key where there is one."""
        ...

    async def take_over(self, earlier: Purchase, new: NewPurchase) -> bool:
        """Record `new` as sent under the key that `earlier` holds, and return whether it still held it."""
        ...

    async def record_outcome(self, attempt: str, state: PurchaseState, task_id: str | None = None) -> bool:
        """Move a purchase to `state`, and return whether that was allowed. `refused` gives the key back."""
        ...

    async def record(self, new: NewPurchase, state: PurchaseState, task_id: str | None) -> None:
        """Record the outcome of a purchase that is not recorded for certain; a refused one holds no key."""
        ...

    async def forget(self, attempt: str) -> None:
        """Delete a purchase that was sent for a token which the backend does not know."""
        ...

    async def of_callback(self, callback_id: str) -> Purchase | None:
        """Return the purchase whose callback this is."""
        ...

    async def note_call(self, attempt: str) -> bool:
        """Note that the backend has called back, and return whether this was the first time."""
        ...

    async def add_claim(self, callback_id: str, task_id: str) -> None:
        """Remember which task a callback named, for a bounded number of tasks."""
        ...

    async def claims(self, callback_id: str) -> list[str]:
        """Return the tasks that callbacks named, the first one first."""
        ...

    async def newest(  # noqa: PLR0913 - a list is narrowed in several ways
        self,
        owners: Sequence[str],
        most: int,
        *,
        outcomes: Collection[PurchaseState] = tuple(PurchaseState),
        since: float | None = None,
        before: tuple[float, str] | None = None,
        member: str | None = None,
    ) -> list[Purchase]:
        """Return at most `most` purchases of `owners` with one of these outcomes, the newest first.

        `since` is in unix seconds; `before` is `created_at` and `attempt` of the last one that is known already.
        With `member`, only what this member of the owner's team has made.
        """
        ...

    async def made(self, owner: str, task_ids: Collection[str], *, member: str | None = None) -> set[str]:
        """Return which of the tasks `owner` has made, or its member where one is named."""
        ...

    async def task_ids(self, owners: Sequence[str], prefix: str, most: int, *, member: str | None = None) -> list[str]:
        """Return at most `most` ids of the owners' tasks that begin with `prefix`, the newest first.

        Those of one member where one is named.
        """
        ...

    async def delete_old(self, *, refused_seconds: float, seconds: float) -> int:
        """Delete purchases older than `seconds`, refused ones and claims older than `refused_seconds`; count them."""
        ...

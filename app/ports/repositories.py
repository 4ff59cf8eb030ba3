"""The interface of the repository of purchases, and the exceptions of the database."""

from collections.abc import Collection, Sequence
from typing import Protocol

from app.domain.purchase import NewPurchase, Purchase, PurchaseState


class DatabaseUnavailable(Exception):
    """The database is unreachable or did not answer in time. The operation may or may not have been executed.

    `str()` completes a sentence that begins with the database's name, such as "does not answer".
    """


class DatabaseBusy(DatabaseUnavailable):
    """The operation was not executed, because operations of other callers took too long."""

    def __init__(self) -> None:
        """Set the text that `str()` returns."""
        super().__init__("is busy with the operations of other calls")


class DatabaseTooNew(Exception):
    """A newer release of this program has migrated the database. `str()` is a sentence for operators."""


class Purchases(Protocol):
    """The submissions of all callers to one backend. Each is recorded before it is sent.

    Every method may raise DatabaseUnavailable and is safe to retry.
    """

    async def claim(self, new: NewPurchase) -> Purchase | None:
        """Record `new` as `sent` and return None; if another purchase holds its key, return that one instead.

        The price of `new` is reserved in the same transaction. Raises SpendingRefused if it exceeds a budget; then
        nothing was recorded.
        """
        ...

    async def take_over(self, earlier: Purchase, new: NewPurchase) -> bool:
        """Record `new` as `sent` and move the key of `earlier` to it.

        Return False, without a change, if `earlier` no longer holds the key or has changed its state. The price of
        `new` is reserved in the same transaction. Raises SpendingRefused, as `claim` does.
        """
        ...

    async def record_outcome(self, attempt: str, state: PurchaseState, task_id: str | None = None) -> bool:
        """Move a purchase to `state`, and return whether ALLOWED_MOVES allows it.

        `refused` releases its key and gives its price back. The purchase of a team is audited.
        """
        ...

    async def record(self, new: NewPurchase, state: PurchaseState, task_id: str | None) -> None:
        """Insert a purchase with its outcome, but without idempotency keys, unless it is already recorded."""
        ...

    async def delete_unbought(self, attempt: str) -> None:
        """Delete a purchase that bought nothing, release its key and give its price back."""
        ...

    async def of_callback(self, callback_id: str) -> Purchase | None:
        """Return the purchase with this callback id; None if there is none."""
        ...

    async def record_callback(self, attempt: str) -> bool:
        """Record that a callback for this purchase has arrived, and return whether it was the first one."""
        ...

    async def add_callback_task(self, callback_id: str, task_id: str) -> None:
        """Store a task id that a callback has named. The number of ids per callback id is bounded."""
        ...

    async def callback_tasks(self, callback_id: str) -> list[str]:
        """Return the stored task ids for this callback id, oldest first. They are not authenticated."""
        ...

    async def newest(  # noqa: PLR0913 - a list is narrowed in several ways
        self,
        owners: Sequence[str],
        limit: int,
        *,
        outcomes: Collection[PurchaseState] = tuple(PurchaseState),
        since: float | None = None,
        before: tuple[float, str] | None = None,
        member: str | None = None,
        member_name: str | None = None,
    ) -> list[Purchase]:
        """Return at most `limit` purchases of `owners` with one of these outcomes, newest first.

        `since` is the earliest `created_at`, in unix seconds. `before` is the position for keyset pagination:
        `created_at` and `attempt` of the last purchase on the previous page. `member` restricts the list to the
        purchases of one member of the owner's team, and `member_name` to those of the member with this name.
        """
        ...

    async def count_started(self, owners: Sequence[str], since: float) -> int:
        """Return how many purchases of `owners` were started at `since` (unix seconds) or later."""
        ...

    async def bought(self, owner: str, task_ids: Collection[str], *, member: str | None = None) -> set[str]:
        """Return those of `task_ids` that `owner` has bought; with `member`, only those of this team member."""
        ...

    async def task_ids(self, owners: Sequence[str], prefix: str, limit: int, *, member: str | None = None) -> list[str]:
        """Return at most `limit` task ids of the owners that begin with `prefix`, newest first.

        With `member`, only task ids of this team member are returned.
        """
        ...

    async def delete_old(self, *, refused_seconds: float, seconds: float) -> int:
        """Delete purchases older than `seconds`, and refused ones and callback tasks older than `refused_seconds`.

        Return the number of deleted purchases.
        """
        ...

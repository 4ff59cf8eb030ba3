"""A caller's own submissions, newest first: for the list of tasks, and for completion of task ids."""

import asyncio
from dataclasses import dataclass

from app.domain.access import Principal
from app.domain.errors import InternalError, RateLimited
from app.domain.foreign_text import is_plain_id
from app.domain.purchase import Purchase, PurchaseState
from app.ports.repositories import DatabaseUnavailable, Purchases
from app.services.limits.fair_limiter import FairLimiter

MOST_COMPLETIONS = 100
"""Limit of MCP for the values in one completion result."""

LISTED = (PurchaseState.SENT, PurchaseState.STARTED, PurchaseState.UNKNOWN)
"""Outcomes in the list by default. Refused submissions bought nothing."""

NO_DATABASE = (
    "The list of tasks cannot be read right now, because this service's database does not answer. Nothing is lost: "
    "try again shortly; tasks whose ids are known can be read meanwhile."
)

LONGEST_WAIT_SECONDS = 8.0
"""Timeout of a call: its wait in the limiter, and the query."""

TOO_MANY_READS = "This service reads as many lists of tasks as it does at once. Nothing is lost: ask again shortly."

Place = tuple[float, str]
"""`created_at` and `attempt` of the purchase that a page follows."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of purchases. `next` is the position for the next page; None on the last page."""

    purchases: list[Purchase]
    next: Place | None


class SubmittedTasks:
    """Reads the purchases of one caller. A caller may have several owner names, one for each secret key."""

    def __init__(self, purchases: Purchases, reads: FairLimiter) -> None:
        """Read from `purchases`. `reads` limits concurrent reads to fewer than there are database connections."""
        self._purchases = purchases
        self._reads = reads

    async def newest(  # noqa: PLR0913 - a list is narrowed in several ways
        self,
        principal: Principal,
        most: int,
        *,
        outcome: PurchaseState | None = None,
        since: float | None = None,
        before: Place | None = None,
        member_name: str | None = None,
    ) -> Page:
        """Return at most `most` purchases that the caller may see, submitted at `since` (unix seconds) or later.

        The newest comes first. `outcome` None means the outcomes in LISTED. `before` is `next` of the previous page.
        With `member_name`, only those of the team member with this name.
        Raises InternalError if the database does not answer, and RateLimited on timeout.
        """
        outcomes = LISTED if outcome is None else (outcome,)
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS), self._reads.place(principal.subject):
                found = await self._purchases.newest(
                    principal.owners,
                    most + 1,
                    outcomes=outcomes,
                    since=since,
                    before=before,
                    member=principal.only_member,
                    member_name=member_name,
                )
        except DatabaseUnavailable as exc:
            raise InternalError(NO_DATABASE, retry_after_seconds=5.0) from exc
        except TimeoutError:
            raise RateLimited(TOO_MANY_READS, retry_after_seconds=5.0) from None
        page = found[:most]
        return Page(page, (page[-1].created_at, page[-1].attempt) if len(found) > most else None)

    async def beginning_with(self, principal: Principal, prefix: str) -> list[str]:
        """Return at most 100 ids of tasks that the caller may see and that begin with `prefix`.

        The list is empty if the database does not answer.
        """
        if prefix and not is_plain_id(prefix):
            return []
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS), self._reads.place(principal.subject):
                return await self._purchases.task_ids(
                    principal.owners, prefix, MOST_COMPLETIONS, member=principal.only_member
                )
        except (DatabaseUnavailable, TimeoutError):
            return []

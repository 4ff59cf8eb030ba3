"""The submissions that a caller may see, newest first: for the list of tasks, and for completion of task ids."""

from dataclasses import dataclass
from functools import partial

from app.domain.access import Principal
from app.domain.errors import InternalError, RateLimited
from app.domain.purchase import Purchase, PurchaseState
from app.domain.untrusted_text import is_plain_id
from app.ports.repositories import DatabaseBusy, DatabaseUnavailable, Purchases
from app.services.limits.database_turns import DatabaseTurns

MAX_COMPLETIONS = 100
"""Limit of MCP for the values in one completion result."""

LISTED = (PurchaseState.SENT, PurchaseState.STARTED, PurchaseState.UNKNOWN)
"""Outcomes in the list by default. Refused submissions bought nothing."""

NO_DATABASE = (
    "The list of tasks cannot be read right now, because this service's database does not answer. Nothing is lost: "
    "try again shortly; tasks whose ids are known can be read meanwhile."
)

TOO_MANY_READS = "This service is reading too many lists of tasks right now. Nothing is lost: ask again shortly."

PagePosition = tuple[float, str]
"""`created_at` and `attempt` of the last purchase on the previous page (keyset pagination)."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of purchases. `next` is the position for the next page; None on the last page."""

    purchases: list[Purchase]
    next: PagePosition | None


class SubmittedTasks:
    """Reads the purchases of callers. A caller outside of teams has one owner name per secret key of the service."""

    def __init__(self, purchases: Purchases, reads: DatabaseTurns) -> None:
        """Read from `purchases`. `reads` limits concurrent queries."""
        self._purchases = purchases
        self._reads = reads

    async def newest(  # noqa: PLR0913 - a list is narrowed in several ways
        self,
        principal: Principal,
        limit: int,
        *,
        outcome: PurchaseState | None = None,
        since: float | None = None,
        before: PagePosition | None = None,
        member_name: str | None = None,
    ) -> Page:
        """Return at most `limit` purchases that the caller may see, submitted at `since` (unix seconds) or later.

        The newest comes first. `outcome` None means the outcomes in LISTED. `before` is `next` of the previous page.
        `member_name` restricts the list to the team member with this name.
        Raises InternalError if the database does not answer, and RateLimited if too many reads wait.
        """
        read = partial(
            self._purchases.newest,
            principal.owners,
            limit + 1,
            outcomes=LISTED if outcome is None else (outcome,),
            since=since,
            before=before,
            member=principal.only_member,
            member_name=member_name,
        )
        try:
            purchases = await self._reads.run(principal.subject, read)
        except DatabaseBusy:
            raise RateLimited(TOO_MANY_READS, retry_after_seconds=5.0) from None
        except DatabaseUnavailable as exc:
            raise InternalError(NO_DATABASE, retry_after_seconds=5.0) from exc
        page = purchases[:limit]
        return Page(page, (page[-1].created_at, page[-1].attempt) if len(purchases) > limit else None)

    async def beginning_with(self, principal: Principal, prefix: str) -> list[str]:
        """Return at most 100 ids of tasks that the caller may see and that begin with `prefix`.

        The list is empty if the database does not answer or too many reads wait.
        """
        if prefix and not is_plain_id(prefix):
            return []
        read = partial(
            self._purchases.task_ids, principal.owners, prefix, MAX_COMPLETIONS, member=principal.only_member
        )
        try:
            return await self._reads.run(principal.subject, read)
        except DatabaseUnavailable:
            return []

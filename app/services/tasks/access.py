"""Which tasks the members of a team may read: those that the team, or the member, has made."""

import asyncio
from collections.abc import Iterable

from app.domain.access import Principal, Visibility
from app.domain.errors import InternalError, RateLimited
from app.domain.rendered import TaskResult
from app.ports.repositories import DatabaseUnavailable, Purchases
from app.services.limits.fair_limiter import FairLimiter
from app.services.tasks.generational_cache import GenerationalCache

MOST_KNOWN = 20_000
"""Tasks that are known to be somebody's, about 250 bytes each. A task never changes hands."""

LONGEST_WAIT_SECONDS = 8.0

NO_DATABASE = (
    "It cannot be told right now whose task this is, because this service's database does not answer. Nothing is lost: "
    "ask again shortly."
)
TOO_MANY_READS = "This service looks up as many tasks as it does at once. Nothing is lost: ask again shortly."


class TaskAccess:
    """Tells which tasks a caller may not read. A backend may show any task to anybody who knows its id."""

    def __init__(self, purchases: Purchases, reads: FairLimiter) -> None:
        """Look tasks up in `purchases`; `reads` has the places for that."""
        self._purchases = purchases
        self._reads = reads
        self._known: GenerationalCache[str, bool] = GenerationalCache(MOST_KNOWN, lambda _is: 1)

    async def denied(self, principal: Principal, task_ids: Iterable[str]) -> dict[str, TaskResult]:
        """Return an answer for each task that `principal` may not read: None, or an error where nobody can tell."""
        if principal.sees is Visibility.ALL:
            return {}
        member = principal.only_member
        prefix, ids = f"{principal.owner}:{member or ''}:", list(task_ids)
        known = self._known.get_many([prefix + task_id for task_id in ids])
        if None not in known:
            return {}
        asked = [task_id for task_id, is_known in zip(ids, known, strict=True) if not is_known]
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS), self._reads.place(principal.subject):
                made = await self._purchases.made(principal.owner, asked, member=member)
        except DatabaseUnavailable:
            return dict.fromkeys(asked, InternalError(NO_DATABASE, retry_after_seconds=5.0))
        except TimeoutError:
            return dict.fromkeys(asked, RateLimited(TOO_MANY_READS, retry_after_seconds=5.0))
        self._known.put_many({prefix + task_id: True for task_id in made}, len(made))
        return {task_id: None for task_id in asked if task_id not in made}

"""Deletes old purchases."""

import logging
from collections.abc import Awaitable, Callable

from app.ports.repositories import DatabaseUnavailable, Purchases

EVERY_SECONDS = 3600.0
REFUSED_SECONDS = 24 * 3600.0
"""Retention of refused purchases and of the task ids in callbacks."""

DAY_SECONDS = 86_400.0

log = logging.getLogger(__name__)


async def delete_old_purchases(purchases: Purchases, days: int, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Delete purchases older than `days` once an hour. The coroutine runs until it is cancelled."""
    while True:
        try:
            deleted = await purchases.delete_old(refused_seconds=REFUSED_SECONDS, seconds=days * DAY_SECONDS)
        except DatabaseUnavailable:
            log.info("Old purchases could not be deleted: the database does not answer. The next try is in an hour")
        else:
            if deleted:
                log.info("Deleted %d purchases: older than %d days, or refused and older than a day", deleted, days)
        await sleep(EVERY_SECONDS)

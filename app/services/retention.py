"""Deletes old rows of the database."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.ports.repositories import DatabaseUnavailable

EVERY_SECONDS = 3600.0
DAY_SECONDS = 86_400.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OldRows:
    """A kind of rows that expire, for `delete_old_rows`.

    Attributes:
        name: name of the rows in log lines, such as "purchases older than 90 days".
        delete: deletes them and returns their number. Raises DatabaseUnavailable.

    """

    name: str
    delete: Callable[[], Awaitable[int]]


async def delete_old_rows(kinds: Sequence[OldRows], sleep: Callable[[float], Awaitable[None]]) -> None:
    """Delete the rows of each kind once an hour. The coroutine runs until it is cancelled."""
    while True:
        for rows in kinds:
            try:
                deleted = await rows.delete()
            except DatabaseUnavailable:
                log.info(
                    "The database does not answer, so %s are not deleted. The next attempt is in an hour", rows.name
                )
            else:
                if deleted:
                    log.info("Deleted %d %s", deleted, rows.name)
        await sleep(EVERY_SECONDS)

"""Deletes expired codes, sign-ins, sessions and tokens, ended grants, and unused clients.

Clients that an operator registered are kept.
"""

import logging
from collections.abc import Awaitable, Callable

from app.ports.repositories import DatabaseUnavailable
from app.ports.sign_in_store import SignInStore
from app.services.log_throttle import ThrottledExceptionLog

EVERY_SECONDS = 600.0
DAY_SECONDS = 86_400.0
ENDED_SECONDS = 30 * DAY_SECONDS
"""Age of an ended grant when it is deleted. Until then, a reused token is reported as ended rather than unknown."""

UNUSED_CLIENT_SECONDS = DAY_SECONDS
"""Age at which a registered client that never got a grant is deleted."""

IDLE_CLIENT_SECONDS = 90 * DAY_SECONDS
"""Time since its last use after which any other client is deleted."""

log = logging.getLogger(__name__)


async def delete_expired(store: SignInStore, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Delete expired rows every EVERY_SECONDS. The coroutine runs until it is cancelled."""
    faults = ThrottledExceptionLog(
        log, "Expired sign-ins, grants and clients could not be deleted. The next attempt is in 10 minutes"
    )
    while True:
        try:
            await store.grants.delete_old(ENDED_SECONDS)
            await store.clients.delete_idle(UNUSED_CLIENT_SECONDS, IDLE_CLIENT_SECONDS)
        except DatabaseUnavailable:
            log.info(
                "The database does not answer, so expired sign-ins, grants and clients are not deleted. The next "
                "attempt is in 10 minutes"
            )
        except Exception as exc:  # noqa: BLE001 - an exception must not end the loop
            faults.note(exc)
        await sleep(EVERY_SECONDS)

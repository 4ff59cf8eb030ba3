"""Deletes what is over: codes, sign-ins, sessions, tokens, ended grants, and clients that nobody uses."""

import logging
from collections.abc import Awaitable, Callable

from app.ports.repositories import DatabaseUnavailable
from app.ports.sign_in_store import SignInStore
from app.services.log_throttle import ThrottledExceptionLog

EVERY_SECONDS = 600.0
DAY_SECONDS = 86_400.0
ENDED_SECONDS = 30 * DAY_SECONDS
"""How long a grant is kept after its end, so that a token of it is still known as one that has ended."""

UNUSED_CLIENT_SECONDS = DAY_SECONDS
"""How long a client is kept that has registered and got no grant."""

IDLE_CLIENT_SECONDS = 90 * DAY_SECONDS

log = logging.getLogger(__name__)


async def delete_what_is_over(store: SignInStore, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Delete every EVERY_SECONDS. The coroutine runs until it is cancelled."""
    faults = ThrottledExceptionLog(log, "What is over of sign-ins could not be deleted")
    while True:
        try:
            await store.grants.delete_old(ENDED_SECONDS)
            await store.clients.delete_idle(UNUSED_CLIENT_SECONDS, IDLE_CLIENT_SECONDS)
        except DatabaseUnavailable:
            log.info("Old sign-ins could not be deleted: the database does not answer. The next try is in 10 minutes")
        except Exception as exc:  # noqa: BLE001 - without it nothing would ever be deleted again
            faults.note(exc)
        await sleep(EVERY_SECONDS)

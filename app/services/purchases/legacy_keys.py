"""Idempotency keys that release 1.0 kept in Redis. They are honoured for a day after the database was created.

This module will be removed with the release after next.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, ValidationError

from app.domain.errors import InvalidRequest, OutcomeUnknown
from app.domain.purchase import OTHER_ARGUMENTS, UNKNOWN_BEFORE
from app.domain.untrusted_text import is_plain_id
from app.ports.coordination import Leases
from app.ports.store import StoreRefuses, StoreUnavailable

KEPT_SECONDS = 24 * 3600.0
"""Time for which release 1.0 kept a key."""

log = logging.getLogger(__name__)


class _Reservation(BaseModel):
    """The fields of a reservation of release 1.0 that are needed here.

    Attributes:
        filed_under: the Redis key of the reservation; None in reservations without this field.
        fingerprint: hash of the tool and its arguments.
        state: `held` before sending, `sent`, `done` with a task, `unknown`, or `freed` if nothing was bought.

    """

    filed_under: str | None = None
    fingerprint: str
    state: Literal["held", "sent", "done", "unknown", "freed"]
    task_id: str | None = None


class LegacyIdempotencyKeys:
    """Reads the keys of release 1.0. This release does not write them."""

    def __init__(self, leases: Leases, created_at: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        """Read through `leases` for a day. `created_at` returns when the database was created (unix seconds)."""
        self._leases = leases
        self._created_at = created_at
        self._wall_clock = wall_clock
        self._may_exist = True

    async def search(self) -> None:
        """Search Redis for keys of release 1.0. If there are none, purchases do not depend on Redis."""
        if self._all_have_expired():
            return
        try:
            self._may_exist = await self._leases.any_key("*:reservation:1:*")
        except StoreUnavailable:
            log.info(
                "Redis cannot be searched for idempotency keys of release 1.0. Each key is looked up there for a day, "
                "and refused while Redis does not answer"
            )

    def _all_have_expired(self) -> bool:
        return self._wall_clock() >= self._created_at() + KEPT_SECONDS

    async def task_of(
        self, owners: Sequence[str], idempotency_key: str, fingerprint: str, *, retry_unknown: bool
    ) -> str | None:
        """Return the task that release 1.0 bought with the key for any of `owners`; None if the call may buy now.

        With `retry_unknown`, the call may also buy if release 1.0 recorded no outcome. Raises InvalidRequest for other
        arguments, OutcomeUnknown if a video may have been bought or the reservation is not valid, and StoreUnavailable.
        """
        if not self._may_exist or self._all_have_expired():
            return None
        for owner in owners:
            stored = await self._get(key := _key(owner, idempotency_key))
            if stored is not None and (task_id := _task_in(stored, key, fingerprint, retry_unknown=retry_unknown)):
                return task_id
        return None

    async def _get(self, key: str) -> bytes | None:
        try:
            return await self._leases.get(key)
        except StoreRefuses as exc:
            if str(exc) == "NOPERM":  # the ACL was written for this release, so release 1.0 did not use this Redis
                return None
            raise


def _task_in(stored: bytes, key: str, fingerprint: str, *, retry_unknown: bool) -> str | None:
    """Return the task of a stored reservation; None if the call may buy now. Raises as `task_of` does."""
    try:
        reservation = _Reservation.model_validate_json(stored)
    except ValidationError:
        raise OutcomeUnknown(UNKNOWN_BEFORE) from None
    if reservation.filed_under not in (None, key):  # somebody copied the reservation from another key
        raise OutcomeUnknown(UNKNOWN_BEFORE)
    if reservation.state == "freed":
        return None
    if reservation.fingerprint != fingerprint:
        raise InvalidRequest(OTHER_ARGUMENTS)
    if reservation.state == "done":
        if reservation.task_id is None or not is_plain_id(reservation.task_id):
            raise OutcomeUnknown(UNKNOWN_BEFORE)
        return reservation.task_id
    if reservation.state == "held" or retry_unknown:
        return None
    raise OutcomeUnknown(UNKNOWN_BEFORE)


def _key(owner: str, idempotency_key: str) -> str:
    digest = hashlib.sha256(idempotency_key.encode()).hexdigest()
    return f"{{{owner}}}:reservation:1:{digest[:40]}"

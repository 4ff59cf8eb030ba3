"""Checks whether the login of a person at the upstream is still valid, and ends the person's grants if it is not."""

import logging
from collections.abc import Awaitable, Callable

from app.domain.sign_in import Person, RevokeReason
from app.ports.repositories import DatabaseUnavailable
from app.ports.sign_in import Liveness, PersonVault, SignInTelemetry, Upstream
from app.ports.sign_in_store import SignInStore
from app.services.log_throttle import ThrottledExceptionLog

CHECK_INTERVAL_SECONDS = 600.0
"""Minimum between two checks of a login. Clients refresh about once an hour."""

SUSPECT_INTERVAL_SECONDS = 30.0
"""Minimum if there is a reason to check: a new client, or a credential that the backend has refused."""

SUSPECT_POLL_SECONDS = 2.0
"""Interval at which the queue of suspect logins is emptied."""

MAX_SUSPECTS = 1_000

log = logging.getLogger(__name__)


class LoginCheck:
    """Checks logins, each on one replica at a time: an upstream may treat a second renewal as theft of a token."""

    def __init__(
        self,
        upstream: Upstream,
        store: SignInStore,
        vault: PersonVault,
        telemetry: SignInTelemetry,
        wall_clock: Callable[[], float],
    ) -> None:
        """Check with `upstream`. Renewed secrets are sealed with `vault` and written to `store`."""
        self._upstream = upstream
        self._store = store
        self._vault = vault
        self._telemetry = telemetry
        self._wall_clock = wall_clock

    async def check(self, person: Person, *, is_suspect: bool = False) -> bool:
        """Return whether the login of `person` is valid. If it is dead, end the person's grants and sessions.

        The login counts as valid if the last check began recently (`is_suspect` shortens that time), or if the upstream
        does not answer. Return False without a check if the secrets cannot be unsealed. Raises DatabaseUnavailable.
        """
        interval = SUSPECT_INTERVAL_SECONDS if is_suspect else CHECK_INTERVAL_SECONDS
        if self._wall_clock() - person.checked_at < interval or not await self._store.people.claim_check(person):
            return True  # the last check is recent, or another replica has just begun one
        if (secrets := self._vault.open(person)) is None:
            return False
        liveness, renewed = await self._upstream.check_liveness(secrets)
        if liveness is Liveness.DEAD:
            await self._end(person)
        elif renewed != secrets:
            await self._store.people.replace_sealed(person, self._vault.seal(person.id, renewed))
        return liveness is not Liveness.DEAD

    async def _end(self, person: Person) -> None:
        await self._store.people.end_sessions(person.id)
        ended = await self._store.grants.revoke_all(person.id, RevokeReason.LOGIN)
        for _ in range(ended):
            self._telemetry.grant_ended(RevokeReason.LOGIN)
        log.info(
            "The login of person %s is dead upstream: ended %d grants. The person has to sign in again",
            person.id,
            ended,
        )


class SuspectLogins:
    """Checks, in the background, the logins of people whose credential the backend has refused."""

    def __init__(self, logins: LoginCheck, store: SignInStore, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Check with `logins`."""
        self._logins = logins
        self._store = store
        self._sleep = sleep
        self._suspects: set[str] = set()
        self._faults = ThrottledExceptionLog(log, "Logins whose credential was refused could not be checked")

    def enqueue(self, person_id: str) -> None:
        """Queue the login of a person for a check. If the queue is full, the next refresh checks the login."""
        if len(self._suspects) < MAX_SUSPECTS:
            self._suspects.add(person_id)

    async def run(self) -> None:
        """Check the queued logins every SUSPECT_POLL_SECONDS. The coroutine runs until it is cancelled."""
        while True:
            await self._sleep(SUSPECT_POLL_SECONDS)
            suspects, self._suspects = self._suspects, set()
            for person_id in suspects:
                try:
                    if (person := await self._store.people.person(person_id)) is not None:
                        await self._logins.check(person, is_suspect=True)
                except DatabaseUnavailable:
                    break  # a later refusal queues the others again
                except Exception as exc:  # noqa: BLE001 - an exception must not end the loop
                    self._faults.note(exc)

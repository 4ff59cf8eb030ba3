"""Asks the upstream whether a person's login still counts, and ends the person's grants if it does not."""

import logging
from collections.abc import Awaitable, Callable

from app.domain.sign_in import Person, RevokeReason
from app.ports.repositories import DatabaseUnavailable
from app.ports.sign_in import Liveness, PersonVault, SignInTelemetry, Upstream
from app.ports.sign_in_store import SignInStore
from app.services.log_throttle import ThrottledExceptionLog

CHECKED_SECONDS = 600.0
"""How long a login counts as alive after a check. Clients refresh about once an hour."""

AT_ONCE_SECONDS = 30.0
"""The same for a check that there is a reason for: a new client, or a credential that the backend has refused."""

SUSPECTS_SECONDS = 2.0
MOST_SUSPECTS = 1_000

log = logging.getLogger(__name__)


class LoginCheck:
    """Checks logins, each on one replica at a time: an upstream may take a second renewal for a theft."""

    def __init__(
        self,
        upstream: Upstream,
        store: SignInStore,
        vault: PersonVault,
        telemetry: SignInTelemetry,
        wall_clock: Callable[[], float],
    ) -> None:
        """Ask `upstream`. What it renews is sealed with `vault` and kept in `store`."""
        self._upstream = upstream
        self._store = store
        self._vault = vault
        self._telemetry = telemetry
        self._wall_clock = wall_clock

    async def is_alive(self, person: Person, *, at_once: bool = False) -> bool:
        """Return whether the login of `person` may count. If it is dead, the person's grants and sessions end.

        `at_once` says that there is a reason to ask. Raises DatabaseUnavailable.
        """
        enough = AT_ONCE_SECONDS if at_once else CHECKED_SECONDS
        if self._wall_clock() - person.checked_at < enough or not await self._store.people.claim_check(person):
            return True
        if (known := self._vault.open(person)) is None:
            return False
        liveness, renewed = await self._upstream.alive(known)
        if liveness is Liveness.DEAD:
            await self._end(person)
        elif renewed != known:
            await self._store.people.replace_sealed(person, self._vault.seal(person.id, renewed))
        return liveness is not Liveness.DEAD

    async def _end(self, person: Person) -> None:
        await self._store.people.end_sessions(person.id)
        ended = await self._store.grants.revoke_all(person.id, RevokeReason.LOGIN)
        for _ in range(ended):
            self._telemetry.grant_ended(RevokeReason.LOGIN)
        log.info(
            "The login of person %s is dead upstream: ended %d grants. Signing in again repairs it", person.id, ended
        )


class SuspectLogins:
    """People whose credential the backend has refused. Their logins are checked in the background."""

    def __init__(self, logins: LoginCheck, store: SignInStore, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Check with `logins`."""
        self._logins = logins
        self._store = store
        self._sleep = sleep
        self._suspects: set[str] = set()
        self._faults = ThrottledExceptionLog(log, "Logins whose credential was refused could not be checked")

    def note(self, person_id: str) -> None:
        """Have the login of a person checked soon. Beyond MOST_SUSPECTS, it is checked at the next refresh."""
        if len(self._suspects) < MOST_SUSPECTS:
            self._suspects.add(person_id)

    async def run(self) -> None:
        """Check every SUSPECTS_SECONDS. The coroutine runs until it is cancelled."""
        while True:
            await self._sleep(SUSPECTS_SECONDS)
            suspects, self._suspects = self._suspects, set()
            try:
                for person_id in suspects:
                    if (person := await self._store.people.person(person_id)) is not None:
                        await self._logins.is_alive(person, at_once=True)
            except DatabaseUnavailable:
                continue
            except Exception as exc:  # noqa: BLE001 - without it no suspect would be checked any more
                self._faults.note(exc)

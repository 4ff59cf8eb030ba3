"""Authentication by team keys: finds the member who holds a key, and the credentials of the member's team."""

from collections.abc import Callable
from functools import partial

from app.adapters.auth.key_digest import KeyDigest
from app.adapters.auth.team_credentials import TeamCredentials
from app.domain.access import Principal
from app.domain.api_key_format import is_well_formed
from app.domain.backend import BackendDescription
from app.domain.errors import InternalError
from app.domain.teams import KeyHolder, KeyState, principal_of
from app.ports.auth import AuthenticationUnavailable, Caller
from app.services.teams.directory_cache import DirectoryCache

NOTE_INTERVAL_SECONDS = 1.0
"""Shortest time between two notes of one key's use."""

NOT_YET = "Keys cannot be checked yet, because this service's database does not answer. Try again shortly."


class TeamKeyAuthenticator:
    """Authenticates `lmk_` keys. An unknown, revoked, blocked or expired one is refused."""

    def __init__(  # noqa: PLR0913, PLR0917 - dependencies
        self,
        directory: DirectoryCache,
        digest: Callable[[], KeyDigest | None],
        backend: BackendDescription,
        clock: Callable[[], float],
        record_accepted: Callable[[str], None],
        hash_of: Callable[[str], str],
    ) -> None:
        """Look keys up in `directory`. `digest` returns None until the database has been read once.

        `record_accepted` is called with the subject of an accepted key, then with the keyed hash of the key, which
        `hash_of` returns. `clock` is monotonic.
        """
        self._record_accepted = record_accepted
        self._hash_of = hash_of
        self._directory = directory
        self._digest = digest
        self._backend = backend
        self._clock = clock

    async def authenticate(self, token: str) -> Caller | None:
        """Return the caller who holds the key; None if it is refused. Raises AuthenticationUnavailable."""
        if (digest := self._digest()) is None:
            raise AuthenticationUnavailable(NOT_YET)
        known = self._directory.known(hashed := digest.of(token))
        if known is None:
            known = await self._directory.key(hashed) if is_well_formed(token) else None
        now = self._clock()
        if known is None or known.state(now) is not KeyState.ACTIVE:
            return None
        if known.caller is None:
            source = TeamCredentials(self._directory, known.holder.team.id, self._backend)
            known.caller = Caller(_principal(known.holder), source, current=partial(self._current_principal, hashed))
        if now - known.noted_at >= NOTE_INTERVAL_SECONDS:
            known.noted_at = now
            self._directory.note_use(known)
            self._record_accepted(known.holder.member.id)
            self._record_accepted(self._hash_of(token))
        return known.caller

    async def _current_principal(self, digest: str) -> Principal | None:
        """Return the principal of the key with this digest as it is now; None if the key is refused.

        Raises InternalError if the key cannot be checked.
        """
        try:
            known = await self._directory.key(digest)
        except AuthenticationUnavailable as exc:
            raise InternalError(str(exc), retry_after_seconds=5.0) from None
        is_active = known is not None and known.state(self._clock()) is KeyState.ACTIVE
        return _principal(known.holder) if known is not None and is_active else None


def _principal(holder: KeyHolder) -> Principal:
    return principal_of(holder, holder.key.scopes, holder.key.id)

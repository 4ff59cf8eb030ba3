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

USE_INTERVAL_SECONDS = 1.0
"""Minimum interval at which the use of one key is recorded."""

KEYS_UNREADABLE = "Keys cannot be checked yet, because this service's database does not answer. Try again shortly."


class TeamKeyAuthenticator:
    """Authenticates `lmk_` keys. An unknown, revoked, blocked or expired key is refused."""

    def __init__(  # noqa: PLR0913, PLR0917 - dependencies
        self,
        directory: DirectoryCache,
        key_digest: Callable[[], KeyDigest | None],
        backend: BackendDescription,
        clock: Callable[[], float],
        record_accepted: Callable[[str], None],
        hash_token: Callable[[str], str],
    ) -> None:
        """Look keys up in `directory`. `key_digest` returns None until the database has been read once.

        `record_accepted` is called twice for an accepted key: with the id of its member, under which quotas count, then
        with the keyed hash of the token from `hash_token`, under which requests count before authentication. `clock` is
        monotonic.
        """
        self._record_accepted = record_accepted
        self._hash_token = hash_token
        self._directory = directory
        self._key_digest = key_digest
        self._backend = backend
        self._clock = clock

    async def authenticate(self, token: str) -> Caller | None:
        """Return the caller who holds the key; None if it is refused. Record the use once in USE_INTERVAL_SECONDS.

        Raises AuthenticationUnavailable if the database does not answer.
        """
        if (key_digest := self._key_digest()) is None:
            raise AuthenticationUnavailable(KEYS_UNREADABLE)
        entry = self._directory.known(digest := key_digest.of(token))
        if entry is None:
            entry = await self._directory.key(digest) if is_well_formed(token) else None
        now = self._clock()
        if entry is None or entry.state(now) is not KeyState.ACTIVE:
            return None
        if entry.caller is None:
            source = TeamCredentials(self._directory, entry.holder.team.id, self._backend)
            entry.caller = Caller(_principal(entry.holder), source, current=partial(self._current_principal, digest))
        if now - entry.noted_at >= USE_INTERVAL_SECONDS:
            entry.noted_at = now
            self._directory.note_use(entry)
            self._record_accepted(entry.holder.member.id)
            self._record_accepted(self._hash_token(token))
        return entry.caller

    async def _current_principal(self, digest: str) -> Principal | None:
        """Return the principal of the key with this digest as it is now; None if the key is refused.

        Raises InternalError if the key cannot be checked.
        """
        try:
            entry = await self._directory.key(digest)
        except AuthenticationUnavailable as exc:
            raise InternalError(str(exc), retry_after_seconds=5.0) from None
        is_active = entry is not None and entry.state(self._clock()) is KeyState.ACTIVE
        return _principal(entry.holder) if entry is not None and is_active else None


def _principal(holder: KeyHolder) -> Principal:
    return principal_of(holder, holder.key.scopes, holder.key.id)

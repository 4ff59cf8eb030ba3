"""Authentication by team keys: who holds a key, and the credentials of their team."""

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

NOTED_SECONDS = 1.0
"""How often it is noted that a key was used and accepted."""

NOT_YET = "Keys cannot be checked yet, because this service's database does not answer. Try again shortly."


class TeamKeyAuthenticator:
    """Authenticates `lmk_` keys. An unknown, revoked, blocked or expired one is refused."""

    def __init__(  # noqa: PLR0913, PLR0917 - a key is looked up, read, judged by time, and told of
        self,
        directory: DirectoryCache,
        digest: Callable[[], KeyDigest | None],
        backend: BackendDescription,
        clock: Callable[[], float],
        accept: Callable[[str], None],
        name: Callable[[str], str],
    ) -> None:
        """Look keys up in `directory`. `digest` returns None until the database has been read once.

        `accept` is told whose key was accepted: the subject, and what `name` makes of the key.
        """
        self._accept = accept
        self._name = name
        self._directory = directory
        self._digest = digest
        self._backend = backend
        self._clock = clock

    async def authenticate(self, token: str) -> Caller | None:
        """Return who holds the key, or None. Raises AuthenticationUnavailable."""
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
            known.caller = Caller(_principal(known.holder), source, current=partial(self._current, hashed))
        if now - known.noted_at >= NOTED_SECONDS:
            known.noted_at = now
            self._directory.note_use(known)
            self._accept(known.holder.member.id)
            self._accept(self._name(token))
        return known.caller

    async def _current(self, digest: str) -> Principal | None:
        """Return who holds the key with this digest now, or None. Raises InternalError."""
        try:
            known = await self._directory.key(digest)
        except AuthenticationUnavailable as exc:
            raise InternalError(str(exc), retry_after_seconds=5.0) from None
        is_active = known is not None and known.state(self._clock()) is KeyState.ACTIVE
        return _principal(known.holder) if known is not None and is_active else None


def _principal(holder: KeyHolder) -> Principal:
    return principal_of(holder, holder.key.scopes, holder.key.id)

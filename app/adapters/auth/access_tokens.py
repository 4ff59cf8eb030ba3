"""Authentication by the access tokens of sign-in."""

from collections.abc import Callable
from dataclasses import dataclass

from app.domain.sign_in_tokens import ACCESS
from app.ports.auth import AuthenticationUnavailable, Caller
from app.ports.repositories import DatabaseUnavailable
from app.services.sign_in.grant_cache import NO_DATABASE, GrantCache
from app.services.sign_in.lazy_token_mint import LazyTokenMint

NOTED_SECONDS = 1.0
"""How often it is noted that a token was used and accepted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How people stand with the backend.

    Attributes:
        was_refused: whether the backend has refused the credential of a subject.
        accept: receives the names of those whose token was accepted here.
        suspect: receives a person whose credential was refused, so that the login is checked.

    """

    was_refused: Callable[[str], bool]
    accept: Callable[[str], None]
    suspect: Callable[[str], None]


class AccessTokenAuthenticator:
    """Authenticates `lat_` tokens. Tokens that are unknown, have expired, or whose grant has ended are refused."""

    def __init__(
        self,
        cache: GrantCache,
        mint: LazyTokenMint,
        clock: Callable[[], float],
        name: Callable[[str], str],
        standing: Standing,
    ) -> None:
        """Look tokens up in `cache`. `clock` is monotonic. `name` makes the name that limits know a token by."""
        self._cache = cache
        self._mint = mint
        self._clock = clock
        self._name = name
        self._standing = standing

    async def authenticate(self, token: str) -> Caller | None:
        """Return who holds the token, or None. Raises AuthenticationUnavailable."""
        if (mint := self._mint.loaded) is None:
            try:
                mint = await self._mint.load()
            except DatabaseUnavailable:
                raise AuthenticationUnavailable(NO_DATABASE) from None
        known = self._cache.known(hashed := mint.digest(token))
        if known is None:
            known = await self._cache.token(hashed) if ACCESS.is_well_formed(token) else None
        now = self._clock()
        if known is None:
            return None
        if now - known.noted_at >= NOTED_SECONDS:
            known.noted_at = now
            self._cache.note_use(known)
            self._note_standing(token, known.caller)
        return known.caller

    def _note_standing(self, token: str, caller: Caller) -> None:
        subject = caller.principal.subject
        if caller.principal.team is None and self._standing.was_refused(subject):
            self._standing.suspect(subject)
        else:
            self._standing.accept(subject)
            self._standing.accept(self._name(token))

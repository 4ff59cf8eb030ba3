"""Authentication by the access tokens of sign-in."""

from collections.abc import Callable
from dataclasses import dataclass

from app.ports.auth import AuthenticationUnavailable, Caller
from app.ports.repositories import DatabaseUnavailable
from app.services.sign_in.grant_cache import NO_DATABASE, GrantCache
from app.services.sign_in.lazy_token_mint import LazyTokenMint

USE_INTERVAL_SECONDS = 1.0
"""Minimum interval at which the use of one token is recorded."""


@dataclass(frozen=True, slots=True)
class CredentialHooks:
    """Functions that track whether the backend accepts people's credentials.

    Attributes:
        was_refused: returns whether the backend has refused the credential of the person with this id.
        record_accepted: is called twice for an accepted token: with the caller's id, and with the token's keyed hash.
        check_login: is called with the id of a person whose credential was refused, so that their login is checked.

    """

    was_refused: Callable[[str], bool]
    record_accepted: Callable[[str], None]
    check_login: Callable[[str], None]


class AccessTokenAuthenticator:
    """Authenticates access tokens, which begin with `lat_`.

    It refuses tokens that are unknown or expired, or whose grant has ended. A token that this service has not made is
    refused without a look-up in the database.
    """

    def __init__(
        self,
        cache: GrantCache,
        mint: LazyTokenMint,
        clock: Callable[[], float],
        hash_token: Callable[[str], str],
        hooks: CredentialHooks,
    ) -> None:
        """Look tokens up in `cache`, by the digests that `mint` makes. `clock` is monotonic.

        `hash_token` returns the keyed hash under which limits count a token.
        """
        self._cache = cache
        self._mint = mint
        self._clock = clock
        self._hash_token = hash_token
        self._hooks = hooks

    async def authenticate(self, token: str) -> Caller | None:
        """Return the caller who holds `token`; None if the token is refused.

        The use is recorded at most once in USE_INTERVAL_SECONDS. Raises AccessRefused and AuthenticationUnavailable.
        """
        if (mint := self._mint.loaded) is None:
            try:
                mint = await self._mint.load()
            except DatabaseUnavailable:
                raise AuthenticationUnavailable(NO_DATABASE) from None
        entry = self._cache.known(digest := mint.digest(token))
        if entry is None:
            entry = await self._cache.token(digest) if mint.is_access(token) else None
        now = self._clock()
        if entry is None:
            return None
        if now - entry.noted_at >= USE_INTERVAL_SECONDS:
            entry.noted_at = now
            self._cache.note_use(entry)
            self._report_use(token, entry.caller)
        return entry.caller

    def _report_use(self, token: str, caller: Caller) -> None:
        """Record that the token was accepted, or check the login if the backend has refused the person's credential."""
        subject = caller.principal.subject
        if caller.principal.team is None and self._hooks.was_refused(subject):
            self._hooks.check_login(subject)
        else:
            self._hooks.record_accepted(subject)
            self._hooks.record_accepted(self._hash_token(token))

"""Authentication by tokens of an OpenID issuer.

The caller of a verified token is cached for up to a minute; then the token is verified again.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from app.adapters.auth.jwt.faults import TokenRefused
from app.adapters.auth.jwt.token_form import UnverifiedToken, contains_claims_of, decode_token
from app.adapters.auth.jwt.verifier import TokenVerifier
from app.domain.teams import Membership, principal_of
from app.ports.auth import Caller, CredentialSource, TokenFault
from app.services.teams.memberships import Memberships

MAX_TOKENS = 4_000
"""Verified tokens whose callers are cached, about 1 KB each. Verifying a token takes about 0.2 ms."""

MAX_CACHE_SECONDS = 60.0
"""Longest time for which a caller is cached.

After the issuer's keys expire, a cached token is still accepted for at most this long.
"""

USE_INTERVAL_SECONDS = 1.0
"""Minimum interval at which the use of one token is recorded."""


@dataclass(frozen=True, slots=True)
class TokenClocks:
    """A clock that returns Unix seconds, and a monotonic one in seconds."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]


@dataclass(slots=True)
class _CachedCaller:
    """The caller of a verified token.

    Attributes:
        expires_at: monotonic time from which the entry is not used.
        generation: the generation of the memberships, read before the caller's membership was looked up.
        keys_digest: the digest of the issuer's keys, read before the token was verified.
        recorded_at: monotonic time of the last use that was recorded.

    The generation and the digest are read first, so that a change during verification makes the entry outdated.

    """

    caller: Caller
    expires_at: float
    generation: int
    keys_digest: bytes | None
    recorded_at: float = -math.inf


class JwtAuthenticator:
    """Authenticates tokens of one issuer, and ignores those of other issuers."""

    def __init__(  # noqa: PLR0913, PLR0917 - dependencies
        self,
        verifier: TokenVerifier,
        memberships: Memberships,
        credentials_of: Callable[[Membership], CredentialSource],
        clocks: TokenClocks,
        record_accepted: Callable[[str], None],
        hash_token: Callable[[str], str],
    ) -> None:
        """Verify tokens with `verifier`. `credentials_of` returns the credentials that a member calls the backend with.

        `record_accepted` is called twice for an accepted token, with the member's id and with the keyed hash of the
        token from `hash_token`, at most once in USE_INTERVAL_SECONDS.
        """
        self._verifier = verifier
        self._memberships = memberships
        self._credentials_of = credentials_of
        self._clocks = clocks
        self._record_accepted = record_accepted
        self._hash_token = hash_token
        self._cache: LRUCache[bytes, _CachedCaller] = LRUCache(MAX_TOKENS)

    def find_cached_or_decode(self, token: str) -> Caller | UnverifiedToken | None:
        """Return the cached caller of `token`, or else the unverified token.

        Return None if the token claims to be of another issuer. Raises TokenRefused if the token cannot be decoded: it
        may be a token of this issuer, which must not be sent to the backend. Raises AuthenticationUnavailable if the
        directory has not been confirmed recently.
        """
        cached, now = self._cache.get(_digest(token)), self._clocks.monotonic()
        if cached is None or not self._is_current(cached, now):
            if (decoded := decode_token(token)) is None:
                raise TokenRefused(TokenFault.FORM)
            return decoded if decoded.claims.get("iss") == self._verifier.issuer else None
        self._memberships.check()
        self._record_use(cached, token, now)
        return cached.caller

    def is_damaged_jwt(self, token: str) -> bool:
        """Return whether `token`, which is no JWT, contains claims of the issuer, such as a JWT with a surplus dot."""
        return contains_claims_of(self._verifier.issuer, token)

    async def authenticate(self, token: UnverifiedToken) -> Caller:
        """Verify `token`, and return its caller. Raises TokenRefused, AccessRefused and AuthenticationUnavailable."""
        keys_digest = self._verifier.keys_digest
        verified = await self._verifier.verify(token)
        generation = self._memberships.generation
        membership = await self._memberships.find_or_join(verified.person)
        credentials = self._credentials_of(membership)
        caller = Caller(principal_of(membership, verified.scopes), credentials, can_ask_for_scopes=True)
        now = self._clocks.monotonic()
        seconds = min(MAX_CACHE_SECONDS, verified.expires_at - self._clocks.wall())
        cached = self._cache[_digest(token.text)] = _CachedCaller(caller, now + seconds, generation, keys_digest)
        self._record_use(cached, token.text, now)
        return caller

    def _is_current(self, cached: _CachedCaller, now: float) -> bool:
        """Return whether the entry has not expired, and neither memberships nor keys have changed since."""
        has_same_generation = cached.generation == self._memberships.generation
        has_same_keys = cached.keys_digest == self._verifier.keys_digest
        return has_same_generation and has_same_keys and now < cached.expires_at

    def _record_use(self, cached: _CachedCaller, token: str, now: float) -> None:
        if now - cached.recorded_at >= USE_INTERVAL_SECONDS:
            cached.recorded_at = now
            self._record_accepted(cached.caller.principal.subject)
            self._record_accepted(self._hash_token(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

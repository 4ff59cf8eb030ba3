"""Authentication by tokens of an OpenID issuer: verified once, then remembered for a minute."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from app.adapters.auth.jwt.token_form import UnverifiedToken, may_be_jwt, read_token
from app.adapters.auth.jwt.verifier import TokenVerifier
from app.domain.teams import principal_of
from app.ports.auth import Caller, CredentialSource
from app.services.teams.memberships import Memberships

MOST_TOKENS = 4_000
"""Verified tokens that are remembered, about 1 KB each. Another one costs about 0.2 ms to verify."""

REMEMBERED_SECONDS = 60.0
"""How long a verified token is remembered: its issuer may withdraw a key, or fail for so long that no key counts."""

NOTED_SECONDS = 1.0
"""How often it is noted that a token was accepted."""


@dataclass(frozen=True, slots=True)
class TokenClocks:
    """Unix seconds, and seconds that never go back."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]


@dataclass(slots=True)
class _KnownToken:
    """The caller of a verified token, and until when that is known.

    Attributes:
        until: a monotonic time.
        generation: that of the memberships.
        keys: the digest of the issuer's keys.
        noted_at: the monotonic time of the last use that was noted.

    """

    caller: Caller
    until: float
    generation: int
    keys: bytes | None
    noted_at: float = -math.inf


class JwtAuthenticator:
    """Authenticates tokens of one issuer. A token of another issuer is none of its business."""

    def __init__(  # noqa: PLR0913, PLR0917 - a token is verified, its member found, and its use noted
        self,
        verifier: TokenVerifier,
        memberships: Memberships,
        credentials_of: Callable[[str], CredentialSource],
        clocks: TokenClocks,
        accept: Callable[[str], None],
        name: Callable[[str], str],
    ) -> None:
        """Verify with `verifier`. `credentials_of` returns the credentials of a team, by its id.

        `accept` is told whose token was accepted: the subject, and what `name` makes of the token.
        """
        self._verifier = verifier
        self._memberships = memberships
        self._credentials_of = credentials_of
        self._clocks = clocks
        self._accept = accept
        self._name = name
        self._known: LRUCache[bytes, _KnownToken] = LRUCache(MOST_TOKENS)

    def recognise(self, token: str) -> Caller | UnverifiedToken | None:
        """Return the caller of a token that is known, else the token if it claims to be of this issuer, else None.

        Raises AuthenticationUnavailable.
        """
        if not may_be_jwt(token):
            return None
        known, now = self._known.get(_digest(token)), self._clocks.monotonic()
        if known is None or not self._counts(known, now):
            return read_token(token, self._verifier.issuer)
        self._memberships.check()
        self._note(known, token, now)
        return known.caller

    async def authenticate(self, token: UnverifiedToken) -> Caller:
        """Return the caller. Raises TokenRefused, AccessRefused and AuthenticationUnavailable."""
        keys = self._verifier.keys_digest
        verified = await self._verifier.verify(token)
        generation = self._memberships.generation
        membership = await self._memberships.find_or_join(verified.person)
        credentials = self._credentials_of(membership.team.id)
        caller = Caller(principal_of(membership, verified.scopes), credentials, can_ask_for_scopes=True)
        now = self._clocks.monotonic()
        left = min(REMEMBERED_SECONDS, verified.expires_at - self._clocks.wall())
        known = self._known[_digest(token.text)] = _KnownToken(caller, now + left, generation, keys)
        self._note(known, token.text, now)
        return caller

    def _counts(self, known: _KnownToken, now: float) -> bool:
        is_current = known.generation == self._memberships.generation and known.keys == self._verifier.keys_digest
        return is_current and now < known.until

    def _note(self, known: _KnownToken, token: str, now: float) -> None:
        if now - known.noted_at >= NOTED_SECONDS:
            known.noted_at = now
            self._accept(known.caller.principal.subject)
            self._accept(self._name(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

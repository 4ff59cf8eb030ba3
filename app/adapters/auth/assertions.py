"""Verifies assertions of `private_key_jwt` clients (RFC 7523) with PyJWT."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a key pair. `none` and HMAC, whose key could be a public one, are not among them."""

LONGEST_ASSERTION = 8_192
LONGEST_LIFE_SECONDS = 3600.0
"""An assertion that counts for longer is refused: it is remembered for so long, so that it counts once."""

LEEWAY_SECONDS = 60.0
LONGEST_ID = 300


class JwtAssertions:
    """The AssertionCheck for one authorization server."""

    def __init__(self, audiences: Sequence[str], wall_clock: Callable[[], float] = time.time) -> None:
        """Accept assertions for `audiences`: the issuer, and the URLs of its endpoints."""
        self._audiences = list(audiences)
        self._wall_clock = wall_clock

    def claims(self, assertion: str, keys: Mapping[str, Any], client_id: str) -> tuple[str, float] | None:
        """Return the id of an assertion and the seconds until it expires; None if it is not the client's."""
        if len(assertion) > LONGEST_ASSERTION:
            return None
        try:
            key = self._key(assertion, keys)
            claims = jwt.decode(
                assertion,
                key,
                algorithms=ALGORITHMS,
                audience=self._audiences,
                issuer=client_id,
                options={
                    "require": ["exp", "iss", "sub", "jti"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return self._judged(claims, client_id)

    def _judged(self, claims: Mapping[str, Any], client_id: str) -> tuple[str, float] | None:
        """Judge the times by this service's clock, and the subject."""
        number, now = claims["jti"], self._wall_clock()
        ends_at, begins_at = claims["exp"], claims.get("nbf", 0)
        if not isinstance(ends_at, int | float) or not isinstance(begins_at, int | float):
            return None
        left = ends_at - now
        is_timely = -LEEWAY_SECONDS < left <= LONGEST_LIFE_SECONDS and begins_at <= now + LEEWAY_SECONDS
        is_theirs = claims["sub"] == client_id and isinstance(number, str) and 0 < len(number) <= LONGEST_ID
        return (number, left + 2 * LEEWAY_SECONDS) if is_timely and is_theirs else None

    def _key(self, assertion: str, keys: Mapping[str, Any]) -> jwt.PyJWK:
        """Return the key that the header names, or the only one. Raises PyJWTError."""
        header = jwt.get_unverified_header(assertion)
        if header.get("alg") not in ALGORITHMS or "crit" in header:
            raise jwt.InvalidTokenError
        found = [key for key in jwt.PyJWKSet.from_dict(dict(keys)).keys if key.public_key_use in (None, "sig")]
        named = [key for key in found if key.key_id == header.get("kid")] if "kid" in header else found
        if len(named) != 1:
            raise jwt.InvalidTokenError
        return named[0]

"""Verifies assertions of `private_key_jwt` clients (RFC 7523) with PyJWT."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Accepted signature algorithms, all with key pairs. An HMAC could be forged with the public key as its secret."""

MAX_ASSERTION_LENGTH = 8_192
"""Maximum length, in characters, of an assertion."""

MAX_LIFE_SECONDS = 3600.0
"""Longest remaining life of an assertion. Its id is recorded for that time, so that no assertion is accepted twice."""

LEEWAY_SECONDS = 60.0
"""Accepted difference between the client's clock and this one."""

MAX_ID_LENGTH = 300
"""Maximum length, in characters, of `jti`."""


class JwtAssertions:
    """The AssertionCheck for one authorization server."""

    def __init__(self, audiences: Sequence[str], wall_clock: Callable[[], float] = time.time) -> None:
        """Accept assertions for any of `audiences`. `wall_clock` returns Unix seconds."""
        self._audiences = list(audiences)
        self._wall_clock = wall_clock

    def claims(self, assertion: str, keys: Mapping[str, Any], client_id: str) -> tuple[str, float] | None:
        """Verify an assertion with `keys`, a JSON Web Key Set. Return its id, and the seconds for which to record it.

        Return None if it is not valid, or not of this client.
        """
        if len(assertion) > MAX_ASSERTION_LENGTH:
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
        return self._check_claims(claims, client_id)

    def _check_claims(self, claims: Mapping[str, Any], client_id: str) -> tuple[str, float] | None:
        """Check times, subject and id. Return the same as `claims`; None if one is invalid."""
        assertion_id, now = claims["jti"], self._wall_clock()
        expires_at, not_before = claims["exp"], claims.get("nbf", 0)
        if not isinstance(expires_at, int | float) or not isinstance(not_before, int | float):
            return None
        remaining = expires_at - now
        is_timely = -LEEWAY_SECONDS < remaining <= MAX_LIFE_SECONDS and not_before <= now + LEEWAY_SECONDS
        has_valid_id = isinstance(assertion_id, str) and 0 < len(assertion_id) <= MAX_ID_LENGTH
        is_valid = is_timely and has_valid_id and claims["sub"] == client_id
        return (assertion_id, remaining + 2 * LEEWAY_SECONDS) if is_valid else None

    def _key(self, assertion: str, keys: Mapping[str, Any]) -> jwt.PyJWK:
        """Return the key with the header's `kid`, or without `kid` the only key. Raises PyJWTError if there is none."""
        header = jwt.get_unverified_header(assertion)
        if header.get("alg") not in ALGORITHMS or "crit" in header:
            raise jwt.InvalidTokenError
        usable = [key for key in jwt.PyJWKSet.from_dict(dict(keys)).keys if key.public_key_use in (None, "sig")]
        matching = [key for key in usable if key.key_id == header.get("kid")] if "kid" in header else usable
        if len(matching) != 1:
            raise jwt.InvalidTokenError
        return matching[0]

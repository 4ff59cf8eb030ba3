"""Verifies assertions of `private_key_jwt` clients (RFC 7523) with PyJWT."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jwt import PyJWT, PyJWTError
from jwt.types import Options

from app.adapters.auth.jwt.keys import VerificationKey, find_key
from app.adapters.auth.jwt.token_form import decode_token_of_issuer

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Accepted signature algorithms, all with key pairs. An HMAC could be forged with the public key as its secret."""

MAX_ASSERTION_LENGTH = 8_192
"""Maximum length, in characters, of an assertion."""

MAX_LIFE_SECONDS = 3600.0
"""Longest remaining life of an assertion. Its id is recorded until it cannot be accepted any more."""

LEEWAY_SECONDS = 60.0
"""Accepted difference between the client's clock and this service's."""

MAX_ID_LENGTH = 300
"""Maximum length, in characters, of `jti`."""

_OPTIONS: Options = {
    "require": ["exp", "iss", "sub", "jti"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
"""PyJWT checks no times, because it reads the system's clock. `_check_claims` checks them."""


class JwtAssertions:
    """The AssertionCheck for one authorization server."""

    def __init__(self, audiences: Sequence[str], wall_clock: Callable[[], float] = time.time) -> None:
        """Accept assertions for any of `audiences`. `wall_clock` returns Unix seconds."""
        self._audiences = list(audiences)
        self._wall_clock = wall_clock
        self._jwt = PyJWT(_OPTIONS)

    def verify(self, assertion: str, keys: Mapping[str, Any], client_id: str) -> tuple[str, float] | None:
        """Verify an assertion with `keys`, a JSON Web Key Set. Return its id, and the seconds for which to record it.

        Return None if it is not valid, or not of this client. Both the assertion and the keys come from a stranger:
        the header is checked first, and one key at most is built.
        """
        token = decode_token_of_issuer(assertion, client_id) if len(assertion) <= MAX_ASSERTION_LENGTH else None
        key = _key(token.header, keys) if token is not None else None
        if token is None or key is None:
            return None
        algorithm = token.header["alg"]
        try:
            claims = self._jwt.decode(
                assertion, key.key, algorithms=[algorithm], audience=self._audiences, issuer=client_id
            )
            return self._check_claims(claims, client_id)
        except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None

    def _check_claims(self, claims: Mapping[str, Any], client_id: str) -> tuple[str, float] | None:
        """Check times, subject and id. Return the id, and the seconds for which to record it; None if any is invalid.

        Raises OverflowError if a time is an integer that no float can hold.
        """
        assertion_id, now = claims["jti"], self._wall_clock()
        expires_at, not_before = claims["exp"], claims.get("nbf", 0)
        if not isinstance(expires_at, int | float) or not isinstance(not_before, int | float):
            return None
        remaining = expires_at - now
        is_timely = -LEEWAY_SECONDS < remaining <= MAX_LIFE_SECONDS and not_before <= now + LEEWAY_SECONDS
        is_valid = is_timely and _is_valid_id(assertion_id) and claims["sub"] == client_id
        return (assertion_id, remaining + 2 * LEEWAY_SECONDS) if is_valid else None


def _is_valid_id(assertion_id: object) -> bool:
    """Return whether a `jti` is acceptable. Half a surrogate, for one, is not printable, and has no UTF-8 to hash."""
    return isinstance(assertion_id, str) and 0 < len(assertion_id) <= MAX_ID_LENGTH and assertion_id.isprintable()


def _key(header: Mapping[str, Any], keys: Mapping[str, Any]) -> VerificationKey | None:
    """Return the key with the `kid` of a header, or the only key that fits a header without `kid`.

    Return None if there is no such key, or if the header has an algorithm or an extension that is not accepted.
    """
    algorithm, key_id = header["alg"], header.get("kid")
    if algorithm not in ALGORITHMS or "crit" in header or "b64" in header:
        return None
    return find_key(keys, key_id, algorithm) if key_id is None or isinstance(key_id, str) else None

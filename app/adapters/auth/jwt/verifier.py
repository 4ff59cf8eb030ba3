"""Verifies JSON Web Tokens: header, claims and signature."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jwt import InvalidAudienceError, PyJWT, PyJWTError
from jwt.types import Options

from app.adapters.auth.jwt.claims import ClaimNames, audiences_of, check_claims, expires_at, person_of, scopes_of
from app.adapters.auth.jwt.faults import TokenRefused
from app.adapters.auth.jwt.issuer_keys import IssuerKeys
from app.adapters.auth.jwt.keys import ALGORITHMS, MAX_KEY_ID_LENGTH, VerificationKey
from app.adapters.auth.jwt.token_form import UnverifiedToken
from app.domain.access import Scope
from app.domain.teams import Person
from app.ports.auth import TokenFault

ACCESS_TOKEN_TYPES = ("jwt", "at+jwt", "application/at+jwt")
"""Accepted `typ` values in the JOSE header, in lower case. RFC 9068 has the latter two; others use `JWT`."""

_OPTIONS: Options = {
    "require": ["iss", "aud", "exp", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
"""PyJWT checks no times, because it reads the system's clock. `check_claims` checks them."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The holder, the scopes and the expiry (Unix seconds) in a verified token."""

    person: Person
    scopes: frozenset[Scope]
    expires_at: float


@dataclass(frozen=True, slots=True)
class Audiences:
    """The audiences that tokens may be for. A token that is for none of `full` has the scope `read` at most."""

    full: frozenset[str]
    read_only: frozenset[str] = frozenset()


class TokenVerifier:
    """Verifies tokens of one issuer for one service. Cheap checks come first, so that forged tokens cost little."""

    def __init__(
        self,
        keys: IssuerKeys,
        issuer: str,
        audiences: Audiences,
        names: ClaimNames,
        wall_clock: Callable[[], float],
    ) -> None:
        """Accept tokens that one of `keys` has signed, of `issuer` and for one of `audiences`.

        `wall_clock` returns Unix seconds.
        """
        self._keys = keys
        self._issuer = issuer
        self._full_audiences = audiences.full
        self._audiences = audiences.full | audiences.read_only
        self._names = names
        self._wall_clock = wall_clock
        self._jwt = PyJWT(_OPTIONS)

    @property
    def issuer(self) -> str:
        """The issuer whose tokens are verified."""
        return self._issuer

    @property
    def keys_digest(self) -> bytes | None:
        """A digest of the keys; None before they have been read.

        When it changes, tokens that were verified before must be verified again.
        """
        return self._keys.digest

    async def verify(self, token: UnverifiedToken) -> VerifiedToken:
        """Verify `token`, and return its content. Raises TokenRefused and AuthenticationUnavailable."""
        algorithm, key_id = _checked_header(token.header)
        check_claims(token.claims, self._audiences, self._wall_clock())
        key = await self._keys.find(key_id, algorithm)
        claims = self._signed_claims(token.text, key, algorithm)
        scopes = scopes_of(claims, self._names)
        if not self._full_audiences & audiences_of(claims):
            scopes &= {Scope.READ}
        return VerifiedToken(person_of(claims, self._names), scopes, expires_at(claims))

    def _signed_claims(self, token: str, key: VerificationKey, algorithm: str) -> dict[str, Any]:
        try:
            return self._jwt.decode(
                token, key.key, algorithms=[algorithm], audience=self._audiences, issuer=self._issuer
            )
        except InvalidAudienceError:
            raise TokenRefused(TokenFault.AUDIENCE) from None
        except (PyJWTError, ValueError, TypeError):
            raise TokenRefused(TokenFault.SIGNATURE) from None


def _checked_header(header: dict[str, Any]) -> tuple[str, str | None]:
    """Return `alg` and `kid`.

    Raises TokenRefused if the algorithm is not accepted, the token is of another type or has a critical extension, or
    the `kid` is malformed or too long.
    """
    algorithm, token_type, key_id = header["alg"], header.get("typ", "JWT"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenRefused(TokenFault.ALGORITHM)
    is_access_token = isinstance(token_type, str) and token_type.lower() in ACCESS_TOKEN_TYPES
    if "crit" in header or "b64" in header or not is_access_token:
        raise TokenRefused(TokenFault.HEADER)
    if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= MAX_KEY_ID_LENGTH):
        raise TokenRefused(TokenFault.KEY)
    return algorithm, key_id

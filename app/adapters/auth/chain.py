"""Passes each bearer token to the authenticator for its type."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.adapters.auth.jwt.faults import TokenRefused
from app.adapters.auth.jwt.token_form import may_be_jwt
from app.domain.api_key_format import PREFIX, is_well_formed
from app.domain.sign_in_tokens import is_of_sign_in
from app.ports.auth import AccessRefused, Authenticator, Caller, TokenCheck, TokenFault

if TYPE_CHECKING:  # PyJWT is imported only if JWTs are accepted
    from app.adapters.auth.jwt.authenticator import JwtAuthenticator


class DispatchingAuthenticator:
    """Authenticates each token with the authenticator for its type.

    A team key begins with `lmk_`, and an access token of sign-in with a prefix of its own. A JWT whose issuer claim
    names the trusted issuer goes to `jwts`. If `jwts` is given, a token that looks like a JWT but cannot be decoded is
    refused, and so is any other token that contains claims of that issuer. All other tokens, including JWTs of other
    issuers, go to `fallback`. Only these are ever sent to the backend.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one for each type
        self,
        team_keys: TokenCheck | None,
        access_tokens: TokenCheck | None,
        jwts: "JwtAuthenticator | None",
        fallback: TokenCheck | None,
        hasher: Authenticator,
        count_refusal: Callable[[TokenFault], None],
    ) -> None:
        """Authenticate tokens with these authenticators. Tokens of a type whose authenticator is None are refused.

        Without `jwts`, JWTs go to `fallback`. `hasher` makes the keyed hashes of tokens. `count_refusal` is called
        with the reason for each refused token.
        """
        self._team_keys = team_keys
        self._access_tokens = access_tokens
        self._jwts = jwts
        self._fallback = fallback
        self._hasher = hasher
        self._count_refusal = count_refusal

    async def authenticate(self, token: str) -> Caller | None:
        """Return the caller who holds `token`; None if it is refused.

        Raises AccessRefused for a known person without access, and AuthenticationUnavailable if the token cannot be
        checked now.
        """
        if token.startswith(PREFIX):
            return await self._check_team_key(token)
        if is_of_sign_in(token):
            return await self._check_access_token(token)
        if self._jwts is not None:
            if may_be_jwt(token):
                return await self._check_jwt(self._jwts, token)
            if self._jwts.is_damaged_jwt(token):
                self._count_refusal(TokenFault.FORM)
                return None
        return await self._check_other(token)

    def hash_token(self, token: str) -> str:
        """Return a keyed hash of `token`."""
        return self._hasher.hash_token(token)

    async def _check_team_key(self, token: str) -> Caller | None:
        if self._team_keys is None:
            self._count_refusal(TokenFault.FORM)
            return None
        caller = await self._team_keys.authenticate(token)
        if caller is None:
            self._count_refusal(TokenFault.TEAM_KEY if is_well_formed(token) else TokenFault.CHECKSUM)
        return caller

    async def _check_access_token(self, token: str) -> Caller | None:
        if self._access_tokens is None:
            self._count_refusal(TokenFault.FORM)
            return None
        caller = await self._access_tokens.authenticate(token)
        if caller is None:
            self._count_refusal(TokenFault.ACCESS_TOKEN)
        return caller

    async def _check_jwt(self, jwts: "JwtAuthenticator", token: str) -> Caller | None:
        try:
            found = jwts.find_cached_or_decode(token)
            if isinstance(found, Caller):
                return found
            if found is not None:
                return await jwts.authenticate(found)
        except TokenRefused as exc:
            self._count_refusal(exc.fault)
            return None
        except AccessRefused:
            self._count_refusal(TokenFault.TEAM)
            raise
        return await self._check_other(token)

    async def _check_other(self, token: str) -> Caller | None:
        if self._fallback is None:
            self._count_refusal(TokenFault.FORM)
            return None
        return await self._fallback.authenticate(token)

"""Passes each bearer token to the authenticator for tokens of its form."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.adapters.auth.jwt.faults import TokenRefused
from app.adapters.auth.jwt.token_form import UnverifiedToken
from app.domain.api_key_format import PREFIX, is_well_formed
from app.domain.sign_in_tokens import is_of_sign_in
from app.ports.auth import AccessRefused, Authenticator, Caller, TokenCheck, TokenFault

if TYPE_CHECKING:  # PyJWT is imported only where such tokens are accepted
    from app.adapters.auth.jwt.authenticator import JwtAuthenticator


class DispatchingAuthenticator:
    """Authenticates each token with the authenticator for its form.

    A team key begins with `lmk_`, and a token of sign-in with a prefix of its own. A JWT is one whose issuer claim is
    that of the trusted issuer; JWTs of other issuers are passed to `others`. Team keys, tokens of sign-in and tokens of
    the trusted issuer are never sent to the backend.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one for each form
        self,
        team_keys: TokenCheck | None,
        access_tokens: TokenCheck | None,
        jwts: "JwtAuthenticator | None",
        others: TokenCheck | None,
        hashes: Authenticator,
        count_refusal: Callable[[TokenFault], None],
    ) -> None:
        """Authenticate tokens of each form with the argument for it. If that is None, tokens of the form are refused.

        `hashes` makes the keyed hashes of tokens. `count_refusal` is called with the reason for each refused token.
        """
        self._team_keys = team_keys
        self._access_tokens = access_tokens
        self._jwts = jwts
        self._others = others
        self._hashes = hashes
        self._count_refusal = count_refusal

    async def authenticate(self, token: str) -> Caller | None:
        """Return the caller who holds `token`; None if it is refused.

        Raises AccessRefused and AuthenticationUnavailable.
        """
        if token.startswith(PREFIX):
            return await self._check_team_key(token)
        if is_of_sign_in(token):
            return await self._check_access_token(token)
        recognised = self._jwts.recognise(token) if self._jwts is not None else None
        if isinstance(recognised, Caller):
            return recognised
        if self._jwts is not None and recognised is not None:
            return await self._check_jwt(self._jwts, recognised)
        if self._others is None:
            self._count_refusal(TokenFault.FORM)
            return None
        return await self._others.authenticate(token)

    def name(self, token: str) -> str:
        """Return a keyed hash of `token`."""
        return self._hashes.name(token)

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

    async def _check_jwt(self, jwts: "JwtAuthenticator", token: UnverifiedToken) -> Caller | None:
        try:
            return await jwts.authenticate(token)
        except TokenRefused as exc:
            self._count_refusal(exc.fault)
            return None
        except AccessRefused:
            self._count_refusal(TokenFault.TEAM)
            raise

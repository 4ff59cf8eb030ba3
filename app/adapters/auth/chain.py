"""Several ways to authenticate, told apart by the form of the token."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.adapters.auth.jwt.faults import TokenRefused
from app.adapters.auth.jwt.token_form import UnverifiedToken
from app.domain.api_key_format import PREFIX, is_well_formed
from app.domain.sign_in_tokens import is_of_sign_in
from app.ports.auth import AccessRefused, Authenticator, Caller, TokenCheck, TokenFault

if TYPE_CHECKING:  # PyJWT is imported only where such tokens are accepted
    from app.adapters.auth.jwt.authenticator import JwtAuthenticator


class ByForm:
    """Authenticates each token in the one way that its form calls for.

    A team key begins with `lmk_`. A JWT counts as one if it claims to be of the issuer that is trusted; that of another
    issuer is a token like any other. Neither team keys nor tokens of sign-in or of that issuer ever reach the backend.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one for each form
        self,
        keys: TokenCheck | None,
        sign_in: TokenCheck | None,
        issuer: "JwtAuthenticator | None",
        others: TokenCheck | None,
        names: Authenticator,
        refused: Callable[[TokenFault], None],
    ) -> None:
        """Authenticate with `keys`, `sign_in`, `issuer` and `others`; None refuses.

        `names` tells shares apart before that. `refused` receives the fault of each token that is refused.
        """
        self._keys = keys
        self._sign_in = sign_in
        self._issuer = issuer
        self._others = others
        self._names = names
        self._refused = refused

    async def authenticate(self, token: str) -> Caller | None:
        """Return who holds `token`, or None if it is refused. Raises AccessRefused and AuthenticationUnavailable."""
        if token.startswith(PREFIX):
            return await self._holder_of_key(token)
        if is_of_sign_in(token):
            return await self._signed_in(token)
        recognised = self._issuer.recognise(token) if self._issuer is not None else None
        if isinstance(recognised, Caller):
            return recognised
        if self._issuer is not None and recognised is not None:
            return await self._holder_of_jwt(self._issuer, recognised)
        if self._others is None:
            self._refused(TokenFault.FORM)
            return None
        return await self._others.authenticate(token)

    def name(self, token: str) -> str:
        """Return a keyed hash of `token`."""
        return self._names.name(token)

    async def _holder_of_key(self, token: str) -> Caller | None:
        if self._keys is None:
            self._refused(TokenFault.FORM)
            return None
        caller = await self._keys.authenticate(token)
        if caller is None:
            self._refused(TokenFault.TEAM_KEY if is_well_formed(token) else TokenFault.CHECKSUM)
        return caller

    async def _signed_in(self, token: str) -> Caller | None:
        if self._sign_in is None:
            self._refused(TokenFault.FORM)
            return None
        caller = await self._sign_in.authenticate(token)
        if caller is None:
            self._refused(TokenFault.ACCESS_TOKEN)
        return caller

    async def _holder_of_jwt(self, issuer: "JwtAuthenticator", token: UnverifiedToken) -> Caller | None:
        try:
            return await issuer.authenticate(token)
        except TokenRefused as exc:
            self._refused(exc.fault)
            return None
        except AccessRefused:
            self._refused(TokenFault.TEAM)
            raise

"""Several ways to authenticate, told apart by the form of the token."""

from app.domain.api_key_format import PREFIX
from app.ports.auth import Authenticator, Caller, TokenCheck


class ByForm:
    """Authenticates team keys, which begin with `lmk_`, in one way, and all other tokens in another.

    A team key never reaches the backend as a token, whichever ways are on.
    """

    def __init__(self, keys: TokenCheck | None, others: TokenCheck | None, names: Authenticator) -> None:
        """Authenticate with `keys` and `others`; None refuses. `names` tells shares apart before that."""
        self._keys = keys
        self._others = others
        self._names = names

    async def authenticate(self, token: str) -> Caller | None:
        """Return who holds `token`, or None if it is refused. Raises AuthenticationUnavailable."""
        way = self._keys if token.startswith(PREFIX) else self._others
        return await way.authenticate(token) if way is not None else None

    def name(self, token: str) -> str:
        """Return a keyed hash of `token`."""
        return self._names.name(token)

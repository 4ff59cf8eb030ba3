"""Callers as an Authenticator returns them: a principal and a source of credentials."""

from collections.abc import Collection, Sequence

from app.adapters.auth.passthrough import SingleCredential
from app.domain.access import PASSTHROUGH_SCOPES, Credential, Principal, Scope
from app.domain.errors import LumaError
from app.ports.auth import Caller


def caller(subject: str, secret: str = "token", scopes: Collection[Scope] = PASSTHROUGH_SCOPES) -> Caller:
    """Return a caller whose principal and credential both have the name `subject`."""
    return Caller(Principal(subject, scopes=frozenset(scopes)), SingleCredential(Credential(subject, secret)))


class NoCredential:
    """A CredentialSource that raises a given error in place of a credential."""

    def __init__(self, error: LumaError) -> None:
        self._error = error

    async def all(self) -> Sequence[Credential]:
        """Raise the error."""
        raise self._error

    async def one(self) -> Credential:
        """Raise the error."""
        raise self._error

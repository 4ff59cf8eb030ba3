"""Callers as authentication names them."""

from collections.abc import Collection, Sequence

from app.adapters.auth.passthrough import GivenCredential
from app.domain.access import PASSTHROUGH_SCOPES, Credential, Principal, Scope
from app.domain.errors import LumaError
from app.ports.auth import Caller


def caller(subject: str, secret: str = "token", scopes: Collection[Scope] = PASSTHROUGH_SCOPES) -> Caller:
    """Return a caller with a credential of its own."""
    return Caller(Principal(subject, scopes=frozenset(scopes)), GivenCredential(Credential(subject, secret)))


class NoCredential:
    """A CredentialSource that has none."""

    def __init__(self, fault: LumaError) -> None:
        """Raise `fault`."""
        self._fault = fault

    async def all(self) -> Sequence[Credential]:
        """Raise the fault."""
        raise self._fault

    async def one(self) -> Credential:
        """Raise the fault."""
        raise self._fault

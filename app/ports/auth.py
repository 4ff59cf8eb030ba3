"""Authentication: who a bearer token stands for, and where the credential for the backend comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.domain.access import Credential, Principal


class CredentialSource(Protocol):
    """Holds the credentials that the backend is asked with for one caller."""

    async def all(self) -> Sequence[Credential]:
        """Return every credential, any of which may submit; at least one. Raises LumaError if there is none."""
        ...

    async def one(self) -> Credential:
        """Return the credential to read with. Raises LumaError if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of one request, and the source of its credential."""

    principal: Principal
    credentials: CredentialSource = field(repr=False)


class AuthenticationUnavailable(Exception):
    """A token cannot be checked now; `str()` is a sentence for its holder."""


class TokenCheck(Protocol):
    """Authenticates bearer tokens of one form."""

    async def authenticate(self, token: str) -> Caller | None:
        """Return who holds `token`, or None if it is refused. Raises AuthenticationUnavailable."""
        ...


class Authenticator(TokenCheck, Protocol):
    """Authenticates bearer tokens."""

    def name(self, token: str) -> str:
        """Return a keyed hash of `token`: its share of places and memory before it is authenticated."""
        ...

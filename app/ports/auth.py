"""Authentication of bearer tokens, and the backend credentials of each caller."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.domain.access import Credential, Principal


class CredentialSource(Protocol):
    """The credentials that calls to the backend carry for one caller."""

    async def all(self) -> Sequence[Credential]:
        """Return all credentials, at least one; each may submit. Raises LumaError if there is none."""
        ...

    async def one(self) -> Credential:
        """Return the credential for reads. Raises LumaError if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of one request, and the source of the caller's backend credentials."""

    principal: Principal
    credentials: CredentialSource = field(repr=False)


class AuthenticationUnavailable(Exception):
    """A token cannot be checked now. `str()` is a sentence for its holder."""


class TokenCheck(Protocol):
    """Authenticates bearer tokens of one form."""

    async def authenticate(self, token: str) -> Caller | None:
        """Return the caller who holds `token`; None if the token is refused. Raises AuthenticationUnavailable."""
        ...


class Authenticator(TokenCheck, Protocol):
    """Authenticates bearer tokens."""

    def name(self, token: str) -> str:
        """Return a keyed hash of `token`. Limits on memory and concurrency use it before authentication."""
        ...

"""Authentication of bearer tokens, and the backend credentials of each caller."""

from collections.abc import Awaitable, Callable, Sequence
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
    """The caller of one request, and the source of the caller's backend credentials.

    Attributes:
        current: returns the principal as it is now; None if its token is no longer accepted. It may raise LumaError.
            None where only the backend can tell.

    """

    principal: Principal
    credentials: CredentialSource = field(repr=False)
    current: Callable[[], Awaitable[Principal | None]] | None = field(default=None, repr=False, compare=False)

    async def now(self) -> Principal | None:
        """Return the principal as it is now; None if its token is no longer accepted. Raises LumaError."""
        return self.principal if self.current is None else await self.current()

    async def may_go_on(self) -> bool:
        """Return whether the caller may read what it could when the call began. Long calls ask. Raises LumaError."""
        now = await self.now()
        return now is not None and (now.sees, now.scopes) == (self.principal.sees, self.principal.scopes)


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

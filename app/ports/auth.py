"""Authentication of bearer tokens, and the backend credentials of each caller."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from app.domain.access import Credential, Principal


class CredentialSource(Protocol):
    """The credentials that calls to the backend carry for one caller."""

    async def all(self) -> Sequence[Credential]:
        """Return all credentials, at least one, each usable for submissions. Raises LumaError if there is none."""
        ...

    async def one(self) -> Credential:
        """Return the credential for reads. Raises LumaError if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of one request, and the source of the caller's backend credentials.

    Attributes:
        can_ask_for_scopes: whether the issuer of the caller's token grants scopes on request. HTTP responses then name
            missing scopes.
        current: returns the current principal of the token; None if the token is no longer accepted. The call may
            raise LumaError. The attribute is None if only the backend can check the token.

    """

    principal: Principal
    credentials: CredentialSource = field(repr=False)
    can_ask_for_scopes: bool = False
    current: Callable[[], Awaitable[Principal | None]] | None = field(default=None, repr=False, compare=False)

    async def current_principal(self) -> Principal | None:
        """Return the current principal of the token; None if the token is no longer accepted. Raises LumaError.

        If only the backend can check the token, return the principal of this request.
        """
        return self.principal if self.current is None else await self.current()

    async def has_unchanged_access(self) -> bool:
        """Return whether the caller has the same rights to read as at the start of the call. Raises LumaError.

        Long calls check it repeatedly.
        """
        current, before = await self.current_principal(), self.principal
        return current is not None and (current.sees, current.scopes) == (before.sees, before.scopes)


class AuthenticationUnavailable(Exception):
    """A token cannot be checked now. `str()` is a sentence for the caller."""


class AccessRefused(Exception):
    """A token is valid, but its holder may not use this service. `str()` is a sentence for the caller."""


class TokenFault(StrEnum):
    """The reason for the refusal of a bearer token, which is a label of metrics."""

    FORM = "form"
    """No enabled authenticator accepts tokens of this form."""
    OVERSIZED = "oversized"
    CHECKSUM = "checksum"
    """A team key with a wrong checksum, or of another length."""
    TEAM_KEY = "team_key"
    """A team key that is unknown, revoked, blocked or expired."""
    ACCESS_TOKEN = "access_token"  # noqa: S105 - a label
    """An access token of sign-in that is unknown, has expired or whose grant has ended."""
    HEADER = "header"
    """A JWT of another type, or with a critical header parameter (`crit`)."""
    ALGORITHM = "algorithm"
    """A signature algorithm that is not accepted, or does not match the key."""
    KEY = "key"
    """A key id that is not among the issuer's keys."""
    SIGNATURE = "signature"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    PREMATURE = "premature"
    CLAIMS = "claims"
    """A claim that is missing or has the wrong type, or that binds the token to a key of its holder."""
    TEAM = "team"
    """The token is valid, but does not name exactly one team of this service."""


class TokenCheck(Protocol):
    """Authenticates bearer tokens of one form."""

    async def authenticate(self, token: str) -> Caller | None:
        """Return the caller who holds `token`; None if the token is refused.

        Raises AccessRefused and AuthenticationUnavailable.
        """
        ...


class Authenticator(TokenCheck, Protocol):
    """Authenticates bearer tokens."""

    def hash_token(self, token: str) -> str:
        """Return a keyed hash of `token`. Limits on memory and concurrency use it before authentication."""
        ...

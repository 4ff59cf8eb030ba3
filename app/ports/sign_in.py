"""Interfaces of sign-in: the login upstream, the documents of clients, tokens, sealing and counting."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from app.domain.access import Scope
from app.domain.sign_in import OAuthClient, Person, PersonSecrets


class LoginRefused(Exception):
    """The upstream did not sign the person in; `str()` is a sentence for the person."""


class LoginUnavailable(Exception):
    """The upstream does not answer, or not in a form that can be used; `str()` is a sentence for the person."""


class Liveness(StrEnum):
    """Whether a login upstream still counts."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """The upstream does not answer, or cannot tell. The grant goes on."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person whom the upstream has just signed in, by issuer and subject; `issuer|subject` is unique."""

    issuer: str
    subject: str
    secrets: PersonSecrets


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """The secrets of one sign-in at the upstream: `state` returns in the URL, the others prove whose it is."""

    state: str = field(repr=False)
    verifier: str = field(repr=False)
    nonce: str = field(repr=False)


class Upstream(Protocol):
    """The login that vouches for people. It never sees the client, nor the client it."""

    @property
    def name(self) -> str:
        """Return its name for people."""
        ...

    @property
    def origin(self) -> str:
        """Return the scheme, host and port of its login page."""
        ...

    async def begin(self, attempt: LoginAttempt) -> str:
        """Return the URL of the login page. Raises LoginUnavailable."""
        ...

    async def finish(self, attempt: LoginAttempt, returned: Mapping[str, str]) -> SignedIn:
        """Return who has signed in, by the query that the browser returned with.

        Raises LoginRefused and LoginUnavailable.
        """
        ...

    async def alive(self, secrets: PersonSecrets) -> tuple[Liveness, PersonSecrets]:
        """Return whether the login still counts, and the secrets to keep, which may be renewed. Never raises."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class DocumentRefused(Exception):
    """A client's metadata document cannot be used; `str()` is a sentence for the person and the developer."""


class DocumentUnavailable(Exception):
    """A client's metadata document cannot be fetched now; `str()` is a sentence for the person and the developer."""


class ClientDocuments(Protocol):
    """Fetches Client ID Metadata Documents, and the public keys of clients."""

    def is_document_id(self, client_id: str) -> bool:
        """Return whether a client id is the URL of a document."""
        ...

    async def fetch(self, client_id: str) -> tuple[OAuthClient, float]:
        """Return the client and the seconds for which its document is fresh.

        Raises DocumentRefused and DocumentUnavailable.
        """
        ...

    async def keys(self, client: OAuthClient) -> Mapping[str, Any]:
        """Return the client's public keys, a JSON Web Key Set. Raises DocumentRefused and DocumentUnavailable."""
        ...


class AssertionCheck(Protocol):
    """Verifies the signed assertions of `private_key_jwt` clients (RFC 7523)."""

    def claims(self, assertion: str, keys: Mapping[str, Any], client_id: str) -> tuple[str, float] | None:
        """Return the id of an assertion and the seconds until it expires; None if it is not the client's."""
        ...


class TokenMint(Protocol):
    """Makes tokens, and the digests that stand for them in the database."""

    def code(self) -> str:
        """Return a new authorization code."""
        ...

    def first_refresh(self, grant_id: str) -> str:
        """Return the first refresh token of a grant."""
        ...

    def successor(self, refresh: str) -> str:
        """Return the refresh token that follows `refresh`: always the same, so that repeated refreshes agree."""
        ...

    def access(self, refresh: str, scopes: frozenset[Scope]) -> str:
        """Return the access token that belongs to a refresh token and these scopes: always the same."""
        ...

    def grant_of(self, refresh: str) -> str | None:
        """Return the id of the grant of a refresh token that this service has made; None for any other text."""
        ...

    def random(self) -> str:
        """Return a new random secret in URL-safe characters: of a client, a browser or a session."""
        ...

    def digest(self, token: str) -> str:
        """Return the keyed hash that stands for a secret in the database: 64 hexadecimal digits."""
        ...

    def person_id(self, issuer: str, subject: str) -> str:
        """Return the keyed hash that names a person: 32 hexadecimal digits."""
        ...


class PersonVault(Protocol):
    """Seals what is known of people."""

    def seal(self, person_id: str, secrets: PersonSecrets) -> str:
        """Return `secrets` sealed for the person with this id."""
        ...

    def open(self, person: Person) -> PersonSecrets | None:
        """Return what is sealed; None if it was sealed under another secret key."""
        ...


class SignInTelemetry(Protocol):
    """Counts events of sign-in. All values are from closed sets."""

    def refreshed(self, outcome: str) -> None:
        """Count one refresh by its outcome: a RefreshJudgement, "invalid" or "dead_login"."""
        ...

    def grant_ended(self, reason: str) -> None:
        """Count one end of a grant by its RevokeReason."""
        ...

    def client_registered(self, method: str) -> None:
        """Count one registration by its method: a Registration."""
        ...

    def granted(self, registration: str, client_name: str) -> None:
        """Count one grant by how its client is registered, and by the family that its name belongs to."""
        ...


class ContentSealer(Protocol):
    """Seals short contents that a browser or the database holds, so that only this service can read or make them."""

    def seal(self, purpose: str, content: Mapping[str, Any], *context: str) -> str:
        """Return `content` sealed for `purpose` and `context`, in characters that a form can carry."""
        ...

    def unseal(self, purpose: str, text: str, *context: str) -> dict[str, Any] | None:
        """Return the content; None if `text` was not sealed by this service for this purpose and context."""
        ...

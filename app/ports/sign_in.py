"""Interfaces of sign-in: the upstream login, documents of clients, tokens, encryption and telemetry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from app.domain.access import Scope
from app.domain.sign_in import OAuthClient, Person, PersonSecrets


class LoginRefused(Exception):
    """The upstream refused the login. `str()` is a sentence for the person."""


class LoginUnavailable(Exception):
    """The upstream does not answer, or its answer cannot be used. `str()` is a sentence for the person."""


class Liveness(StrEnum):
    """Whether a login at the upstream is still valid."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """The upstream does not answer, or its answer is unclear. The login counts as valid."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person whom the upstream has just authenticated. `subject` is unique within `issuer`."""

    issuer: str
    subject: str
    secrets: PersonSecrets


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """The secrets of one login at the upstream.

    Attributes:
        state: returned by the upstream in the redirect URL.
        verifier: PKCE code verifier.
        nonce: returned by the upstream in the ID token, if it issues one.

    """

    state: str = field(repr=False)
    verifier: str = field(repr=False)
    nonce: str = field(repr=False)


class Upstream(Protocol):
    """The upstream login, which authenticates people. It has no contact with OAuth clients of this service."""

    @property
    def name(self) -> str:
        """The name of the upstream, for display."""
        ...

    @property
    def origin(self) -> str:
        """The origin (scheme, host and port) of its login page."""
        ...

    async def begin(self, attempt: LoginAttempt) -> str:
        """Return the URL of the login page. Raises LoginUnavailable."""
        ...

    async def finish(self, attempt: LoginAttempt, returned: Mapping[str, str]) -> SignedIn:
        """Complete the login, and return the person. `returned` is the query of the redirect from the upstream.

        Raises LoginRefused and LoginUnavailable.
        """
        ...

    async def check_liveness(self, secrets: PersonSecrets) -> tuple[Liveness, PersonSecrets]:
        """Return whether the login is still valid, and the secrets to keep, which may be renewed. Never raises."""
        ...

    async def find_fault(self) -> str | None:
        """Return why nobody can sign in, as words that follow the name of the login; None if it answers as expected."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class DocumentRefused(Exception):
    """A client's metadata document is not valid. `str()` is a sentence for the person and the client's developer."""


class DocumentUnavailable(Exception):
    """A client's metadata document cannot be fetched now. `str()` is a sentence for the person and the developer."""


class ClientDocuments(Protocol):
    """Fetches Client ID Metadata Documents, and the public keys of clients."""

    def is_document_id(self, client_id: str) -> bool:
        """Return whether a client id is the URL of a document."""
        ...

    async def fetch(self, client_id: str) -> tuple[OAuthClient, float]:
        """Fetch a document. Return its client and the seconds for which the document is fresh.

        Raises DocumentRefused and DocumentUnavailable.
        """
        ...

    def known_keys(self, client: OAuthClient) -> Mapping[str, Any] | None:
        """Return the client's public keys, a JSON Web Key Set; None if they have to be fetched."""
        ...

    async def fetch_keys(self, client: OAuthClient) -> Mapping[str, Any]:
        """Fetch the client's public keys, a JSON Web Key Set. Raises DocumentRefused and DocumentUnavailable."""
        ...


class AssertionCheck(Protocol):
    """Verifies the signed assertions of `private_key_jwt` clients (RFC 7523)."""

    def verify(self, assertion: str, keys: Mapping[str, Any], client_id: str) -> tuple[str, float] | None:
        """Return the id (`jti`) of an assertion, and the seconds for which to record it; None if it is not valid."""
        ...


class TokenMint(Protocol):
    """Creates tokens, and the digests under which the database stores them."""

    def code(self) -> str:
        """Return a new authorization code."""
        ...

    def first_refresh(self, grant_id: str) -> str:
        """Return the first refresh token of a grant."""
        ...

    def successor(self, refresh: str) -> str:
        """Return the refresh token that follows `refresh`. It is deterministic, so that repeated refreshes agree."""
        ...

    def access(self, refresh: str, scopes: frozenset[Scope]) -> str:
        """Return the access token for a refresh token and scopes. It is deterministic."""
        ...

    def is_access(self, token: str) -> bool:
        """Return whether a text is an access token of this service. Whether it still counts is not checked."""
        ...

    def grant_of(self, refresh: str) -> str | None:
        """Return the grant's id in a refresh token of this service; None for any other text."""
        ...

    def random(self) -> str:
        """Return a new random secret for a client, a browser or a session, in URL-safe characters."""
        ...

    def state(self, browser: str) -> str:
        """Return a new `state` for a login, in URL-safe characters. `browser` is the secret of the browser."""
        ...

    def is_state(self, state: str, browser: str) -> bool:
        """Return whether this service has made `state` for the browser with this secret."""
        ...

    def digest(self, token: str) -> str:
        """Return the keyed hash of a token or secret for the database: 64 hexadecimal digits."""
        ...

    def person_id(self, issuer: str, subject: str) -> str:
        """Return the id of a person, a keyed hash: 32 hexadecimal digits."""
        ...


class PersonVault(Protocol):
    """Encrypts the secrets of people."""

    def seal(self, person_id: str, secrets: PersonSecrets) -> str:
        """Return `secrets` sealed for the person with this id."""
        ...

    def open(self, person: Person) -> PersonSecrets | None:
        """Return the unsealed secrets; None if they were sealed under another secret key."""
        ...


class SignInTelemetry(Protocol):
    """Counts events of sign-in. All label values are from closed sets."""

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
        """Count one grant by the Registration of its client, and by the family of clients that its name belongs to."""
        ...


class ContentSealer(Protocol):
    """Encrypts short contents that a browser or the database keeps. Only this service can read or create them."""

    def seal(self, purpose: str, content: Mapping[str, Any], *context: str) -> str:
        """Return `content` sealed for `purpose` and `context`, in characters that a form can carry."""
        ...

    def unseal(self, purpose: str, text: str, *context: str) -> dict[str, Any] | None:
        """Return the content; None if `text` was not sealed by this service for this purpose and context."""
        ...

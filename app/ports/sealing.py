"""Interfaces for encryption and signing with the service's secret keys, and for the secrets of teams."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from app.domain.budget import AlertTarget
from app.domain.teams import Team, TeamCredential
from app.ports.directory import NewKey
from app.ports.people import NewInvitation


class Sealer(Protocol):
    """Encrypts and authenticates texts that callers or the backend keep. Only this service can read them."""

    def seal(self, purpose: str, content: dict[str, Any], audience: str = "") -> str:
        """Return `content` sealed for `purpose` and `audience`, in URL-safe characters."""
        ...

    def unseal(self, purpose: str, text: str, audiences: Sequence[str] = ()) -> dict[str, Any] | None:
        """Return the sealed content; None if `text` was not sealed by this service for this purpose and audience.

        `audiences` is the audience's name under each secret key, in the order of the keys; empty means the audience "".
        """
        ...


class ValueSealer(Protocol):
    """Encrypts values in a shared store, so that others can neither read nor replace them."""

    def seal(self, place: str, body: bytes) -> bytes:
        """Return `body` sealed for `place`, its key in the store. It can be unsealed for this place only."""
        ...

    def unseal_each(self, sealed: Iterable[tuple[str, bytes | None]]) -> Iterator[bytes | None]:
        """Yield the body for each pair of a place and a sealed value, in order; None if it is absent or not valid."""
        ...


class Signer(Protocol):
    """Signs values, so that values written by others to a shared store or channel are detected."""

    def sign(self, place: str, body: bytes) -> bytes:
        """Return `body` with a signature that is valid for `place` only: a key or channel, without NUL characters."""
        ...

    def verified(self, place: str, signed: bytes) -> bytes | None:
        """Return the body of `signed`; None if its signature is not valid for `place`."""
        ...

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        """Return the keyed hashes of `text`, one for each secret key, starting with the current key."""
        ...


class OtherSecretKey(Exception):
    """The secrets in the database are sealed under a secret key that this process does not have."""


class SecretMaker(Protocol):
    """Creates secrets of teams, which are shown only once, and encrypts secrets that are never shown.

    Every method but `signing_secret` raises OtherSecretKey and DatabaseUnavailable.
    """

    async def new_key(self) -> tuple[str, NewKey]:
        """Return a new secret key, and its record for the directory."""
        ...

    async def alert_target(self, team: Team, url: str) -> AlertTarget:
        """Return the receiver `url` of a team's alerts, with the URL sealed."""
        ...

    async def new_client_secret(self) -> tuple[str, str]:
        """Return a new secret for an OAuth client, and its keyed hash."""
        ...

    async def new_invitation(self) -> tuple[str, NewInvitation]:
        """Return the code of a new invitation, and its record for the directory."""
        ...

    async def member_hash(self) -> Callable[[str], str]:
        """Return the keyed hash function that makes the ids of people and of their memberships."""
        ...

    def signing_secret(self, team: Team) -> str:
        """Return the secret that signs a team's alerts, with which the receiver verifies them."""
        ...

    async def sealed(self, team: Team, backend: str, secret: str) -> TeamCredential:
        """Return a credential of a team for a backend, sealed."""
        ...

"""Interfaces for encrypted texts, encrypted or signed values, and keys, which only this service can create."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from app.domain.budget import AlertTarget
from app.domain.teams import Team, TeamCredential
from app.ports.directory import NewKey


class Sealer(Protocol):
    """Encrypts and authenticates texts that callers or the backend hold. Only this service can read them."""

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
        """Return `body` sealed for `place`, its key in the store."""
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
    """Makes the secrets of teams that are shown once, and seals those that are never shown.

    Every method but `signing_secret` raises OtherSecretKey and DatabaseUnavailable.
    """

    async def new_key(self) -> tuple[str, NewKey]:
        """Return a key, and what the directory records of it."""
        ...

    async def alert_target(self, team: Team, url: str) -> AlertTarget:
        """Return where alerts of a team's budgets are sent, sealed."""
        ...

    async def new_client_secret(self) -> tuple[str, str]:
        """Return a secret of an OAuth client, and the digest that stands for it."""
        ...

    def signing_secret(self, team: Team) -> str:
        """Return the secret with which the receiver of a team's alerts checks their signatures."""
        ...

    async def sealed(self, team: Team, backend: str, secret: str) -> TeamCredential:
        """Return a credential of a team for a backend, sealed."""
        ...

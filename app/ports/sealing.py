"""Sealed texts and signed values, which only this service can make."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol


class Sealer(Protocol):
    """Seals texts: only this service can make or read them."""

    def seal(self, purpose: str, content: dict[str, Any], audience: str = "") -> str:
        """Return `content` sealed, in characters that any URL takes."""
        ...

    def unseal(self, purpose: str, text: str, audiences: Sequence[str] = ()) -> dict[str, Any] | None:
        """Return what was sealed for this purpose, or None.

        `audiences` has the name of the one audience under each secret key, in their order.
        """
        ...


class Signer(Protocol):
    """Signs values, to detect those that others wrote to a shared store or channel."""

    def sign(self, place: str, body: bytes) -> bytes:
        """Return `body` with a signature that is valid for `place` only. A place has no NUL."""
        ...

    def verified(self, place: str, signed: bytes) -> bytes | None:
        """Return the body signed for `place`; None if the signature is not valid."""
        ...

    def verified_each(self, signed: Iterable[tuple[str, bytes | None]]) -> Iterator[bytes | None]:
        """Yield the body signed for each place, in order; None if the signature is not valid."""
        ...

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        """Return the keyed hashes of `text`, one for each secret key, the current one first."""
        ...

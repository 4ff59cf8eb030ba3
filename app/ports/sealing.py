"""Texts and values that only this service can make."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol


class Sealer(Protocol):
    """What hands out texts that only this service can read and make."""

    def seal(self, purpose: str, content: dict[str, Any], audience: str = "") -> str:
        """Return `content` sealed, in characters that any URL takes."""
        ...

    def unseal(self, purpose: str, text: str, audiences: Sequence[str] = ()) -> dict[str, Any] | None:
        """Return what was sealed for this purpose, or None.

        `audiences` has the name of the one audience under each secret key, in their order.
        """
        ...


class Signer(Protocol):
    """What tells our own words from those of others who can write to what we share."""

    def sign(self, place: str, body: bytes) -> bytes:
        """Return `body` with a mark that counts at `place` alone; a place holds no NUL."""
        ...

    def verified(self, place: str, signed: bytes) -> bytes | None:
        """Return what was signed for `place`, or None."""
        ...

    def verified_each(self, signed: Iterable[tuple[str, bytes | None]]) -> Iterator[bytes | None]:
        """Yield what was signed for each place, in order, or None where nothing was."""
        ...

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        """Return the keyed hashes that stand for `text`, one for each secret key, the current one first."""
        ...

"""The interface of admission, which decides whether a person who has just signed in may use this service."""

from typing import Protocol

from app.ports.sign_in import SignedIn


class JoinRefused(Exception):
    """An invitation could not be used. `str()` is a sentence for the person."""


class Admission(Protocol):
    """Admits people, and lets those who come with an invitation join its team."""

    async def admit(self, signed_in: SignedIn, invitation: str | None) -> None:
        """Return if the person may use this service. `invitation` is the digest of an invitation's code, if any.

        Raises LoginRefused, LoginUnavailable, JoinRefused and DatabaseUnavailable.
        """
        ...

"""Admission where everybody whom the login signs in may use this service."""

from app.ports.admission import JoinRefused
from app.ports.sign_in import SignedIn

NO_TEAMS = "People who sign in to this service belong to no teams, so there is nothing to join."


class OpenAdmission:
    """Admits everybody. There are no teams to join."""

    async def admit(self, signed_in: SignedIn, invitation: str | None) -> None:  # noqa: ARG002 - all are admitted
        """Return. Raises JoinRefused for an invitation."""
        if invitation is not None:
            raise JoinRefused(NO_TEAMS)

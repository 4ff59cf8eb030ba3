"""The account page's service: lists and ends the grants of a person."""

from app.domain.sign_in import Grant, Person, RevokeReason
from app.ports.sign_in import SignInTelemetry
from app.ports.sign_in_store import Grants


class Account:
    """Lists and ends grants. Every method raises DatabaseUnavailable."""

    def __init__(self, grants: Grants, telemetry: SignInTelemetry) -> None:
        """Use the repository `grants`. `telemetry` counts the ends of grants."""
        self._grants = grants
        self._telemetry = telemetry

    async def grants_of(self, person: Person) -> list[Grant]:
        """Return the active grants of a person, newest first."""
        return await self._grants.of_person(person.id)

    async def end(self, person: Person, grant_id: str) -> None:
        """End one grant of a person. The grant of another person, or one that has ended, is not changed."""
        if not grant_id.isprintable():
            return
        if await self._grants.revoke(grant_id, RevokeReason.PERSON, person_id=person.id) is not None:
            self._telemetry.grant_ended(RevokeReason.PERSON)

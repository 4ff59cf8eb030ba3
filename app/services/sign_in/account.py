"""What a person sees and ends on the account page."""

from app.domain.sign_in import Grant, Person, RevokeReason
from app.ports.sign_in import SignInTelemetry
from app.ports.sign_in_store import Grants


class Account:
    """The grants of people. Every method raises DatabaseUnavailable."""

    def __init__(self, grants: Grants, telemetry: SignInTelemetry) -> None:
        """Show and end the grants in `grants`."""
        self._grants = grants
        self._telemetry = telemetry

    async def grants_of(self, person: Person) -> list[Grant]:
        """Return what a person has granted and not ended, the newest first."""
        return await self._grants.of_person(person.id)

    async def end(self, person: Person, grant_id: str) -> None:
        """End one grant of a person. A grant of somebody else, or one that has ended, is left as it is."""
        if await self._grants.revoke(grant_id, RevokeReason.PERSON, person_id=person.id) is not None:
            self._telemetry.grant_ended(RevokeReason.PERSON)

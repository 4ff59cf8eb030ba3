"""Interface for operators who look through the grants of all people, and revoke them."""

from typing import Protocol

from app.domain.sign_in import Grant, Person
from app.domain.teams import Actor


class GrantDirectory(Protocol):
    """The grants of all people that have not ended. Every method raises DatabaseUnavailable, and may be repeated."""

    async def page(self, limit: int, after: str) -> list[tuple[Grant, Person]]:
        """Return at most `limit` grants with ids above `after`, by id, each with its person."""
        ...

    async def revoke(self, grant_id: str, actor: Actor) -> Grant | None:
        """Revoke a grant, and return it; None if it does not exist or has ended."""
        ...

    async def revoke_all(self, person_id: str, actor: Actor) -> list[Grant]:
        """Revoke every grant of a person, sign their browsers out, and return the grants."""
        ...

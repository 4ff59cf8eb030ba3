"""Rate limits as administrators see them: teams and members by name, keys by id.

Every method raises DatabaseUnavailable, and NotThere where the team, its member, its key or the limits do not exist.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from app.domain.rate_limit import LimitKind, Limits
from app.domain.teams import Actor
from app.ports.budgets import BudgetOwner


@dataclass(frozen=True, slots=True)
class OwnedLimits:
    """Limits, and whose they are. A key is named by the newest id of its line."""

    owner: BudgetOwner
    limits: Limits


class TeamLimits(Protocol):
    """The rate limits of teams."""

    async def set(self, owner: BudgetOwner, limits: Limits, actor: Actor) -> OwnedLimits:
        """Set the limits that are not None, leave the others, and return all of the owner's."""
        ...

    async def of_team(self, team: str) -> list[OwnedLimits]:
        """Return all limits in a team, its own first, then those of members and of keys."""
        ...

    async def remove(self, owner: BudgetOwner, kinds: Collection[LimitKind], actor: Actor) -> OwnedLimits:
        """Remove the limits of these kinds, and return those that are left."""
        ...

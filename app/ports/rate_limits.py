"""The interface for the administration of rate limits and concurrency limits.

Teams and members are identified by name, keys by id.
Every method raises DatabaseUnavailable, and NotThere if the team, its member, its key or the limits do not exist.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from app.domain.rate_limit import LimitKind, Limits
from app.domain.teams import Actor
from app.ports.budgets import BudgetOwner


@dataclass(frozen=True, slots=True)
class OwnedLimits:
    """Limits with their owner. A rotated key is identified by the newest id in its chain of rotations."""

    owner: BudgetOwner
    limits: Limits


class TeamLimits(Protocol):
    """The rate limits of teams."""

    async def set(self, owner: BudgetOwner, limits: Limits, actor: Actor) -> OwnedLimits:
        """Set the limits that are not None, and return all limits of the owner."""
        ...

    async def of_team(self, team_name: str) -> list[OwnedLimits]:
        """Return all limits in a team: first its own, then those of members and of keys."""
        ...

    async def remove(self, owner: BudgetOwner, kinds: Collection[LimitKind], actor: Actor) -> OwnedLimits:
        """Remove the limits of these kinds, and return the remaining ones."""
        ...

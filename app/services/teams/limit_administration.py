"""Administration of a team's rate limits with one of its own keys that has the scope `admin`.

Every method raises AdministrationRefused and DatabaseUnavailable.
"""

from collections.abc import Collection

from app.domain.rate_limit import LimitKind, Limits
from app.ports.budgets import BudgetOwner
from app.ports.directory import NotAllowed
from app.ports.rate_limits import OwnedLimits, TeamLimits
from app.services.teams.administration import TeamAdmin

MAX_LIMITED = 300
"""Limit of owners that have rate limits: the team, its members and its keys. The list of them is not paginated.

It applies to changes with one of the team's own keys.
"""


class LimitAdministration:
    """Operations of a key with the scope `admin` on the rate limits of its team."""

    def __init__(self, limits: TeamLimits) -> None:
        """Change `limits`."""
        self._limits = limits

    async def limits(self, admin: TeamAdmin) -> list[OwnedLimits]:
        """Return the limits of the team, its members and its keys."""
        return await self._limits.of_team(admin.team.name)

    async def set(self, admin: TeamAdmin, owner: BudgetOwner, limits: Limits) -> OwnedLimits:
        """Set the limits that are not None, and return all limits of the owner.

        Raises NotAllowed if MAX_LIMITED other owners in the team have limits.
        """
        existing = await self.limits(admin)
        if len(existing) >= MAX_LIMITED and owner not in [one.owner for one in existing]:
            raise NotAllowed(
                f"At most {MAX_LIMITED} members and keys of a team have limits. Remove the limits of another one first."
            )
        return await self._limits.set(owner, limits, admin.actor)

    async def remove(self, admin: TeamAdmin, owner: BudgetOwner, kinds: Collection[LimitKind]) -> OwnedLimits:
        """Remove the limits of these kinds, and return the remaining ones."""
        return await self._limits.remove(owner, kinds, admin.actor)

"""Administration of a team's budgets with one of its own keys that has the scope `admin`, and the team's usage.

Every method raises AdministrationRefused and DatabaseUnavailable.
"""

from dataclasses import dataclass
from datetime import date

from app.domain.calendar import Window
from app.domain.money import Money
from app.ports.budgets import BudgetOwner, Budgets, BudgetTerms, OwnedBudget, SpendingGroup, Usage
from app.ports.directory import NotAllowed
from app.ports.sealing import SecretMaker
from app.services.teams.administration import TeamAdmin

MAX_BUDGETS = 300
"""Limit of budgets that a team's own keys may set. The list of them is not paginated."""

NO_PRICE = "The backend names no price, so a budget would refuse every generation. Set rate limits instead."


@dataclass(frozen=True, slots=True)
class Limit:
    """The values of a budget to set. `amount` is in millionths. `alert_url` None means no alerts."""

    amount: int
    is_soft: bool
    alert_url: str | None


class BudgetAdministration:
    """Operations of a key with the scope `admin` on the budgets of its team."""

    def __init__(self, budgets: Budgets, secrets: SecretMaker, price: Money | None) -> None:
        """Change `budgets`. `price` is the price of one generation; None if the backend names none."""
        self._budgets = budgets
        self._secrets = secrets
        self._price = price

    async def budgets(self, admin: TeamAdmin) -> list[OwnedBudget]:
        """Return every budget of the team."""
        return await self._budgets.of_team(admin.team.name)

    async def set(
        self, admin: TeamAdmin, owner: BudgetOwner, window: Window, limit: Limit
    ) -> tuple[OwnedBudget, str | None]:
        """Set a budget. Return it, and the secret that signs its alerts, or None if the budget has no alert URL.

        Raises NotAllowed if the backend names no price or the team has MAX_BUDGETS, and OtherSecretKey.
        """
        if self._price is None:
            raise NotAllowed(NO_PRICE)
        existing = await self.budgets(admin)
        is_new = not any(owned.owner == owner and owned.use.budget.window is window for owned in existing)
        if is_new and len(existing) >= MAX_BUDGETS:
            raise NotAllowed(f"A team has at most {MAX_BUDGETS} budgets. Remove one that is not used any more.")
        alert = secret = None
        if limit.alert_url is not None:
            alert = await self._secrets.alert_target(admin.team, limit.alert_url)
            secret = self._secrets.signing_secret(admin.team)
        terms = BudgetTerms(Money(limit.amount, self._price.unit), window, limit.is_soft, alert)
        return await self._budgets.set(owner, terms, admin.actor), secret

    async def increase(self, admin: TeamAdmin, owner: BudgetOwner, window: Window, by: int, until: date) -> OwnedBudget:
        """Increase a budget by `by` millionths until the end of the day `until` in the team's time zone.

        The increase replaces an earlier one.
        """
        return await self._budgets.increase(owner, window, by=by, until=until, actor=admin.actor)

    async def remove(self, admin: TeamAdmin, owner: BudgetOwner, window: Window) -> OwnedBudget:
        """Remove a budget, and return its last state."""
        return await self._budgets.remove(owner, window, admin.actor)

    async def usage(self, admin: TeamAdmin, since: date | None, by: SpendingGroup | None) -> Usage:
        """Return the team's usage since the start of the day `since`, by default the first of this month.

        `by` groups the sums; None for one sum.
        """
        return await self._budgets.usage(admin.team.name, since, by)

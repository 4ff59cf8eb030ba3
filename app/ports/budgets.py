"""Budgets and usage as administrators see them: teams and members by name, keys by id.

Every method raises DatabaseUnavailable, and NotThere where the team, its member, its key or the budget does not exist.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Protocol

from app.domain.budget import AlertTarget, UnsettledEntry, WindowUse
from app.domain.calendar import Window
from app.domain.money import Money
from app.domain.teams import Actor


@dataclass(frozen=True, slots=True)
class BudgetOwner:
    """Whose spending a budget limits: the whole team, a member of it by name, or a key of it by id."""

    team: str
    member: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """What a budget allows. `alert` is where alerts are sent; None sends none."""

    amount: Money
    window: Window
    is_soft: bool = False
    alert: AlertTarget | None = None


@dataclass(frozen=True, slots=True)
class OwnedUse:
    """A budget, what its present window has used, and whose it is. A key is named by the newest id of its line."""

    owner: BudgetOwner
    use: WindowUse


class SpendingGroup(StrEnum):
    """What usage is added up by."""

    MEMBER = "member"
    KEY = "key"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Spending:
    """What was bought in one unit.

    Attributes:
        name: the member's name, the key's id or the day; None for all together, and for purchases without a key.
        unit: None where the price was not known.
        generations: those that were paid or are reserved.
        spent: in millionths.
        reserved: in millionths.

    """

    name: str | None
    unit: str | None
    generations: int
    spent: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a team has bought since `since`, its budgets, and reservations that are overdue."""

    since: date
    rows: list[Spending]
    budgets: list[OwnedUse]
    unsettled: list[UnsettledEntry]


class Budgets(Protocol):
    """The budgets of teams."""

    async def set(self, owner: BudgetOwner, terms: BudgetTerms, actor: Actor) -> OwnedUse:
        """Set the budget of an owner for a kind of window. It replaces an earlier one, its raise too, and counts on."""
        ...

    async def of_team(self, team: str) -> list[OwnedUse]:
        """Return every budget of a team, its own first, then those of members and of keys."""
        ...

    async def increase(
        self, owner: BudgetOwner, window: Window | None, *, by: int, until: date, actor: Actor
    ) -> OwnedUse:
        """Raise a budget by millionths up to the end of a day of the team's, in the place of an earlier raise.

        Without a window it is the owner's only budget. Raises NotAllowed where there are several, and where the day
        has ended.
        """
        ...

    async def remove(self, owner: BudgetOwner, window: Window | None, actor: Actor) -> OwnedUse:
        """Remove a budget, and return it as it was. Raises NotAllowed as `increase` does."""
        ...

    async def usage(self, team: str, since: date | None, by: SpendingGroup | None) -> Usage:
        """Return what a team has bought since the beginning of a day of its own, by default of this month."""
        ...

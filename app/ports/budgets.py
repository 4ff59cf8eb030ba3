"""Interfaces for the administration of budgets, and for usage. Teams and members are named, keys identified by id.

Every method raises DatabaseUnavailable, and NotThere if the team, its member, its key or the budget does not exist.
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
    """The owner of a budget or of limits: a team, a member of it by name, or a key of it by id."""

    team: str
    member: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """The terms of a budget. `alert` is the receiver of alerts; None means no alerts."""

    amount: Money
    window: Window
    is_soft: bool = False
    alert: AlertTarget | None = None


@dataclass(frozen=True, slots=True)
class OwnedBudget:
    """A budget with its owner and the use of its current window.

    An owner that is a rotated key is identified by the newest id in its chain of rotations.
    """

    owner: BudgetOwner
    use: WindowUse


class SpendingGroup(StrEnum):
    """The grouping of usage."""

    MEMBER = "member"
    KEY = "key"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Spending:
    """Spending in one unit.

    Attributes:
        name: the member's name, the key's id or the day; None without grouping, and for purchases without a key.
        unit: None if the price was not known.
        generations: number of generations that were charged or are reserved.
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
    """A team's spending since the start of the day `since`, its budgets, and its overdue reservations."""

    since: date
    rows: list[Spending]
    budgets: list[OwnedBudget]
    unsettled: list[UnsettledEntry]


class Budgets(Protocol):
    """The budgets of teams."""

    async def set(self, owner: BudgetOwner, terms: BudgetTerms, actor: Actor) -> OwnedBudget:
        """Set the budget of an owner for a kind of window.

        An earlier budget and its raise are replaced. The counted use stays.
        """
        ...

    async def of_team(self, team: str) -> list[OwnedBudget]:
        """Return all budgets in a team: first its own, then those of members and of keys."""
        ...

    async def increase(
        self, owner: BudgetOwner, window: Window | None, *, by: int, until: date, actor: Actor
    ) -> OwnedBudget:
        """Raise a budget by `by` millionths until the end of the day `until`, in the team's time zone.

        The raise replaces an earlier raise. `window` may be None if the owner has only one budget. Raises NotAllowed if
        `window` is None and the owner has several budgets, and if the day has ended.
        """
        ...

    async def remove(self, owner: BudgetOwner, window: Window | None, actor: Actor) -> OwnedBudget:
        """Remove a budget, and return its last state.

        Raises NotAllowed if `window` is None and the owner has several budgets.
        """
        ...

    async def usage(self, team: str, since: date | None, by: SpendingGroup | None) -> Usage:
        """Return a team's usage since the start of the day `since`, by default the first of this month.

        Days are those of the team's time zone.
        """
        ...

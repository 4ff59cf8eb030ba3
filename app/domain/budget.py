"""What a team, a member or a key may spend in a calendar window, and how much of it is used."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.calendar import Window
from app.domain.money import Money

OVERDUE_SECONDS = 600.0
"""Age of a reservation at which its task is asked for: backends give a generation up before."""

THRESHOLDS = (50, 80, 100)
"""Percentages of a budget at which its team is alerted, once a window each."""


@dataclass(frozen=True, slots=True)
class Spender:
    """A team, one member of it or one of its keys: whose purchases a budget counts.

    Attributes:
        team: the team's id.
        member: the member's id; None unless it is one member.
        key: the key's id; None unless it is one key. A budget names the first key of a line of rotations.

    """

    team: str
    member: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """The cost of one purchase of a team.

    Attributes:
        spender: the team, the member and the key that buy.
        price: None where it is not known.
        request_id: the id of the call in the log.

    """

    spender: Spender
    price: Money | None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class AlertTarget:
    """Where the alerts of a budget are sent.

    Attributes:
        sealed: the URL, sealed for the team: such addresses often hold a secret.
        host: the host in it, which may be shown.

    """

    sealed: str = field(repr=False)
    host: str


class EntryState(StrEnum):
    """The states of an entry of the ledger, which is the cost of one purchase. The last two are final."""

    RESERVED = "reserved"
    """The purchase was claimed, and it is not known yet whether it has to be paid."""
    TAKEN = "taken"
    """The generation succeeded: it is paid."""
    GIVEN_BACK = "given_back"
    """Nothing was bought."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit of what may be spent in each window.

    Attributes:
        spender: whose purchases it counts.
        amount: in millionths of `unit`, without a raise.
        is_soft: whether it only alerts; a hard budget refuses too.
        alert: where an alert is sent; None sends none.
        raised_by: in millionths, added to `amount` before `raised_until`.
        raised_until: unix seconds; None without a raise.

    """

    id: str
    spender: Spender
    amount: int
    unit: str
    window: Window
    is_soft: bool = False
    alert: AlertTarget | None = None
    raised_by: int = 0
    raised_until: float | None = None

    def cap(self, moment: float) -> int:
        """Return the amount that counts at `moment`, a raise that has not ended among it."""
        is_raised = self.raised_until is not None and moment < self.raised_until
        return self.amount + (self.raised_by if is_raised else 0)


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How much of a budget one window has used; amounts are in millionths of the budget's unit.

    Attributes:
        limit: what may be used, a raise among it.
        spent: what finished generations cost.
        reserved: what generations under way will cost, and those whose outcome is not known.
        start: when the window began, in unix seconds.
        renews_at: when the next window begins.

    """

    budget: Budget
    limit: int
    spent: int
    reserved: int
    start: float
    renews_at: float

    @property
    def left(self) -> int:
        """Return what is left; below zero where a soft budget was passed, or a budget was lowered."""
        return self.limit - self.spent - self.reserved

    def refuses(self, amount: int) -> bool:
        """Return whether a purchase of `amount` is one too many."""
        return not self.budget.is_soft and amount > self.left


@dataclass(frozen=True, slots=True)
class Spent:
    """What was bought; amounts are in millionths.

    Attributes:
        generations: those that were paid or are reserved.
        reserved: for generations whose end is not known yet.

    """

    generations: int
    spent: int
    reserved: int


@dataclass(frozen=True, slots=True)
class MonthSpent:
    """What a team, and one member of it, have bought since the month began, in the team's time zone.

    `since` is in unix seconds.
    """

    since: float
    member: Spent
    team: Spent


@dataclass(frozen=True, slots=True)
class ThresholdPassed:
    """A threshold that a window has passed for the first time, by what is spent and reserved.

    Attributes:
        percent: one of `THRESHOLDS`; the highest where one purchase passes several.

    """

    use: WindowUse
    percent: int


@dataclass(frozen=True, slots=True)
class UnsettledEntry:
    """A reservation whose outcome is not known.

    Attributes:
        attempt: the purchase's random name.
        price: what it costs; None where that is not known.
        task_id: its task; None where none is known, so that nothing can be asked.
        created_at: unix seconds by the database's clock.
        age_seconds: time since then, when it was read.

    """

    attempt: str
    spender: Spender
    price: Money | None
    task_id: str | None
    created_at: float
    age_seconds: float


class SpendingRefused(Exception):
    """A purchase that may not be made. Nothing was reserved."""


class BudgetExceeded(SpendingRefused):
    """A purchase costs more than what is left.

    Attributes:
        use: the window that refuses; of several, the one that renews last.
        price: what the purchase costs.

    """

    def __init__(self, use: WindowUse, price: Money) -> None:
        """Carry the window that refuses."""
        left, limit = (Money(amount, use.budget.unit) for amount in (max(use.left, 0), use.limit))
        super().__init__(f"The {use.budget.window}'s budget of {limit} has {left} left; this costs {price}.")
        self.use = use
        self.price = price


class PriceUnknown(SpendingRefused):
    """There is a budget, and no price in its unit to hold against it."""

    def __init__(self, budget: Budget, unit: str | None) -> None:
        """Carry the budget, and the unit of the price; None where no price is known."""
        price = "no price is known" if unit is None else f"the price is in {unit}"
        super().__init__(f"There is a budget in {budget.unit}, and {price}.")
        self.budget = budget
        self.unit = unit


def threshold_passed(used: int, limit: int, told: int) -> int | None:
    """Return the highest threshold that `used` has reached and that is above `told`; None where there is none."""
    reached = [percent for percent in THRESHOLDS if percent > told and used * 100 >= limit * percent]
    return max(reached, default=None)


def refusing(uses: Iterable[WindowUse], amount: int) -> WindowUse | None:
    """Return the window that refuses a purchase of `amount`, and of several the one that renews last."""
    return max((use for use in uses if use.refuses(amount)), key=lambda use: use.renews_at, default=None)

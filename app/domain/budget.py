"""Budgets: limits of the spending of a team, a member or a key in a calendar window, and their use."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.calendar import Window
from app.domain.money import Money

OVERDUE_SECONDS = 600.0
"""Age from which a reservation, the price of a purchase whose outcome is not known, is overdue and its task is read.

Backends abandon a generation earlier than that.
"""

THRESHOLDS = (50, 80, 100)
"""Percentages of a budget at which its team is alerted, each once per window."""


@dataclass(frozen=True, slots=True)
class Spender:
    """A team, one of its members or one of its keys. A budget counts the purchases of one spender.

    Attributes:
        team: the team's id.
        member: the member's id; None for all members.
        key: the key's id; None for all keys, and for a purchase without a key. In a budget, a rotated key is identified
            by the first id in its chain of rotations.

    """

    team: str
    member: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """The cost of one purchase of a team.

    Attributes:
        spender: the team, the member and the key that buy.
        price: None if it is not known.
        request_id: id of the call in the log.

    """

    spender: Spender
    price: Money | None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class AlertTarget:
    """The receiver of the alerts of a budget.

    Attributes:
        sealed: the URL, encrypted and bound to the team id, because such URLs often contain a secret.
        host: the host of the URL, which may be shown.

    """

    sealed: str = field(repr=False)
    host: str


class EntryState(StrEnum):
    """The states of a ledger entry, which records the cost of one purchase. The last two are final."""

    RESERVED = "reserved"
    """The purchase is in progress, and its outcome is not known yet."""
    TAKEN = "taken"
    """The generation succeeded, so it is charged."""
    GIVEN_BACK = "given_back"
    """Nothing was bought, so the reservation is released."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A spending limit per window.

    Attributes:
        spender: the spender whose purchases it counts.
        amount: the limit in millionths of `unit`, without the raise.
        is_soft: whether the budget only alerts; a hard budget also refuses purchases.
        alert: receiver of alerts; None means no alerts.
        raised_by: in millionths, added to `amount` until `raised_until`.
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
        """Return the amount at `moment` (unix seconds), including a raise that has not ended."""
        is_raised = self.raised_until is not None and moment < self.raised_until
        return self.amount + (self.raised_by if is_raised else 0)


@dataclass(frozen=True, slots=True)
class WindowUse:
    """The use of a budget in one window. Amounts are in millionths of the budget's unit, times in unix seconds.

    Attributes:
        limit: the amount of the budget, including a raise.
        spent: cost of finished generations.
        reserved: cost of generations in progress, and of those whose outcome is not known.
        start: start of the window.
        renews_at: start of the next window.

    """

    budget: Budget
    limit: int
    spent: int
    reserved: int
    start: float
    renews_at: float

    @property
    def left(self) -> int:
        """The amount that remains. A soft budget, a lowered budget or the end of a raise can make it negative."""
        return self.limit - self.spent - self.reserved

    def refuses(self, amount: int) -> bool:
        """Return whether the budget refuses a purchase of `amount`. A hard budget refuses it if less is left."""
        return not self.budget.is_soft and amount > self.left


@dataclass(frozen=True, slots=True)
class Spent:
    """Total spending. Amounts are in millionths.

    Attributes:
        generations: number of generations that were charged or are reserved.
        spent: cost of finished generations.
        reserved: cost of generations whose outcome is not known yet.

    """

    generations: int
    spent: int
    reserved: int


@dataclass(frozen=True, slots=True)
class MonthSpent:
    """The spending of a team, and of one of its members, in the current month of the team's time zone.

    Attributes:
        since: start of the month, in unix seconds.

    """

    since: float
    member: Spent
    team: Spent


@dataclass(frozen=True, slots=True)
class ThresholdPassed:
    """A threshold that the spent and reserved amount of a window has passed for the first time.

    Attributes:
        percent: one of `THRESHOLDS`; the highest if one purchase passes several.

    """

    use: WindowUse
    percent: int


@dataclass(frozen=True, slots=True)
class UnsettledEntry:
    """A reservation whose outcome is not known.

    Attributes:
        attempt: random id of the purchase.
        price: None if it is not known.
        task_id: id of the purchased task; None if the id is not known. The backend cannot be asked then.
        created_at: unix seconds by the database's clock.
        age_seconds: time since `created_at`, at the time of the read.

    """

    attempt: str
    spender: Spender
    price: Money | None
    task_id: str | None
    created_at: float
    age_seconds: float


class SpendingRefused(Exception):
    """A limit refuses a purchase. Nothing was reserved."""


class BudgetExceeded(SpendingRefused):
    """A purchase costs more than a budget has left.

    Attributes:
        use: the window of the budget that refuses; if several budgets refuse, the window that renews last.
        price: price of the purchase.

    """

    def __init__(self, use: WindowUse, price: Money) -> None:
        """`use` is the window of the budget that refuses a purchase, and `price` the cost of the purchase."""
        left, limit = (Money(amount, use.budget.unit) for amount in (max(use.left, 0), use.limit))
        super().__init__(f"The {use.budget.window}'s budget of {limit} has {left} left; this costs {price}.")
        self.use = use
        self.price = price


class PriceUnknown(SpendingRefused):
    """A budget cannot be checked, because the price is unknown or in another unit."""

    def __init__(self, budget: Budget, unit: str | None) -> None:
        """`budget` refuses the purchase. `unit` is the unit of the price; None if the price is not known."""
        price = "no price is known" if unit is None else f"the price is in {unit}"
        super().__init__(f"There is a budget in {budget.unit}, and {price}.")
        self.budget = budget
        self.unit = unit


def threshold_passed(used: int, limit: int, alerted: int) -> int | None:
    """Return the highest threshold that `used` has reached and that is above `alerted`; None if there is none.

    `alerted` is the percentage of the last alert in this window, or 0.
    """
    reached = [percent for percent in THRESHOLDS if percent > alerted and used * 100 >= limit * percent]
    return max(reached, default=None)


def refusing_window(uses: Iterable[WindowUse], amount: int) -> WindowUse | None:
    """Return the window that refuses a purchase of `amount`; if several do, the one that renews last, else None."""
    return max((use for use in uses if use.refuses(amount)), key=lambda use: use.renews_at, default=None)

"""Usage of a caller: from the ledger of the caller's team, else from the submissions that this service recorded."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from app.domain.access import Principal
from app.domain.budget import Spender, Spent, WindowUse
from app.domain.errors import InternalError, RateLimited
from app.domain.money import Money
from app.domain.rate_limit import LimitUse
from app.ports.ledger import Ledger
from app.ports.repositories import DatabaseBusy, DatabaseUnavailable, Purchases
from app.services.limits.database_turns import DatabaseTurns

NO_DATABASE = (
    "Usage cannot be read right now, because this service's database does not answer. Nothing is lost: ask again "
    "shortly."
)
TOO_MANY_READS = "This service is reading too many usage reports right now. Nothing is lost: ask again shortly."


@dataclass(frozen=True, slots=True)
class CallerUsage:
    """The usage of a caller in the current month.

    Attributes:
        since: start of the month, in unix seconds.
        caller: the caller's spending. Outside of teams, all started submissions count as paid.
        team: the spending of the caller's whole team; None outside of teams.
        budgets: the budgets that count the caller's purchases.
        in_flight: the limits of generations in flight that apply to the caller.

    """

    since: float
    caller: Spent
    team: Spent | None = None
    budgets: tuple[WindowUse, ...] = ()
    in_flight: tuple[LimitUse, ...] = ()


class UsageReports:
    """Reads the usage of callers."""

    def __init__(
        self,
        ledger: Ledger,
        purchases: Purchases,
        reads: DatabaseTurns,
        price: Money | None,
        wall_clock: Callable[[], float],
    ) -> None:
        """Read `ledger` and `purchases`. `reads` limits concurrent queries.

        `price` is the price of a generation; None if it is not known. `wall_clock` returns unix seconds.
        """
        self._ledger = ledger
        self._purchases = purchases
        self._reads = reads
        self._price = price
        self._wall_clock = wall_clock

    async def of(self, principal: Principal) -> CallerUsage:
        """Return the caller's usage this month.

        Raises InternalError if the database does not answer, and RateLimited if too many reads wait.
        """
        try:
            return await self._reads.run(principal.subject, partial(self._usage, principal))
        except DatabaseBusy:
            raise RateLimited(TOO_MANY_READS, retry_after_seconds=5.0) from None
        except DatabaseUnavailable as exc:
            raise InternalError(NO_DATABASE, retry_after_seconds=5.0) from exc

    async def _usage(self, principal: Principal) -> CallerUsage:
        if principal.team is None:
            return await self._outside_of_teams(principal)
        spender = Spender(principal.team, principal.subject, principal.key)
        budgets = await self._ledger.budgets_counting(spender)
        unit = None if self._price is None else self._price.unit
        month = await self._ledger.spent_this_month(spender, unit)
        in_flight = await self._ledger.in_flight(spender)
        return CallerUsage(month.since, month.member, month.team, tuple(budgets), in_flight)

    async def _outside_of_teams(self, principal: Principal) -> CallerUsage:
        now = datetime.fromtimestamp(self._wall_clock(), UTC)
        since = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
        started = await self._purchases.count_started(principal.owners, since)
        return CallerUsage(since, Spent(started, started * (self._price.amount if self._price is not None else 0), 0))

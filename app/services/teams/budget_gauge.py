"""Shows the use of the budgets of teams as a metric."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from app.ports.ledger import Ledger
from app.ports.repositories import DatabaseUnavailable
from app.services.log_throttle import ThrottledExceptionLog

EVERY_SECONDS = 30.0
MOST_TEAMS = 100
"""Teams that are shown, the oldest first: each is a series for each of its budgets."""

log = logging.getLogger(__name__)


class BudgetGauge:
    """Reads the budgets of whole teams every EVERY_SECONDS."""

    def __init__(
        self,
        ledger: Ledger,
        show: Callable[[Mapping[tuple[str, str], float]], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Read `ledger`. `show` receives the share that is used of each budget, by team and window."""
        self._ledger = ledger
        self._show = show
        self._sleep = sleep
        self._faults = ThrottledExceptionLog(log, "The use of budgets could not be shown as a metric")

    async def run(self) -> None:
        """Show the budgets again and again. The coroutine runs until it is cancelled."""
        while True:
            try:
                await self.show()
            except DatabaseUnavailable:
                pass  # the metric keeps its last value, and the database's own log lines tell of the outage
            except Exception as exc:  # noqa: BLE001 - the loop must go on
                self._faults.note(exc)
            await self._sleep(EVERY_SECONDS)

    async def show(self) -> None:
        """Show the budgets once. Raises DatabaseUnavailable."""
        budgets = await self._ledger.team_budgets(MOST_TEAMS)
        self._show(
            {
                (team, use.budget.window.value): (use.spent + use.reserved) / use.limit
                for team, use in budgets
                if use.limit
            }
        )

"""Publishes the use of team budgets as a metric."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from app.ports.ledger import Ledger
from app.ports.repositories import DatabaseUnavailable
from app.services.log_throttle import ThrottledExceptionLog

EVERY_SECONDS = 30.0
MAX_TEAMS = 100
"""Limit of teams in the metric, oldest first, because each budget is a time series."""

log = logging.getLogger(__name__)


class BudgetGauge:
    """Updates the metric every EVERY_SECONDS, for budgets of whole teams."""

    def __init__(
        self,
        ledger: Ledger,
        show: Callable[[Mapping[tuple[str, str], float]], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Read `ledger`. `show` is called with the used fraction of each budget, by team name and window."""
        self._ledger = ledger
        self._show = show
        self._sleep = sleep
        self._faults = ThrottledExceptionLog(log, "The metric of budgets could not be updated, so it shows old values")

    async def run(self) -> None:
        """Update the metric every EVERY_SECONDS. The coroutine runs until it is cancelled."""
        while True:
            try:
                await self.update()
            except DatabaseUnavailable:
                pass  # the metric keeps its last values, and the outage has its own log lines
            except Exception as exc:  # noqa: BLE001 - an exception must not end the loop
                self._faults.note(exc)
            await self._sleep(EVERY_SECONDS)

    async def update(self) -> None:
        """Update the metric once. Raises DatabaseUnavailable."""
        budgets = await self._ledger.team_budgets(MAX_TEAMS)
        self._show(
            {
                (team, use.budget.window.value): (use.spent + use.reserved) / use.limit
                for team, use in budgets
                if use.limit
            }
        )

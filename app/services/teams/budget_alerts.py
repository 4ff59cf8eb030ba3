"""Sends the alerts of budgets: each once, and again with growing pauses where its receiver fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from app.ports.alerts import Alerts, AlertSender, BudgetAlert, NotDelivered
from app.ports.repositories import DatabaseUnavailable
from app.services.log_throttle import ThrottledExceptionLog

LOOK_SECONDS = 5.0
"""Pause between two looks for alerts that are due."""

AT_ONCE = 20
TAKEN_SECONDS = 60.0
"""Time after which an alert is sent by another process, if this one has ended meanwhile."""

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 6 * 3600.0
MOST_TRIES = 10
"""The last try comes about a day after the first."""

log = logging.getLogger(__name__)


class BudgetAlerts:
    """Takes alerts from the database and sends them. Several processes share the work."""

    def __init__(
        self,
        alerts: Alerts,
        sender: AlertSender,
        sleep: Callable[[float], Awaitable[None]],
        *,
        passed: Callable[[int], None],
        ended: Callable[[str], None],
    ) -> None:
        """Send `alerts` with `sender`.

        `passed` counts a threshold by its percentage, `ended` the end of each try: "sent", "failed" or "given_up".
        """
        self._alerts = alerts
        self._sender = sender
        self._sleep = sleep
        self._passed = passed
        self._ended = ended
        self._faults = ThrottledExceptionLog(log, "Alerts of budgets could not be sent")

    async def run(self) -> None:
        """Look for alerts every LOOK_SECONDS. The coroutine runs until it is cancelled."""
        while True:
            try:
                await self.send_due()
            except DatabaseUnavailable:
                pass  # they stay due, and the database's own log lines tell of the outage
            except Exception as exc:  # noqa: BLE001 - the loop must go on, or no alert would be sent any more
                self._faults.note(exc)
            await self._sleep(LOOK_SECONDS)

    async def send_due(self) -> None:
        """Send the alerts that are due. Raises DatabaseUnavailable."""
        due = await self._alerts.take_due(AT_ONCE, TAKEN_SECONDS)
        await asyncio.gather(*map(self._send, due))

    async def _send(self, alert: BudgetAlert) -> None:
        if alert.tries == 1:
            self._passed(alert.percent)
            log.info("A budget of team %s has reached %d %%", alert.team_id, alert.percent)
        if alert.sealed_url is None:
            await self._alerts.settle(alert)
            return
        try:
            await self._sender.send(alert)
        except NotDelivered as exc:
            await self._try_again(alert, exc)
        else:
            self._ended("sent")
            await self._alerts.settle(alert)

    async def _try_again(self, alert: BudgetAlert, reason: NotDelivered) -> None:
        if alert.tries >= MOST_TRIES:
            self._ended("given_up")
            log.error("Gave up an alert of team %s after %d tries: its receiver %s", alert.team_id, alert.tries, reason)
            await self._alerts.settle(alert)
            return
        self._ended("failed")
        pause = min(FIRST_PAUSE_SECONDS * 3 ** (alert.tries - 1), LONGEST_PAUSE_SECONDS)
        log.warning("The receiver of alerts of team %s %s. The next try is in %.0f s", alert.team_id, reason, pause)
        await self._alerts.put_off(alert, pause)

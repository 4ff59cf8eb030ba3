"""Sends the alerts of budgets, with retries and exponential backoff if the receiver fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from app.ports.alerts import Alerts, AlertSender, BudgetAlert, NotDelivered
from app.ports.repositories import DatabaseUnavailable
from app.services.log_throttle import ThrottledExceptionLog

POLL_SECONDS = 5.0
"""Interval at which the database is read for alerts that are due."""

BATCH_SIZE = 20
PER_TEAM = 2
"""Alerts of one team that a process sends at the same time, so that its receivers hold up no other team's."""

LEASE_SECONDS = 60.0
"""Time after which another process sends an alert that this one took and did not settle."""

FIRST_PAUSE_SECONDS = 30.0
MAX_PAUSE_SECONDS = 6 * 3600.0
MAX_ATTEMPTS = 10
"""Limit of attempts. The last is about a day after the first."""

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

        `passed` is called with the percentage of each threshold that was passed. `ended` is called with the outcome of
        each attempt: "sent", "failed" or "given_up".
        """
        self._alerts = alerts
        self._sender = sender
        self._sleep = sleep
        self._passed = passed
        self._ended = ended
        self._faults = ThrottledExceptionLog(log, "Alerts of budgets could not be sent. They are retried")

    async def run(self) -> None:
        """Send alerts that are due, until none is; then every POLL_SECONDS. Runs until it is cancelled."""
        while True:
            try:
                while await self.send_due():
                    pass
            except DatabaseUnavailable:
                pass  # the alerts stay due, and the outage has its own log lines
            except Exception as exc:  # noqa: BLE001 - an exception must not end the loop
                self._faults.note(exc)
            await self._sleep(POLL_SECONDS)

    async def send_due(self) -> bool:
        """Send alerts that are due, PER_TEAM of each team. Return whether any were. Raises DatabaseUnavailable."""
        due = await self._alerts.take_due(BATCH_SIZE, LEASE_SECONDS, per_team=PER_TEAM)
        await asyncio.gather(*map(self._send, due))
        return bool(due)

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
            await self._retry_or_give_up(alert, exc)
        else:
            self._ended("sent")
            await self._alerts.settle(alert)

    async def _retry_or_give_up(self, alert: BudgetAlert, reason: NotDelivered) -> None:
        if alert.tries >= MAX_ATTEMPTS:
            self._ended("given_up")
            log.error(
                "Gave up an alert of team %s after %d attempts: its receiver %s", alert.team_id, alert.tries, reason
            )
            await self._alerts.settle(alert)
            return
        self._ended("failed")
        pause = min(FIRST_PAUSE_SECONDS * 3 ** (alert.tries - 1), MAX_PAUSE_SECONDS)
        log.warning("The receiver of alerts of team %s %s. The next attempt is in %.0f s", alert.team_id, reason, pause)
        await self._alerts.put_off(alert, pause)

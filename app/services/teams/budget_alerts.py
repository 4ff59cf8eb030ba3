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
"""Number of alerts of one team that a process sends concurrently: its slow receivers must not delay other teams."""

LEASE_SECONDS = 60.0
"""Duration of the lease of an alert. If its holder dies meanwhile, another process sends the alert after the lease.

The lease is longer than an attempt. If an alert cannot be marked as done, it is sent again, so a receiver may get it
twice.
"""

FIRST_PAUSE_SECONDS = 30.0
MAX_PAUSE_SECONDS = 6 * 3600.0
MAX_ATTEMPTS = 10
"""Limit of attempts. The last is about a day after the first."""

log = logging.getLogger(__name__)


class BudgetAlertDispatcher:
    """Leases alerts in the database and sends them. Several processes share the work."""

    def __init__(
        self,
        alerts: Alerts,
        sender: AlertSender,
        sleep: Callable[[float], Awaitable[None]],
        *,
        on_threshold_passed: Callable[[int], None],
        on_attempt: Callable[[str], None],
    ) -> None:
        """Send `alerts` with `sender`.

        `on_threshold_passed` is called with the percentage of each threshold that a budget has crossed. `on_attempt` is
        called with the outcome of each attempt: "sent", "failed" or "given_up".
        """
        self._alerts = alerts
        self._sender = sender
        self._sleep = sleep
        self._on_threshold_passed = on_threshold_passed
        self._on_attempt = on_attempt
        self._faults = ThrottledExceptionLog(log, "Alerts of budgets could not be sent. They are retried")

    async def run(self) -> None:
        """Send alerts that are due, until none is; then every POLL_SECONDS. Runs until it is cancelled."""
        while True:
            try:
                while await self.send_due():
                    pass
            except DatabaseUnavailable:
                pass  # leased alerts are due again when the lease ends, so one may be sent twice
            except Exception as exc:  # noqa: BLE001 - an exception must not end the loop
                self._faults.note(exc)
            await self._sleep(POLL_SECONDS)

    async def send_due(self) -> bool:
        """Send alerts that are due, PER_TEAM of each team. Return whether any were. Raises DatabaseUnavailable."""
        due = await self._alerts.take_due(BATCH_SIZE, LEASE_SECONDS, per_team=PER_TEAM)
        await asyncio.gather(*map(self._send, due))
        return bool(due)

    async def _send(self, alert: BudgetAlert) -> None:
        if alert.attempts == 1:
            self._on_threshold_passed(alert.percent)
            log.info("%s has reached %d %%", _budget_text(alert), alert.percent)
        if alert.sealed_url is None:
            await self._alerts.mark_done(alert)
            return
        try:
            await self._sender.send(alert)
        except NotDelivered as exc:
            await self._retry_or_give_up(alert, exc)
        else:
            self._on_attempt("sent")
            await self._alerts.mark_done(alert)

    async def _retry_or_give_up(self, alert: BudgetAlert, reason: NotDelivered) -> None:
        if alert.attempts >= MAX_ATTEMPTS:
            self._on_attempt("given_up")
            log.error(
                "%s: gave up its %d %% alert after %d attempts, because its receiver %s. Check the receiver, or set "
                "the budget again with another alert URL",
                _budget_text(alert),
                alert.percent,
                alert.attempts,
                reason,
            )
            await self._alerts.mark_done(alert)
            return
        self._on_attempt("failed")
        pause = min(FIRST_PAUSE_SECONDS * 3 ** (alert.attempts - 1), MAX_PAUSE_SECONDS)
        log.warning(
            "%s: its %d %% alert is sent again in %.0f s, because its receiver %s",
            _budget_text(alert),
            alert.percent,
            pause,
            reason,
        )
        await self._alerts.reschedule(alert, pause)


def _budget_text(alert: BudgetAlert) -> str:
    """Return the alert's budget for the log, without the names of people."""
    spender = alert.content.get("key") or ("a member" if alert.content.get("member") else "all members")
    return f"The {alert.content.get('window', '')} budget of team {alert.team_id} for {spender}"

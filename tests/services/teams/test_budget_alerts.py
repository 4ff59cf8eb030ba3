"""BudgetAlertDispatcher: sending, retries with backoff, giving up, and log lines without the URL."""

import asyncio

import pytest

from app.ports.alerts import BudgetAlert, NotDelivered
from app.services.teams.budget_alerts import MAX_ATTEMPTS, PER_TEAM, BudgetAlertDispatcher


class Receiver:
    """One alert, its queue and its receiver. `counted` lists the reported thresholds and outcomes."""

    def __init__(self, *, is_up: bool, sealed_url: str | None = "sealed") -> None:
        self.is_up = is_up
        self.alert = BudgetAlert(1, "team", 50, {}, sealed_url, created_at=0.0, attempts=0)
        self.is_due, self.pauses, self.counted = True, list[float](), list[str]()

    async def take_due(self, limit: int, lease_seconds: float, *, per_team: int) -> list[BudgetAlert]:
        del limit, lease_seconds, per_team
        if not self.is_due:
            return []
        attempts = self.alert.attempts + 1
        self.alert = BudgetAlert(1, "team", 50, {}, self.alert.sealed_url, created_at=0.0, attempts=attempts)
        return [self.alert]

    async def mark_done(self, alert: BudgetAlert) -> None:
        assert alert == self.alert
        self.is_due = False

    async def reschedule(self, alert: BudgetAlert, seconds: float) -> None:
        assert alert == self.alert
        self.pauses.append(seconds)

    async def delete_old(self, seconds: float) -> int:
        raise AssertionError(seconds)

    async def send(self, alert: BudgetAlert) -> None:
        assert alert == self.alert
        if not self.is_up:
            raise NotDelivered("answered with status 500")

    def sending(self) -> BudgetAlertDispatcher:
        async def sleep(_seconds: float) -> None:
            raise AssertionError("the loop does not run here")

        return BudgetAlertDispatcher(
            self,
            self,
            sleep,
            on_threshold_passed=lambda percent: self.counted.append(str(percent)),
            on_attempt=self.counted.append,
        )


async def test_an_alert_is_sent_once() -> None:
    receiver = Receiver(is_up=True)
    for _ in range(2):
        await receiver.sending().send_due()
    assert receiver.counted == ["50", "sent"]


async def test_an_alert_without_a_url_is_counted_and_not_sent() -> None:
    receiver = Receiver(is_up=True, sealed_url=None)
    for _ in range(2):
        await receiver.sending().send_due()
    assert receiver.counted == ["50"]


async def test_a_failed_alert_is_retried_with_backoff_and_given_up_after_a_day() -> None:
    receiver = Receiver(is_up=False)
    for _ in range(MAX_ATTEMPTS + 2):
        await receiver.sending().send_due()
    assert receiver.counted == ["50", *["failed"] * (MAX_ATTEMPTS - 1), "given_up"]
    assert receiver.pauses[:3] == [30.0, 90.0, 270.0]
    assert receiver.pauses == sorted(receiver.pauses)
    assert 20 * 3600 < sum(receiver.pauses) < 36 * 3600


async def test_an_alert_is_delivered_when_its_receiver_works_again() -> None:
    receiver = Receiver(is_up=False)
    await receiver.sending().send_due()
    receiver.is_up = True
    await receiver.sending().send_due()
    await receiver.sending().send_due()
    assert receiver.counted == ["50", "failed", "sent"]


@pytest.mark.parametrize("is_up", [True, False])
async def test_the_log_does_not_contain_the_url(caplog: pytest.LogCaptureFixture, *, is_up: bool) -> None:
    caplog.set_level("INFO")
    await Receiver(is_up=is_up, sealed_url="a-secret").sending().send_due()
    assert caplog.text
    assert "a-secret" not in caplog.text


class Many(Receiver):
    """Five alerts of one team. `most` is the greatest number that were being sent at the same time."""

    def __init__(self) -> None:
        super().__init__(is_up=True)
        self.due = [BudgetAlert(number, "team", 50, {}, "sealed", created_at=0.0, attempts=1) for number in range(5)]
        self.sent, self.under_way, self.most = list[int](), 0, 0

    async def take_due(self, limit: int, lease_seconds: float, *, per_team: int) -> list[BudgetAlert]:
        del lease_seconds
        taken = self.due[: min(limit, per_team)]
        self.due = self.due[len(taken) :]
        return taken

    async def mark_done(self, alert: BudgetAlert) -> None:
        self.sent.append(alert.id)

    async def send(self, alert: BudgetAlert) -> None:
        del alert
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1


async def test_a_team_has_two_alerts_under_way_and_none_waits_for_the_next_poll() -> None:
    receiver, polled = Many(), asyncio.Event()

    async def sleep(_seconds: float) -> None:
        polled.set()
        await asyncio.Event().wait()

    alerts = BudgetAlertDispatcher(
        receiver, receiver, sleep, on_threshold_passed=lambda _percent: None, on_attempt=receiver.counted.append
    )
    running = asyncio.create_task(alerts.run())
    await polled.wait()
    running.cancel()
    assert (sorted(receiver.sent), receiver.most) == ([0, 1, 2, 3, 4], PER_TEAM)

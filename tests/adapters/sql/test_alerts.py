"""Alerts of budgets in SQLite and PostgreSQL: written with the purchase, and each claimed by one sender."""

import asyncio
from dataclasses import replace

import pytest

from app.adapters.sql.alerts import SqlAlerts
from app.adapters.sql.audit import SqlAuditLog
from app.adapters.sql.engine import Database
from app.adapters.vault import CannotOpen, Vault
from app.adapters.webhook_signature import PURPOSE, seal_urls_again
from app.domain.budget import AlertTarget, BudgetExceeded, Spender
from app.ports.alerts import BudgetAlert
from tests.support.clock import HandClock
from tests.support.spending import Purchaser, budget, make_team

TAKEN = 60.0


@pytest.fixture
async def buyer(database: Database, clock: HandClock) -> Purchaser:
    return Purchaser(database, clock, Spender(await make_team(database, clock), "member", "key"))


@pytest.fixture
def alerts(database: Database, clock: HandClock) -> SqlAlerts:
    return SqlAlerts(database, clock.sql)


def percents(found: list[BudgetAlert]) -> list[int]:
    return sorted(alert.percent for alert in found)


async def test_each_threshold_alerts_once_in_a_window(buyer: Purchaser, alerts: SqlAlerts, clock: HandClock) -> None:
    limit = budget(buyer.spender.team, 10)
    await buyer.put(limit)
    for _ in range(10):
        await buyer.reserve()
    with pytest.raises(BudgetExceeded):
        await buyer.reserve()
    found = await alerts.take_due(9, TAKEN, per_team=9)
    assert percents(found) == [50, 80, 100]
    assert [alert.content["left"] for alert in found] == ["5", "2", "0"]
    assert {alert.sealed_url for alert in found} == {None}
    clock.advance(86_400)
    for alert in found:
        await alerts.mark_done(alert)
    for _ in range(5):
        await buyer.reserve()
    assert percents(await alerts.take_due(9, TAKEN, per_team=9)) == [50]


async def test_a_refusal_writes_the_alert_that_the_budget_is_used_up(buyer: Purchaser, alerts: SqlAlerts) -> None:
    sealed = AlertTarget("sealed", "hooks.example.org")
    limit = budget(buyer.spender.team, 10)
    await buyer.put(replace(limit, alert=sealed))
    for _ in range(9):
        await buyer.reserve()
    [use] = await buyer.ledger.budgets_counting(buyer.spender)
    await buyer.ledger.mark_exhausted(use)
    await buyer.ledger.mark_exhausted(use)
    found = await alerts.take_due(9, TAKEN, per_team=9)
    assert percents(found) == [50, 80, 100]
    assert {alert.sealed_url for alert in found} == {"sealed"}
    assert "sealed" not in repr(found[0]).replace("sealed_url", "")


async def test_a_team_with_many_alerts_leaves_places_to_others(
    database: Database, clock: HandClock, alerts: SqlAlerts
) -> None:
    buyers = [Purchaser(database, clock, Spender(await make_team(database, clock), "member", "key")) for _ in range(2)]
    for buyer in buyers:
        await buyer.put(budget(buyer.spender.team, 10))
        for _ in range(10):
            await buyer.reserve()
        clock.advance(1)
    many, other = (buyer.spender.team for buyer in buyers)
    found = await alerts.take_due(3, TAKEN, per_team=2)
    assert [(alert.team_id, alert.percent) for alert in found] == [(many, 50), (many, 80), (other, 50)]
    found = await alerts.take_due(9, TAKEN, per_team=2)
    assert [(alert.team_id, alert.percent) for alert in found] == [(many, 100), (other, 80), (other, 100)]
    assert await alerts.take_due(9, TAKEN, per_team=2) == []


async def test_an_alert_is_claimed_once_and_due_again_if_its_sender_dies(
    buyer: Purchaser, alerts: SqlAlerts, clock: HandClock
) -> None:
    await buyer.put(budget(buyer.spender.team, 2))
    await buyer.reserve()
    found = await asyncio.gather(*(alerts.take_due(9, TAKEN, per_team=9) for _ in range(5)))
    taken = [one for several in found for one in several]
    assert [alert.attempts for alert in taken] == [1]
    assert await alerts.take_due(9, TAKEN, per_team=9) == []
    clock.advance(TAKEN)
    [alert] = await alerts.take_due(9, TAKEN, per_team=9)
    assert alert.attempts == 2
    await alerts.reschedule(alert, 300)
    clock.advance(299)
    assert await alerts.take_due(9, TAKEN, per_team=9) == []
    clock.advance(1)
    [alert] = await alerts.take_due(9, TAKEN, per_team=9)
    await alerts.mark_done(alert)
    clock.advance(86_400)
    assert await alerts.take_due(9, TAKEN, per_team=9) == []


async def test_thresholds_are_audited_and_old_alerts_deleted(
    buyer: Purchaser, alerts: SqlAlerts, clock: HandClock
) -> None:
    await buyer.put(budget(buyer.spender.team, 2, member="member"))
    await buyer.reserve()
    entry = (await SqlAuditLog(buyer.database, clock.sql).entries(9, team_id=buyer.spender.team))[-1]
    assert (entry.action, entry.member_id, entry.amount) == ("budget.threshold", "member", 2_000_000)
    assert entry.after == {"percent": 50, "limit": "2", "reserved": "1", "spent": "0"}
    clock.advance(10)
    assert await alerts.delete_old(11) == 0
    assert await alerts.delete_old(9) == 1


async def test_a_rotation_of_the_secret_key_keeps_the_alert_urls(buyer: Purchaser, alerts: SqlAlerts) -> None:
    old, new = "an older secret key of the service, 4711", "a newer secret key of the service, 4712"
    team, url = buyer.spender.team, b"https://hooks.example.org/services/a-secret"
    sealed = Vault(old).seal(PURPOSE, url, team)
    await buyer.put(replace(budget(team, 10), alert=AlertTarget(sealed, "hooks.example.org")))
    await seal_urls_again(alerts, Vault(new, old))
    await seal_urls_again(alerts, Vault(new))
    [(of_team, kept)] = await alerts.sealed_urls()
    assert Vault(new).open(PURPOSE, kept, of_team) == url
    with pytest.raises(CannotOpen):
        Vault(old).open(PURPOSE, kept, of_team)
    await seal_urls_again(alerts, Vault(old))
    assert await alerts.sealed_urls() == [(team, kept)]

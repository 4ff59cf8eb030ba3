"""Costs of purchases in SQLite and PostgreSQL: reserved with the claim, and settled with the outcome."""

import asyncio
import secrets
from dataclasses import replace

import pytest

from app.adapters.sql.audit import SqlAuditLog
from app.adapters.sql.engine import Database
from app.adapters.sql.purchases import SqlPurchases
from app.domain.budget import BudgetExceeded, Charge, PriceUnknown, Spender
from app.domain.purchase import KeyName, NewPurchase, PurchaseState
from app.domain.teams import AuditEntry
from tests.support.clock import HandClock
from tests.support.databases import purchases_at
from tests.support.directories import ACTOR, directory_at
from tests.support.spending import Purchaser, budget, make_team, priced


@pytest.fixture
async def buyer(database: Database, clock: HandClock) -> Purchaser:
    """Return a member of a team with a budget of two credits."""
    team = await make_team(database, clock)
    name = (await directory_at(database, clock).teams.all())[0].name
    member = await directory_at(database, clock).teams.add_member(name, "anna", ACTOR)
    caller = Purchaser(database, clock, Spender(team, member.id, "key"))
    await caller.put(budget(team, 2))
    return caller


@pytest.fixture
def purchases(database: Database, clock: HandClock) -> SqlPurchases:
    return purchases_at(database, clock)


def new_purchase(buyer: Purchaser, key: str | None = None) -> NewPurchase:
    keys = () if key is None else (KeyName(buyer.spender.team, key, "request"),)
    charge = Charge(buyer.spender, priced(1), "request-1")
    return NewPurchase(secrets.token_hex(16), buyer.spender.team, "generate", "request", keys, charge=charge)


async def counts(buyer: Purchaser) -> tuple[int, int]:
    """Return the spent and the reserved amount in credits."""
    [use] = await buyer.ledger.budgets_counting(buyer.spender)
    return use.spent // 1_000_000, use.reserved // 1_000_000


async def audited(buyer: Purchaser) -> list[AuditEntry]:
    entries = await SqlAuditLog(buyer.database, buyer.clock.sql).entries(100)
    return [entry for entry in entries if entry.action.startswith("purchase.")]


@pytest.mark.parametrize("key", [None, "key"])
async def test_a_purchase_over_budget_is_not_recorded(
    buyer: Purchaser, purchases: SqlPurchases, key: str | None
) -> None:
    for _ in range(2):
        assert await purchases.claim(new_purchase(buyer)) is None
    refused = new_purchase(buyer, key)
    with pytest.raises(BudgetExceeded):
        await purchases.claim(refused)
    assert len(await purchases.newest([buyer.spender.team], 9)) == 2
    await purchases.record_outcome((await purchases.newest([buyer.spender.team], 9))[0].attempt, PurchaseState.REFUSED)
    assert await purchases.claim(replace(refused, attempt=secrets.token_hex(16))) is None  # its key is free


async def test_the_price_of_a_refused_or_forgotten_purchase_is_given_back(
    buyer: Purchaser, purchases: SqlPurchases
) -> None:
    refused, forgotten, unknown = new_purchase(buyer, "a"), new_purchase(buyer, "b"), new_purchase(buyer, "c")
    await purchases.claim(refused)
    await purchases.claim(forgotten)
    assert await counts(buyer) == (0, 2)
    assert await purchases.record_outcome(refused.attempt, PurchaseState.REFUSED)
    assert not await purchases.record_outcome(refused.attempt, PurchaseState.REFUSED)
    await purchases.delete_unbought(forgotten.attempt)
    await purchases.delete_unbought(forgotten.attempt)
    assert await counts(buyer) == (0, 0)
    await purchases.claim(unknown)
    await purchases.record_outcome(unknown.attempt, PurchaseState.UNKNOWN)
    assert await counts(buyer) == (0, 1)


async def test_a_started_purchase_is_settled_by_its_task(buyer: Purchaser, purchases: SqlPurchases) -> None:
    await purchases.claim(started := new_purchase(buyer))
    await purchases.record_outcome(started.attempt, PurchaseState.STARTED, "task")
    assert await counts(buyer) == (0, 1)
    assert await buyer.ledger.settle_task(buyer.spender.team, "task", is_paid=True)
    assert await counts(buyer) == (1, 0)


async def test_an_unknown_outcome_that_is_found_is_settled_by_its_task(
    buyer: Purchaser, purchases: SqlPurchases
) -> None:
    await purchases.claim(lost := new_purchase(buyer))
    await purchases.record_outcome(lost.attempt, PurchaseState.UNKNOWN)
    await purchases.record_outcome(lost.attempt, PurchaseState.STARTED, "task")
    assert await buyer.ledger.settle_task(buyer.spender.team, "task", is_paid=False)
    assert await counts(buyer) == (0, 0)


async def test_a_key_that_is_taken_over_reserves_again(buyer: Purchaser, purchases: SqlPurchases) -> None:
    await purchases.claim(lost := new_purchase(buyer, "key"))
    await purchases.record_outcome(lost.attempt, PurchaseState.UNKNOWN)
    again = new_purchase(buyer, "key")
    held = await purchases.claim(again)
    assert held is not None
    assert await counts(buyer) == (0, 1)
    assert await purchases.take_over(held, again)
    assert await counts(buyer) == (0, 2)
    await purchases.record_outcome(again.attempt, PurchaseState.UNKNOWN)
    held = await purchases.claim(third := new_purchase(buyer, "key"))
    assert held is not None
    with pytest.raises(BudgetExceeded):
        await purchases.take_over(held, third)
    held = await purchases.claim(third)
    assert held is not None
    assert held.attempt == again.attempt


async def test_a_repeated_claim_reserves_once(buyer: Purchaser, purchases: SqlPurchases) -> None:
    for wanted in (new_purchase(buyer), new_purchase(buyer, "key")):
        assert await purchases.claim(wanted) is None
        assert await purchases.claim(wanted) is None
    assert await counts(buyer) == (0, 2)


async def test_an_unknown_price_is_refused_if_there_is_a_budget(buyer: Purchaser, purchases: SqlPurchases) -> None:
    with pytest.raises(PriceUnknown):
        await purchases.claim(replace(new_purchase(buyer), charge=Charge(buyer.spender, None)))
    assert await purchases.newest([buyer.spender.team], 9) == []


async def test_outcomes_are_audited_with_who_bought_what(buyer: Purchaser, purchases: SqlPurchases) -> None:
    outcomes = {PurchaseState.STARTED: "task", PurchaseState.REFUSED: None}
    for state, task_id in outcomes.items():
        await purchases.claim(wanted := new_purchase(buyer))
        await purchases.record_outcome(wanted.attempt, state, task_id)
    first, second = await audited(buyer)
    assert (first.action, first.outcome, first.task_id) == ("purchase.generate", "started", "task")
    assert (first.actor, first.request_id, first.member_id) == ("key:key", "request-1", buyer.spender.member)
    assert first.subject.endswith("/anna")
    assert (first.amount, first.unit) == (1_000_000, "credits")
    assert (second.outcome, second.task_id) == ("refused", None)


async def test_callers_outside_of_teams_cost_and_audit_nothing(buyer: Purchaser, purchases: SqlPurchases) -> None:
    await purchases.claim(mine := NewPurchase(secrets.token_hex(16), "subject", "generate", "request"))
    await purchases.record_outcome(mine.attempt, PurchaseState.STARTED, "task")
    assert await counts(buyer) == (0, 0)
    assert await audited(buyer) == []


async def test_concurrent_claims_never_exceed_the_budget(buyer: Purchaser, purchases: SqlPurchases) -> None:
    ended = await asyncio.gather(
        *(purchases.claim(new_purchase(buyer, f"key-{number}")) for number in range(12)), return_exceptions=True
    )
    assert sum(one is None for one in ended) == 2
    assert sum(isinstance(one, BudgetExceeded) for one in ended) == 10
    assert await counts(buyer) == (0, 2)

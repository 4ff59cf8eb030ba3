"""The ledger in SQLite and PostgreSQL: reservations and settlements, counted once and in the right windows.

Tests that name an issue of LiteLLM reproduce a bug that users of that proxy have reported.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.budget_tables import budget_windows, ledger
from app.adapters.sql.budgets import budgets_of_team, raise_budget, remove_budget
from app.adapters.sql.engine import Database
from app.adapters.sql.ledger import reserve, take
from app.domain.access import Scope
from app.domain.budget import (
    OVERDUE_SECONDS,
    Budget,
    BudgetExceeded,
    Charge,
    PriceUnknown,
    Spender,
    SpendingRefused,
    WindowUse,
)
from app.domain.calendar import Window
from app.domain.money import MILLIONTHS, Money
from app.domain.purchase import NewPurchase, PurchaseState
from app.ports.repositories import DatabaseUnavailable
from tests.support.clock import HandClock
from tests.support.databases import KINDS, purchases_at
from tests.support.directories import ACTOR, directory_at, new_key
from tests.support.spending import Purchaser, budget, make_team, priced

DAY = 86_400.0
Counts = tuple[int, int, int]
"""Spent, reserved and remaining credits."""


@pytest.fixture
async def team(database: Database, clock: HandClock) -> str:
    return await make_team(database, clock)


@pytest.fixture
def caller(database: Database, clock: HandClock, team: str) -> Purchaser:
    return Purchaser(database, clock, Spender(team, "member", "key"))


async def uses(caller: Purchaser) -> dict[str, WindowUse]:
    found = await caller.database.run(
        lambda connection: budgets_of_team(connection, caller.spender.team, caller.clock.sql)
    )
    return {use.budget.id: use for use in found}


def counts(use: WindowUse) -> Counts:
    return use.spent // MILLIONTHS, use.reserved // MILLIONTHS, use.left // MILLIONTHS


async def counted(caller: Purchaser, wanted: Budget) -> Counts:
    return counts((await uses(caller))[wanted.id])


async def settle(caller: Purchaser, attempt: str, *, taken: bool = True) -> bool:
    return await (caller.ledger.take if taken else caller.ledger.give_back)(attempt)


async def rows(caller: Purchaser, attempt: str) -> list[str]:
    async def operation(connection: AsyncConnection) -> list[str]:
        found = await connection.execute(select(ledger.c.state).where(ledger.c.attempt == attempt))
        return list(found.scalars())

    return await caller.database.run(operation)


async def test_a_price_is_reserved_then_taken_or_given_back(caller: Purchaser, team: str) -> None:
    await caller.put(mine := budget(team, 10))
    first, _ = await caller.reserve()
    second, _ = await caller.reserve()
    assert await counted(caller, mine) == (0, 2, 8)
    assert await settle(caller, first)
    assert await settle(caller, second, taken=False)
    assert await counted(caller, mine) == (1, 0, 9)


async def test_every_operation_counts_once_however_often_it_is_repeated(caller: Purchaser, team: str) -> None:
    await caller.put(mine := budget(team, 10))
    attempt, passed = await caller.reserve(price=priced(5))
    assert [one.percent for one in passed] == [50]
    assert (await caller.reserve(attempt, priced(5)))[1] == ()
    assert await counted(caller, mine) == (0, 5, 5)
    assert [await settle(caller, attempt) for _ in range(3)] == [True, False, False]
    assert not await settle(caller, attempt, taken=False)
    assert await counted(caller, mine) == (5, 0, 5)
    assert await rows(caller, attempt) == ["taken"]


async def test_concurrent_settlements_of_an_attempt_move_its_amount_once(caller: Purchaser, team: str) -> None:
    await caller.put(mine := budget(team, 10))
    attempt, _ = await caller.reserve()
    settled = await asyncio.gather(*(settle(caller, attempt, taken=number % 2 == 0) for number in range(10)))
    assert settled.count(True) == 1
    spent, reserved, left = await counted(caller, mine)
    assert (reserved, spent + left) == (0, 10)


async def test_an_attempt_that_has_ended_is_not_reserved_again(caller: Purchaser, team: str) -> None:
    await caller.put(mine := budget(team, 10))
    attempt, _ = await caller.reserve()
    await settle(caller, attempt, taken=False)
    with pytest.raises(SpendingRefused, match="ended before"):
        await caller.reserve(attempt)
    assert await counted(caller, mine) == (0, 0, 10)


async def test_a_refusal_has_the_remaining_amount_and_the_time_of_renewal(caller: Purchaser, team: str) -> None:
    await caller.put(budget(team, 10))
    await caller.reserve(price=priced(9))
    attempt = secrets.token_hex(16)
    with pytest.raises(BudgetExceeded) as caught:
        await caller.reserve(attempt, priced(2))
    assert (caught.value.use.left, caught.value.price) == (MILLIONTHS, priced(2))
    midnight = datetime.fromtimestamp(caller.clock(), UTC).replace(hour=0, minute=0, second=0).timestamp()
    assert caught.value.use.renews_at == midnight + DAY
    assert await rows(caller, attempt) == []
    await caller.reserve(price=priced(1))


async def test_a_price_is_reserved_in_all_windows_or_none(caller: Purchaser, team: str) -> None:
    roomy = [budget(team, 100, window) for window in Window]
    tight = budget(team, 1, member="member")
    for wanted in [*roomy, tight]:
        await caller.put(wanted)
    await caller.reserve()
    with pytest.raises(BudgetExceeded) as caught:
        await caller.reserve()
    assert caught.value.use.budget == tight
    assert {(await counted(caller, wanted)) for wanted in roomy} == {(0, 1, 99)}


async def test_of_several_refusing_budgets_the_one_that_renews_last_is_reported(caller: Purchaser, team: str) -> None:
    limits = [budget(team, 1, window) for window in Window]
    for wanted in limits:
        await caller.put(wanted)
    await caller.reserve()
    with pytest.raises(BudgetExceeded) as caught:
        await caller.reserve()
    assert caught.value.use.renews_at == max(use.renews_at for use in (await uses(caller)).values())


async def test_a_budget_counts_only_its_own_purchases(caller: Purchaser, database: Database, clock: HandClock) -> None:
    team = caller.spender.team
    mine = [budget(team, 9), budget(team, 9, member="member"), budget(team, 9, key="key")]
    others = [budget(team, 9, member="else"), budget(team, 9, key="else"), budget(await make_team(database, clock), 9)]
    for wanted in mine + others:
        await caller.put(wanted)
    await caller.reserve()
    await Purchaser(database, clock, Spender(team, "third", "third")).reserve()
    found = [counts(use)[1] for use in [(await uses(caller))[wanted.id] for wanted in mine + others[:2]]]
    assert found == [2, 1, 1, 0, 0]


async def test_a_soft_budget_alerts_but_does_not_refuse(caller: Purchaser, team: str) -> None:
    await caller.put(mine := budget(team, 2, is_soft=True))
    passed = [[one.percent for one in (await caller.reserve())[1]] for _ in range(4)]
    assert passed == [[50], [100], [], []]
    assert await counted(caller, mine) == (0, 4, -2)


async def test_a_raise_applies_until_it_ends(caller: Purchaser, clock: HandClock, team: str) -> None:
    await caller.put(mine := replace(budget(team, 1, Window.MONTH)))
    await caller.reserve()
    until = clock() + 60
    await caller.database.run_in_transaction(lambda connection: raise_budget(connection, mine, 2 * MILLIONTHS, until))
    await caller.reserve()
    assert await counted(caller, mine) == (0, 2, 1)
    clock.advance(60)
    with pytest.raises(BudgetExceeded) as caught:
        await caller.reserve()
    assert caught.value.use.left == -MILLIONTHS


@pytest.mark.parametrize("price", [None, Money(MILLIONTHS, "USD")])
@pytest.mark.parametrize("is_soft", [True, False])
async def test_a_price_that_cannot_be_compared_with_a_budget_is_refused(
    caller: Purchaser, team: str, price: Money | None, *, is_soft: bool
) -> None:
    attempt = secrets.token_hex(16)

    async def operation(connection: AsyncConnection) -> None:
        assert await reserve(connection, attempt, Charge(caller.spender, price), caller.clock.sql) == ()

    await caller.database.run_in_transaction(operation)  # without a budget it is entered alone
    assert await rows(caller, attempt) == ["reserved"]
    assert await settle(caller, attempt)
    await caller.put(mine := budget(team, 9, is_soft=is_soft))
    attempt = secrets.token_hex(16)
    with pytest.raises(PriceUnknown, match="budget in credits"):
        await caller.database.run_in_transaction(operation)
    assert await rows(caller, attempt) == []
    assert await counted(caller, mine) == (0, 0, 9)


async def test_a_purchase_of_no_team_is_refused(database: Database, clock: HandClock) -> None:
    with pytest.raises(SpendingRefused, match="no such team"):
        await Purchaser(database, clock, Spender("nobody")).reserve()


async def test_an_amount_is_settled_in_the_window_in_which_it_was_reserved(
    caller: Purchaser, clock: HandClock, team: str
) -> None:
    await caller.put(mine := budget(team, 2))
    old, _ = await caller.reserve()
    lost, _ = await caller.reserve()
    with pytest.raises(BudgetExceeded):
        await caller.reserve()
    clock.advance(DAY)
    assert await counted(caller, mine) == (0, 0, 2)
    await caller.reserve()
    await settle(caller, old)
    await settle(caller, lost, taken=False)
    assert await counted(caller, mine) == (0, 1, 1)
    found = await caller.database.run(lambda connection: connection.execute(select(budget_windows)))
    assert sorted((row.spent, row.reserved) for row in found) == [(0, MILLIONTHS), (MILLIONTHS, 0)]


async def test_each_threshold_is_passed_once_in_a_window(caller: Purchaser, clock: HandClock, team: str) -> None:
    await caller.put(mine := budget(team, 10))
    attempts = [await caller.reserve() for _ in range(10)]
    percents = [[one.percent for one in passed] for _, passed in attempts]
    assert percents == [[], [], [], [], [50], [], [], [80], [], [100]]
    for attempt, _ in attempts[4:]:
        await settle(caller, attempt, taken=False)
    assert (await caller.reserve())[1] == ()
    clock.advance(DAY)
    [told] = (await caller.reserve(price=priced(9)))[1]
    assert (told.percent, told.use.budget, counts(told.use)) == (80, mine, (0, 9, 1))


async def test_a_threshold_that_was_rolled_back_is_passed_by_the_next_purchase(caller: Purchaser, team: str) -> None:
    await caller.put(budget(team, 2))

    async def operation(connection: AsyncConnection) -> None:
        await reserve(connection, secrets.token_hex(16), Charge(caller.spender, priced(1)), caller.clock.sql)
        raise SpendingRefused

    with pytest.raises(SpendingRefused):
        await caller.database.run_in_transaction(operation)
    assert [one.percent for one in (await caller.reserve())[1]] == [50]


async def test_a_refusing_window_is_marked_exhausted_once(caller: Purchaser, team: str) -> None:
    await caller.put(budget(team, 10))
    told = []
    for _ in range(2):
        with pytest.raises(BudgetExceeded) as caught:
            await caller.reserve(price=priced(11))
        told.append(await caller.ledger.mark_exhausted(caught.value.use))
    assert [one and one.percent for one in told] == [100, None]
    assert (await caller.reserve(price=priced(10)))[1] == ()


async def test_a_new_budget_counts_earlier_spending_in_its_window(
    caller: Purchaser, clock: HandClock, team: str
) -> None:
    await caller.reserve(price=priced(5))
    clock.advance(DAY)
    taken, kept, lost = [(await caller.reserve())[0] for _ in range(3)]
    await Purchaser(caller.database, clock, Spender(team, "else", "else")).reserve()
    await settle(caller, taken)
    whole, mine = budget(team, 4), budget(team, 9, member="member")
    for wanted in (whole, mine):
        assert await caller.put(wanted) is None
    assert [await counted(caller, wanted) for wanted in (whole, mine)] == [(1, 3, 0), (1, 2, 6)]
    with pytest.raises(BudgetExceeded):
        await caller.reserve()
    await settle(caller, kept)
    await settle(caller, lost, taken=False)
    assert [await counted(caller, wanted) for wanted in (whole, mine)] == [(2, 1, 1), (2, 0, 7)]


async def test_a_budget_that_is_set_again_keeps_its_count(caller: Purchaser, team: str) -> None:
    await caller.put(first := budget(team, 10))
    await caller.reserve()
    assert await caller.put(replace(budget(team, 1), is_soft=True)) == first
    [use] = (await uses(caller)).values()
    assert (use.budget.id, use.budget.is_soft, counts(use)) == (first.id, True, (0, 1, 0))


async def test_a_budget_in_another_unit_starts_a_new_count(caller: Purchaser, team: str) -> None:
    await caller.put(first := budget(team, 10))
    attempt, _ = await caller.reserve()
    assert await caller.put(other := budget(team, 10, unit="USD")) == first
    await settle(caller, attempt)
    assert {key: counts(use) for key, use in (await uses(caller)).items()} == {other.id: (0, 0, 10)}


async def test_a_removed_budget_does_not_count(caller: Purchaser, team: str) -> None:
    await caller.put(mine := budget(team, 1))
    attempt, _ = await caller.reserve()
    await caller.database.run_in_transaction(lambda connection: remove_budget(connection, mine))
    await caller.reserve()
    assert await settle(caller, attempt)
    assert await uses(caller) == {}
    await caller.put(again := budget(team, 9))
    assert await counted(caller, again) == (1, 1, 7)


async def test_budgets_counting_returns_the_budgets_of_a_caller(caller: Purchaser, team: str) -> None:
    limits = [budget(team, 9), budget(team, 9, member="member"), budget(team, 9, key="else")]
    for wanted in limits:
        await caller.put(wanted)
    found = await caller.ledger.budgets_counting(caller.spender)
    assert {use.budget for use in found} == set(limits[:2])


async def test_a_reservation_without_outcome_remains_and_is_listed(
    caller: Purchaser, clock: HandClock, team: str
) -> None:
    await caller.put(mine := budget(team, 9))
    told, lost, settled, young = [secrets.token_hex(16) for _ in range(4)]
    for attempt in (told, lost, settled):
        await caller.reserve(attempt)
        clock.advance(1)
    await settle(caller, settled)
    await caller.ledger.name_task(told, "task")
    clock.advance(600)
    await caller.reserve(young)
    found = await caller.ledger.unsettled(600, 10, team)
    assert [(one.attempt, one.task_id) for one in found] == [(told, "task"), (lost, None)]
    assert (found[0].spender, found[0].price) == (caller.spender, priced(1))
    assert found[0].age_seconds == pytest.approx(603)
    assert await counted(caller, mine) == (1, 3, 5)
    assert len(await caller.ledger.unsettled(600, 1)) == 1


async def test_an_unsettled_entry_has_the_task_id_of_its_purchase(
    caller: Purchaser, clock: HandClock, team: str
) -> None:
    attempt = secrets.token_hex(16)
    purchases = purchases_at(caller.database, clock)
    await purchases.claim(NewPurchase(attempt, team, "generate", "request"))
    await caller.reserve(attempt)
    await purchases.record_outcome(attempt, PurchaseState.STARTED, "task")
    clock.advance(1)
    [found] = await caller.ledger.unsettled(0, 10, team)
    assert found.task_id == "task"


async def test_a_task_settles_its_reservation_once_and_within_its_team(caller: Purchaser, team: str) -> None:
    await caller.put(mine := budget(team, 9))
    for task_id in ("done", "failed"):
        attempt, _ = await caller.reserve()
        await caller.ledger.name_task(attempt, task_id)
    assert not await caller.ledger.settle_task("other", "done", is_paid=True)
    assert await counted(caller, mine) == (0, 2, 7)
    assert await caller.ledger.settle_task(team, "done", is_paid=True)
    assert await caller.ledger.settle_task(team, "failed", is_paid=False)
    assert not await caller.ledger.settle_task(team, "done", is_paid=False)
    assert await counted(caller, mine) == (1, 0, 8)


async def test_an_overdue_reservation_is_claimed_once_and_due_again_later(
    caller: Purchaser, clock: HandClock, team: str
) -> None:
    attempt, _ = await caller.reserve()
    clock.advance(OVERDUE_SECONDS - 1)
    assert await caller.ledger.take_overdue(9) == []
    clock.advance(1)
    taken = [one for found in await asyncio.gather(*(caller.ledger.take_overdue(9) for _ in range(5))) for one in found]
    assert [(one.attempt, one.spender.team) for one in taken] == [(attempt, team)]
    clock.advance(59)
    assert await caller.ledger.take_overdue(9) == []
    clock.advance(1)
    assert len(await caller.ledger.take_overdue(9)) == 1
    clock.advance(61)
    await settle(caller, attempt)
    assert await caller.ledger.take_overdue(9) == []


async def test_old_entries_are_deleted_but_not_reserved_ones_or_current_windows(
    caller: Purchaser, clock: HandClock, team: str
) -> None:
    await caller.put(mine := budget(team, 9, Window.MONTH))
    old, lost = [(await caller.reserve())[0] for _ in range(2)]
    await settle(caller, old)
    clock.advance(40 * DAY)
    new = (await caller.reserve())[0]
    await settle(caller, new)
    assert await caller.ledger.delete_old(30 * DAY) == 1
    assert [await rows(caller, attempt) for attempt in (old, lost, new)] == [[], ["reserved"], ["taken"]]
    assert await counted(caller, mine) == (1, 0, 8)


async def test_two_hundred_concurrent_purchases_spend_a_budget_for_fifty(caller: Purchaser, team: str) -> None:
    """LiteLLM checks before it counts (#26672, #34732), also while the row does not exist yet (#40095)."""
    await caller.put(mine := budget(team, 50))
    attempts = [secrets.token_hex(16) for _ in range(200)]

    async def one(attempt: str) -> bool:
        while True:
            try:
                await caller.reserve(attempt)
            except BudgetExceeded:
                return False
            except DatabaseUnavailable:  # the machine is busy; an operation may be repeated
                continue
            return True

    bought = await asyncio.gather(*map(one, attempts))
    assert bought.count(True) == 50
    assert await counted(caller, mine) == (0, 50, 0)


async def test_concurrent_reservations_and_settlements_never_deadlock(
    url: str | None, caller: Purchaser, clock: HandClock, team: str
) -> None:
    everyone = [Purchaser(caller.database, clock, Spender(team, f"member {n % 3}", f"key {n}")) for n in range(30)]
    limits = [budget(team, 1000, window) for window in Window]
    limits += [budget(team, 1000, window, member=f"member {n}") for n in range(3) for window in Window]
    for wanted in limits:
        await caller.put(wanted)

    async def buy(one: Purchaser, number: int) -> None:
        attempt, is_taken = secrets.token_hex(16), number % 2 == 0
        await retry_on_timeout(url, lambda: one.reserve(attempt))
        if number % 5 == 0:
            limits.append(late := budget(team, 1000, key=one.spender.key))
            await retry_on_timeout(url, lambda: caller.put(late))
        await retry_on_timeout(url, lambda: settle(one, attempt, taken=is_taken))

    await asyncio.gather(*(buy(one, number) for number, one in enumerate(everyone)))
    found = await uses(caller)
    assert {counts(found[wanted.id])[:2] for wanted in limits[:3]} == {(15, 0)}
    assert {counts(found[wanted.id])[:2] for wanted in limits[3:12]} == {(5, 0)}
    assert sorted(counts(found[wanted.id])[:2] for wanted in limits[12:]) == [(0, 0)] * 3 + [(1, 0)] * 3


@pytest.mark.parametrize("url", [kind for kind in KINDS if "postgres" in kind], indirect=True)
async def test_a_purchase_settled_while_a_budget_is_set_is_counted_once(caller: Purchaser, team: str) -> None:
    attempt, _ = await caller.reserve()
    is_taken = asyncio.Event()
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid")

    async def slowly(connection: AsyncConnection) -> None:
        await take(connection, attempt, now=caller.clock.sql)
        is_taken.set()
        while not (await connection.execute(waiting)).scalar():
            await asyncio.sleep(0.01)

    taking = asyncio.create_task(caller.database.run_in_transaction(slowly))
    await is_taken.wait()
    await caller.put(mine := budget(team, 9))
    await taking
    assert await counted(caller, mine) == (1, 0, 8)


async def retry_on_timeout(url: str | None, operation: Callable[[], Awaitable[object]]) -> None:
    """Repeat an operation that has timed out on a busy machine. A deadlock is another error, and is raised.

    SQLite has one lock and so no deadlocks: what is locked has timed out.
    """
    timeouts = ("TimeoutError",) if url is not None and "postgres" in url else ("TimeoutError", "locked")
    while True:
        try:
            await operation()
        except DatabaseUnavailable as exc:
            if not any(timeout in str(exc) for timeout in timeouts):
                raise
        else:
            return


async def test_two_processes_count_in_one_row(url: str | None, caller: Purchaser, team: str) -> None:
    """LiteLLM reads the count of its own process (#33325)."""
    if url is None:
        return
    await caller.put(mine := budget(team, 10))
    other = Database(url)
    second = Purchaser(other, caller.clock, caller.spender)
    results = await asyncio.gather(
        *(each.reserve() for _ in range(10) for each in (caller, second)), return_exceptions=True
    )
    await other.aclose()
    assert sum(isinstance(result, BudgetExceeded) for result in results) == 10
    assert await counted(caller, mine) == (0, 10, 0)


async def test_repeated_reserving_and_giving_back_leaves_no_amount_behind(caller: Purchaser, team: str) -> None:
    """LiteLLM counts outside its ledger, and leaked amounts refuse forever (#36926, #27735, #27639)."""
    await caller.put(mine := budget(team, 1))
    for _ in range(5):
        attempt, _passed = await caller.reserve()
        with pytest.raises(BudgetExceeded):
            await caller.reserve()
        await caller.reserve(attempt)
        assert await settle(caller, attempt, taken=False)
        assert not await settle(caller, attempt, taken=False)
    assert await counted(caller, mine) == (0, 0, 1)


async def test_the_budget_of_a_key_continues_through_rotations(database: Database, clock: HandClock) -> None:
    """LiteLLM loses the spending when a key is regenerated (#31079), or refuses the old key (#27193)."""
    directory = directory_at(database, clock)
    team = await directory.teams.create("film", "UTC", ACTOR)
    await directory.teams.add_member("film", "ana", ACTOR)
    scopes = frozenset({Scope.GENERATE})
    ids = [(await directory.keys.create("film", "ana", new_key()[1], ACTOR, scopes=scopes)).key.id]
    await Purchaser(database, clock, Spender(team.id, "ana", ids[0])).put(first := budget(team.id, 4, key=ids[0]))
    for _ in range(2):
        ids.append((await directory.keys.rotate(ids[-1], new_key()[1], DAY, ACTOR)).key.id)
    callers = [Purchaser(database, clock, Spender(team.id, "ana", key)) for key in ids]
    for caller in callers:
        await caller.reserve()
    assert await counted(callers[0], first) == (0, 3, 1)
    await callers[0].put(month := budget(team.id, 9, Window.MONTH, key=ids[0]))
    assert await counted(callers[0], month) == (0, 3, 6)
    await callers[1].reserve()
    for caller in callers:
        with pytest.raises(BudgetExceeded):
            await caller.reserve()


async def test_a_window_after_a_change_of_time_zone_counts_earlier_purchases(
    caller: Purchaser, clock: HandClock, team: str
) -> None:
    await caller.put(mine := budget(team, 9))
    clock.now = datetime.fromisoformat("2026-11-01T20:00+00:00").timestamp()
    await settle(caller, (await caller.reserve())[0])
    attempt, _ = await caller.reserve()
    repository = directory_at(caller.database, clock).teams
    [name] = [one.name for one in await repository.all() if one.id == team]
    for _ in range(2):
        await repository.change(name, ACTOR, timezone="Asia/Kathmandu")
        assert await counted(caller, mine) == (1, 1, 7)
    await settle(caller, attempt, taken=False)
    assert await counted(caller, mine) == (1, 0, 8)


async def test_a_window_renews_at_midnight_of_the_team(database: Database, clock: HandClock) -> None:
    """LiteLLM renews budgets late by the UTC offset of the time zone (#34896, #37454, #40978)."""
    team = await make_team(database, clock, "America/St_Johns")
    caller = Purchaser(database, clock, Spender(team))
    clock.now = datetime.fromisoformat("2026-03-08T23:59:59-02:30").timestamp()
    await caller.put(mine := budget(team, 1))
    await caller.reserve()
    with pytest.raises(BudgetExceeded) as caught:
        await caller.reserve()
    clock.advance(1)
    assert caught.value.use.renews_at == clock()
    await caller.reserve()
    assert await counted(caller, mine) == (0, 1, 0)

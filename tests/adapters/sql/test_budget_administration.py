"""The administration of budgets in SQLite and PostgreSQL, and usage by member, key and day."""

from dataclasses import replace
from datetime import date, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.adapters.sql.budget_administration import SqlBudgets
from app.adapters.sql.engine import Database
from app.adapters.sql.ledger import give_back, take
from app.domain.access import Scope
from app.domain.budget import OVERDUE_SECONDS, AlertTarget, BudgetExceeded, Spender
from app.domain.calendar import Window
from app.domain.money import MILLIONTHS
from app.domain.teams import AuditEntry
from app.ports.budgets import BudgetOwner, BudgetTerms, Spending, SpendingGroup
from app.ports.directory import Directory, NotAllowed, NotThere
from tests.support.clock import HandClock
from tests.support.directories import ACTOR, directory_at, new_key
from tests.support.spending import Purchaser, priced

FILM = BudgetOwner("film")
ANA = BudgetOwner("film", member="ana")
HOOK = AlertTarget("sealed", "hooks.example.org")


@pytest.fixture
def budgets(database: Database, clock: HandClock) -> SqlBudgets:
    clock.now = datetime.fromisoformat("2026-03-28T12:00+01:00").timestamp()
    return SqlBudgets(database, clock.sql)


@pytest.fixture
async def directory(database: Database, clock: HandClock, budgets: SqlBudgets) -> Directory:
    directory = directory_at(database, clock)
    await directory.teams.create("film", "Europe/Berlin", ACTOR)
    for name in ("ana", "ben"):
        await directory.teams.add_member("film", name, ACTOR)
    return directory


@pytest.fixture
async def ana(database: Database, clock: HandClock, directory: Directory) -> Purchaser:
    return await purchaser(database, clock, directory, "ana")


async def purchaser(database: Database, clock: HandClock, directory: Directory, member: str) -> Purchaser:
    made = await directory.keys.create("film", member, new_key()[1], ACTOR, scopes=frozenset({Scope.GENERATE}))
    return Purchaser(database, clock, Spender(made.team.id, made.member.id, made.key.id))


def terms(units: int, window: Window = Window.DAY) -> BudgetTerms:
    return BudgetTerms(priced(units), window)


async def audited(directory: Directory) -> list[AuditEntry]:
    return [entry for entry in await directory.audit.entries(100) if entry.action.startswith("budget.")]


async def test_a_budget_is_set_and_listed(budgets: SqlBudgets, directory: Directory, ana: Purchaser) -> None:
    key = BudgetOwner("film", key=ana.spender.key)
    for owner, wanted in [(key, terms(1)), (ANA, terms(2)), (FILM, terms(3, Window.MONTH)), (FILM, terms(4))]:
        await budgets.set(owner, wanted, ACTOR)
    await ana.reserve()
    found = await budgets.of_team("film")
    assert [(one.owner, one.use.limit, one.use.budget.window) for one in found] == [
        (FILM, 4 * MILLIONTHS, Window.DAY),
        (FILM, 3 * MILLIONTHS, Window.MONTH),
        (ANA, 2 * MILLIONTHS, Window.DAY),
        (key, MILLIONTHS, Window.DAY),
    ]
    assert {one.use.reserved for one in found} == {MILLIONTHS}
    assert found[0].use.renews_at == datetime.fromisoformat("2026-03-29T00:00+01:00").timestamp()
    assert found[1].use.renews_at == datetime.fromisoformat("2026-04-01T00:00+02:00").timestamp()


async def test_setting_a_budget_is_audited_without_the_address_of_its_alerts(
    budgets: SqlBudgets, directory: Directory
) -> None:
    kept = await budgets.set(ANA, replace(terms(5), is_soft=True, alert=HOOK), ACTOR)
    assert kept.use.budget.alert == HOOK
    await budgets.set(ANA, terms(6), ACTOR)
    first, second = await audited(directory)
    shown = {"amount": "5", "unit": "credits", "soft": True, "alert_host": "hooks.example.org"}
    shown |= {"raised_by": None, "raise_ends_at": None}
    assert (first.action, first.subject, first.before, first.after) == ("budget.set", "day of member ana", None, shown)
    assert second.before == {"amount": "5", "soft": True, "alert_host": "hooks.example.org"}
    assert second.after == {"amount": "6", "soft": False, "alert_host": None}
    assert (second.amount, second.unit, second.actor) == (6 * MILLIONTHS, "credits", ACTOR.name)
    assert first.member_id is not None
    assert "a-secret" not in repr([first, second, kept])


async def test_a_change_that_changes_nothing_is_not_audited(budgets: SqlBudgets, directory: Directory) -> None:
    for _ in range(2):
        await budgets.set(FILM, terms(5), ACTOR)
    assert len(await audited(directory)) == 1


async def test_every_change_increments_the_version_of_the_directory(budgets: SqlBudgets, directory: Directory) -> None:
    before = await directory.facts.version()
    await budgets.set(FILM, terms(5), ACTOR)
    await budgets.increase(FILM, None, by=MILLIONTHS, until=date(2026, 12, 31), actor=ACTOR)
    await budgets.remove(FILM, None, ACTOR)
    assert await directory.facts.version() == before + 3


async def test_a_raise_lasts_until_the_end_of_its_day(
    budgets: SqlBudgets, directory: Directory, ana: Purchaser, clock: HandClock
) -> None:
    await budgets.set(FILM, terms(1, Window.MONTH), ACTOR)
    raised = await budgets.increase(FILM, None, by=2 * MILLIONTHS, until=date(2026, 3, 29), actor=ACTOR)
    assert raised.use.limit == 3 * MILLIONTHS
    assert raised.use.budget.raised_until == datetime.fromisoformat("2026-03-30T00:00+02:00").timestamp()
    await ana.reserve(price=priced(2))
    clock.now = raised.use.budget.raised_until
    with pytest.raises(BudgetExceeded):
        await ana.reserve()
    with pytest.raises(NotAllowed, match="ended already"):
        await budgets.increase(FILM, None, by=1, until=date(2026, 3, 29), actor=ACTOR)
    [_, entry, threshold] = await audited(directory)
    assert (threshold.action, threshold.actor) == ("budget.threshold", "service")
    assert entry.action == "budget.raise"
    assert entry.after == {"raised_by": "2", "raise_ends_at": raised.use.budget.raised_until}
    again = await budgets.set(FILM, terms(1, Window.MONTH), ACTOR)
    assert (again.use.budget.raised_until, again.use.reserved) == (None, 2 * MILLIONTHS)


async def test_a_budget_is_removed(budgets: SqlBudgets, directory: Directory, ana: Purchaser) -> None:
    await budgets.set(ANA, terms(1), ACTOR)
    await ana.reserve()
    removed = await budgets.remove(ANA, Window.DAY, ACTOR)
    assert (removed.owner, removed.use.reserved) == (ANA, MILLIONTHS)
    assert await budgets.of_team("film") == []
    assert (await audited(directory))[-1].after is None
    await ana.reserve()


async def test_the_window_must_be_named_if_there_are_several_budgets(budgets: SqlBudgets, directory: Directory) -> None:
    await budgets.set(FILM, terms(1), ACTOR)
    await budgets.set(FILM, terms(9, Window.WEEK), ACTOR)
    with pytest.raises(NotAllowed, match="2 budgets of team film"):
        await budgets.remove(FILM, None, ACTOR)
    await budgets.remove(FILM, Window.WEEK, ACTOR)
    await budgets.increase(FILM, None, by=1, until=date(2026, 12, 31), actor=ACTOR)


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (BudgetOwner("nobody"), "no team nobody"),
        (BudgetOwner("film", member="cleo"), "no member cleo"),
        (BudgetOwner("film", key="000000000000"), "no key 000000000000"),
        (FILM, "no such budget of team film"),
    ],
)
async def test_what_is_not_there_is_said(
    budgets: SqlBudgets, directory: Directory, owner: BudgetOwner, words: str
) -> None:
    with pytest.raises(NotThere, match=words):
        await budgets.remove(owner, None, ACTOR)
    if owner is not FILM:
        with pytest.raises(NotThere, match=words):
            await budgets.set(owner, terms(1), ACTOR)
    assert await audited(directory) == []


async def test_a_key_of_another_team_is_not_found(budgets: SqlBudgets, directory: Directory, ana: Purchaser) -> None:
    await directory.teams.create("music", "UTC", ACTOR)
    with pytest.raises(NotThere, match="Team music has no key"):
        await budgets.set(BudgetOwner("music", key=ana.spender.key), terms(1), ACTOR)


async def test_a_key_has_one_budget_under_all_ids_of_its_rotations(
    budgets: SqlBudgets, directory: Directory, ana: Purchaser
) -> None:
    old = ana.spender.key
    assert old is not None
    new = (await directory.keys.rotate(old, new_key()[1], 3600, ACTOR)).key.id
    await budgets.set(BudgetOwner("film", key=new), terms(1), ACTOR)
    await budgets.set(BudgetOwner("film", key=old), terms(2), ACTOR)
    [found] = await budgets.of_team("film")
    assert (found.owner.key, found.use.limit) == (new, 2 * MILLIONTHS)


async def test_usage_is_added_up_by_member_key_and_day(
    budgets: SqlBudgets, directory: Directory, ana: Purchaser, clock: HandClock
) -> None:
    ben = await purchaser(ana.database, clock, directory, "ben")
    taken, given = (await ana.reserve(price=priced(2)))[0], (await ana.reserve())[0]
    await ana.database.run_in_transaction(lambda connection: take(connection, taken, now=clock.sql))
    await ana.database.run_in_transaction(lambda connection: give_back(connection, given, now=clock.sql))
    clock.now = datetime.fromisoformat("2026-03-29T23:59:59+02:00").timestamp()
    await ben.reserve()
    clock.now += 1
    await ben.reserve()
    rows = {by: (await budgets.usage("film", None, by)).rows for by in (None, *SpendingGroup)}
    assert rows[None] == [Spending(None, "credits", 3, 2 * MILLIONTHS, 2 * MILLIONTHS)]
    mine, others = ("credits", 1, 2 * MILLIONTHS, 0), ("credits", 2, 0, 2 * MILLIONTHS)
    assert rows[SpendingGroup.MEMBER] == [Spending("ana", *mine), Spending("ben", *others)]
    assert {row.name: row for row in rows[SpendingGroup.KEY]} == {
        ana.spender.key: Spending(ana.spender.key, *mine),
        ben.spender.key: Spending(ben.spender.key, *others),
    }
    assert rows[SpendingGroup.DAY] == [
        Spending("2026-03-28", *mine),
        Spending("2026-03-29", "credits", 1, 0, MILLIONTHS),
        Spending("2026-03-30", "credits", 1, 0, MILLIONTHS),
    ]


async def test_usage_counts_from_the_beginning_of_a_day(budgets: SqlBudgets, ana: Purchaser, clock: HandClock) -> None:
    await ana.reserve()
    clock.now = datetime.fromisoformat("2026-04-02T00:00+02:00").timestamp()
    await ana.reserve()
    months = [await budgets.usage("film", since, None) for since in (None, date(2026, 3, 1), date(2026, 4, 2))]
    assert [usage.rows[0].generations for usage in months] == [1, 2, 1]
    assert [usage.since for usage in months] == [date(2026, 4, 1), date(2026, 3, 1), date(2026, 4, 2)]
    for by in (None, *SpendingGroup):
        assert (await budgets.usage("film", date(2026, 4, 3), by)).rows == []
        assert len((await budgets.usage("film", date(2000, 1, 1), by)).rows) >= 1


async def test_usage_lists_reservations_that_are_overdue(budgets: SqlBudgets, ana: Purchaser, clock: HandClock) -> None:
    attempt, _ = await ana.reserve()
    assert (await budgets.usage("film", None, None)).unsettled == []
    clock.advance(OVERDUE_SECONDS + 1)
    [found] = (await budgets.usage("film", None, None)).unsettled
    assert (found.attempt, found.price) == (attempt, priced(1))


async def test_usage_of_purchases_without_a_price_is_counted(budgets: SqlBudgets, ana: Purchaser) -> None:
    await ana.reserve_unpriced()
    assert (await budgets.usage("film", None, None)).rows == [Spending(None, None, 1, 0, 0)]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.tuples(st.sampled_from(["ana", "ben"]), st.integers(1, 200_000)), max_size=8))
async def test_usage_by_any_group_adds_up_to_the_whole(moves: list[tuple[str, int]]) -> None:
    clock = HandClock()
    database = Database(None)
    directory, budgets = directory_at(database, clock), SqlBudgets(database, clock.sql)
    await directory.teams.create("film", "America/St_Johns", ACTOR)
    for name in ("ana", "ben"):
        await directory.teams.add_member("film", name, ACTOR)
    for name, seconds in moves:
        await (await purchaser(database, clock, directory, name)).reserve()
        clock.advance(seconds)
    for by in (None, *SpendingGroup):
        rows = (await budgets.usage("film", date(2000, 1, 1), by)).rows
        assert sum(row.generations for row in rows) == len(moves)
        assert sum(row.reserved for row in rows) == len(moves) * MILLIONTHS
    await database.aclose()

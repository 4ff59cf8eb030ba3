"""luma_get_usage for callers with and without a team, and the members in luma_list_tasks."""

from collections.abc import AsyncIterator

import pytest

from app.domain.calendar import Window
from app.domain.money import Money
from app.ports.budgets import BudgetOwner, BudgetTerms
from tests.support.clock import HandClock
from tests.support.fleet import Fleet, running_fleet
from tests.support.service import ERAS, SECONDS, sandbox, serving, settings
from tests.support.teams import ACTOR

PRICE_CREDITS = 1.19
NO_USAGE = {"generations": 0, "spent": 0, "reserved": 0}


@pytest.fixture
async def fleet(clock: HandClock, database_url: str) -> AsyncIterator[Fleet]:
    async with running_fleet(clock, database_url) as fleet:
        yield fleet


async def set_budget(fleet: Fleet, owner: BudgetOwner, amount: int, window: Window, *, is_soft: bool = False) -> None:
    """Set a budget of `amount` credits."""
    await fleet.budgets.set(owner, BudgetTerms(Money(amount * 1_000_000, "credits"), window, is_soft), ACTOR)


@pytest.mark.parametrize("era", ERAS)
async def test_get_usage_returns_own_and_team_spending_and_applicable_budgets(fleet: Fleet, era: str) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    await set_budget(fleet, BudgetOwner("film"), 10, Window.DAY)
    await set_budget(fleet, BudgetOwner("film", member="anna"), 5, Window.MONTH, is_soft=True)
    await set_budget(fleet, BudgetOwner("film", member="ben"), 5, Window.MONTH)
    for key in (anna, ben):
        await fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=key)
    usage = await fleet.other.ask("luma_get_usage", {}, token=anna, era=era)
    assert usage["unit"] == "credits"
    assert usage["since"] == "2026-09-01T00:00:00Z"
    assert usage["caller"] == {"generations": 1, "spent": 0, "reserved": PRICE_CREDITS}
    assert usage["team"] == {"generations": 2, "spent": 0, "reserved": 2 * PRICE_CREDITS}
    by_owner = {(one["of"], one["window"]): one for one in usage["budgets"]}
    assert by_owner.keys() == {("team", "day"), ("member", "month")}
    assert by_owner["team", "day"] == {
        "of": "team",
        "window": "day",
        "limit": 10,
        "left": pytest.approx(10 - 2 * PRICE_CREDITS),
        "reserved": 2 * PRICE_CREDITS,
        "spent": 0,
        "renews_at": "2026-09-22T00:00:00Z",
    }
    assert by_owner["member", "month"]["soft"] is True


async def test_a_caller_without_a_team_sees_spending_of_this_month(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        assert (await service.ask("luma_get_usage", {}))["caller"] == NO_USAGE
        await service.ask("luma_generate_video", {"prompt": "A fox"})
        await service.fail("luma_generate_video", {"prompt": "[refuse]"})
        await service.ask("luma_generate_video", {"prompt": "A fox"}, token="token-b")
        usage = await service.ask("luma_get_usage", {})
        assert usage["caller"] == {"generations": 1, "spent": PRICE_CREDITS, "reserved": 0}
        assert usage["budgets"] == usage["rate_limits"] == []
        assert "team" not in usage
        clock.advance(31 * 86_400)
        assert (await service.ask("luma_get_usage", {}))["caller"] == NO_USAGE


async def test_the_list_of_tasks_names_members_and_filters_by_them(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    await fleet.teams.member("ads", "anna")
    for key in (anna, ben):
        await fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=key)
    fleet.clock.advance(SECONDS)
    everyone = await fleet.other.ask("luma_list_tasks", {}, token=anna)
    assert sorted(one["member"] for one in everyone["tasks"]) == ["anna", "ben"]
    of_ben = await fleet.other.ask("luma_list_tasks", {"member": "ben"}, token=anna)
    assert [one["member"] for one in of_ben["tasks"]] == ["ben"]
    assert (await fleet.other.ask("luma_list_tasks", {"member": "carl"}, token=anna))["tasks"] == []
    refused = await fleet.one.fail("luma_list_tasks", {"member": "anna"}, token="token-film")
    assert refused["code"] == "invalid_request"
    assert all("member" not in one for one in (await fleet.one.ask("luma_list_tasks", {}, token="token-film"))["tasks"])

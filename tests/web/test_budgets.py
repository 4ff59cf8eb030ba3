"""Budgets of teams over HTTP. The price is reserved at submission, and charged or released when the task ends."""

from collections.abc import AsyncIterator

import pytest

from app.adapters.sql.audit import SqlAuditLog
from app.domain.budget import OVERDUE_SECONDS
from app.domain.calendar import Window
from app.domain.money import Money
from app.domain.teams import AuditEntry
from app.ports.budgets import BudgetOwner, BudgetTerms
from app.services.teams.settlement import POLL_SECONDS
from tests.support.clock import HandClock, while_time_passes
from tests.support.eventually import eventually
from tests.support.fleet import Fleet, running_fleet
from tests.support.service import SECONDS, Service
from tests.support.teams import ACTOR

PRICE = 1_190_000
"""Price of one generation, in millionths of a credit."""


@pytest.fixture
async def fleet(clock: HandClock, database_url: str) -> AsyncIterator[Fleet]:
    async with running_fleet(clock, database_url) as fleet:
        yield fleet


async def set_budget(fleet: Fleet, generations: float, member: str | None = None) -> None:
    terms = BudgetTerms(Money(int(generations * PRICE), "credits"), Window.MONTH)
    await fleet.budgets.set(BudgetOwner("film", member), terms, ACTOR)


async def usage(fleet: Fleet) -> tuple[float, float]:
    """Return what the team's first budget has spent and reserved, in generations."""
    use = (await fleet.budgets.of_team("film"))[0].use
    return use.spent / PRICE, use.reserved / PRICE


async def wait_for_usage(fleet: Fleet, wanted: tuple[float, float]) -> None:
    """Wait until the team's first budget has spent and reserved `wanted`. Ended tasks are settled in the background."""

    async def is_as_wanted() -> bool:
        return await usage(fleet) == wanted

    await eventually(is_as_wanted)


async def start_generation(service: Service, key: str, prompt: str = "A fox", **arguments: object) -> str:
    answer = await service.ask("luma_generate_video", {"prompt": prompt, **arguments}, token=key)
    return str(answer["task_id"])


async def purchase_audit_entries(fleet: Fleet) -> list[AuditEntry]:
    log = SqlAuditLog(fleet.one.assembly.persistence.database, fleet.clock.sql)
    return [entry for entry in await log.entries(200) if entry.action.startswith("purchase.")]


async def test_a_budget_counts_purchases_of_both_replicas_and_a_refusal_says_when_it_renews(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    await set_budget(fleet, 2)
    for service, key in ((fleet.one, anna), (fleet.other, ben)):
        await start_generation(service, key, idempotency_key="fox")
    refused = await fleet.other.fail("luma_generate_video", {"prompt": "A fox"}, token=anna)
    assert refused["code"] == "budget_exceeded"
    assert "renews at" in refused["message"]
    assert "0 credits left" in refused["message"]
    assert await usage(fleet) == (0, 2)
    await start_generation(fleet.other, anna, idempotency_key="fox")  # the same idempotency key: not charged twice
    assert len((await fleet.one.ask("luma_list_tasks", {}, token=anna))["tasks"]) == 2


async def test_a_completed_task_is_charged_and_a_failed_one_refunded(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    await set_budget(fleet, 5)
    task_ids = [await start_generation(fleet.one, anna), await start_generation(fleet.one, anna, prompt="[fail] a fox")]
    fleet.clock.advance(SECONDS)  # the sandbox's tasks end after this time
    answer = await fleet.other.ask("luma_get_tasks_batch", {"task_ids": task_ids}, token=anna)
    assert [task["state"] for task in answer["tasks"]] == ["completed", "failed"]
    await wait_for_usage(fleet, (1, 0))


async def test_a_task_that_nobody_asks_about_is_settled_when_it_is_overdue(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    await set_budget(fleet, 5)
    await start_generation(fleet.one, anna)
    await while_time_passes(fleet.clock, fleet.clock.sleep(OVERDUE_SECONDS + 2 * POLL_SECONDS), step=POLL_SECONDS / 2)
    await wait_for_usage(fleet, (1, 0))


async def test_a_refused_prompt_is_refunded(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    await set_budget(fleet, 5)
    assert (await fleet.one.fail("luma_generate_video", {"prompt": "[refuse]"}, token=anna))["code"] == "refused"
    await wait_for_usage(fleet, (0, 0))


async def test_a_members_budget_does_not_limit_other_members(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    await set_budget(fleet, 1, member="anna")
    await start_generation(fleet.one, anna)
    assert (await fleet.one.fail("luma_generate_video", {"prompt": "x"}, token=anna))["code"] == "budget_exceeded"
    await start_generation(fleet.one, ben)
    await start_generation(fleet.one, "token-film")  # a caller with a credential of their own is no member


async def test_every_purchase_of_a_member_is_audited_with_its_request_and_task(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    task_id = await start_generation(fleet.one, anna)
    await fleet.one.fail("luma_generate_video", {"prompt": "[refuse] fox"}, token=anna)
    await start_generation(fleet.one, "token-film")
    first, second = await purchase_audit_entries(fleet)
    assert (first.subject, first.outcome, first.task_id) == ("film/anna", "started", task_id)
    assert (first.amount, first.unit) == (PRICE, "credits")
    assert first.actor == f"key:{await fleet.teams.id_of(anna)}"
    assert first.request_id
    assert (second.outcome, second.task_id) == ("refused", None)
    assert "fox" not in repr([first, second])


async def test_budget_use_is_exported_when_team_metrics_is_on(clock: HandClock, database_url: str) -> None:
    async with running_fleet(clock, database_url, team_metrics="true") as fleet:
        anna = await fleet.teams.member("film", "anna")
        await set_budget(fleet, 4)
        await set_budget(fleet, 4, member="anna")
        await start_generation(fleet.one, anna)
        await while_time_passes(clock, clock.sleep(31), step=2)  # the metric is refreshed every 30 s

        def exported() -> list[str]:
            lines = fleet.other.assembly.metrics.exposition().decode().splitlines()
            return [line for line in lines if line.startswith("luma_mcp_budget_used{")]

        await eventually(lambda: exported() == ['luma_mcp_budget_used{team="film",window="month"} 0.25'])

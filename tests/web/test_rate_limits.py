"""Rate limits of teams over HTTP, on two replicas that share a database and a Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from app.adapters.sql.budget_administration import SqlBudgets
from app.adapters.sql.rate_limits import SqlTeamLimits
from app.domain.rate_limit import LimitKind, Limits
from app.ports.budgets import BudgetOwner
from tests.support.clock import HandClock
from tests.support.issuer import Realm
from tests.support.redis_server import RedisServer
from tests.support.service import ERAS, SECONDS, Service, sandbox, serving, settings
from tests.support.settling import settle
from tests.support.teams import ACTOR, Teams, teams_in
from tests.web.test_jwt import world_of

FILM = BudgetOwner("film")
ANNA = BudgetOwner("film", member="anna")
CALL = ("luma_list_aspect_ratios", dict[str, object]())


class Fleet:
    """Two replicas, and the teams and limits in their database."""

    def __init__(self, one: Service, other: Service, clock: HandClock) -> None:
        self.one, self.other, self.clock = one, other, clock
        database = one.assembly.persistence.database
        self.teams: Teams = teams_in(database, clock)
        self.limits = SqlTeamLimits(database, clock.sql)

    async def settle(self) -> None:
        """Let the replicas see what has changed."""
        await settle(self.clock, self.one, self.other)

    async def settled(self) -> None:
        """Wait until what the team has bought is paid, which a replica does after an answer."""
        budgets = SqlBudgets(self.one.assembly.persistence.database, self.clock.sql)
        async with asyncio.timeout(20):
            while any(row.reserved for row in (await budgets.usage("film", None, None)).rows):
                await asyncio.sleep(0)

    async def limit(self, owner: BudgetOwner, limits: Limits) -> None:
        await self.limits.set(owner, limits, ACTOR)
        await self.settle()


@pytest.fixture
async def fleet(clock: HandClock, database_url: str, redis_server: RedisServer) -> AsyncIterator[Fleet]:
    values = settings(auth="passthrough,keys", database_url=database_url, redis_url=redis_server.url)
    backend = sandbox(clock)
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(serving(values, backend, clock)) for _ in range(2)]
        fleet = Fleet(one, other, clock)
        await fleet.teams.team("film", "token-film")
        await fleet.settle()
        yield fleet


def counted(service: Service, name: str, label: str) -> float:
    lines = service.assembly.metrics.exposition().decode().splitlines()
    [line] = [line for line in lines if line.startswith(f"luma_mcp_{name}_total{{") and f'"{label}"' in line] or [" 0"]
    return float(line.rpartition(" ")[2])


async def test_a_limit_of_calls_counts_on_all_replicas_together(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    await fleet.limit(ANNA, Limits(calls_per_minute=4))
    for service in (fleet.one, fleet.other, fleet.one, fleet.other):
        await service.ask(*CALL, token=anna)
    for service, era in zip((fleet.one, fleet.other, fleet.one, fleet.other), ERAS, strict=True):
        error = await service.fail(*CALL, token=anna, era=era)
        assert (error["code"], 55 <= error["retry_after_seconds"] <= 61) == ("rate_limited", True)
        assert "this member, 4 a minute" in error["message"]
    await fleet.one.ask(*CALL, token=ben)
    fleet.clock.advance(error["retry_after_seconds"])
    await fleet.settle()
    await fleet.other.ask(*CALL, token=anna)
    assert counted(fleet.one, "limits_reached", "calls_per_minute") == 2


async def test_limits_of_key_member_and_team_apply_at_once_and_resources_count_as_calls(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    await fleet.limits.set(BudgetOwner("film", key=await fleet.teams.id_of(anna)), Limits(2), ACTOR)
    await fleet.limit(FILM, Limits(calls_per_minute=3))
    await fleet.one.request("resources/read", {"uri": "luma://tasks/task-1"}, token=anna)
    await fleet.one.ask(*CALL, token=anna)
    assert "this key" in (await fleet.other.fail(*CALL, token=anna))["message"]
    await fleet.one.ask(*CALL, token=ben)
    assert "this team" in (await fleet.one.fail(*CALL, token=ben))["message"]
    refused = await fleet.other.request("resources/read", {"uri": "luma://tasks/task-1"}, token=ben)
    assert refused["error"]["data"]["code"] == "rate_limited"
    assert refused["error"]["data"]["retry_after_seconds"] > 0


async def test_usage_shows_what_each_limit_has_left_on_every_replica(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    await fleet.limits.set(ANNA, Limits(calls_per_minute=9), ACTOR)
    await fleet.limits.set(BudgetOwner("film", member="ben"), Limits(in_flight=7), ACTOR)
    await fleet.limit(FILM, Limits(generations_per_hour=4, in_flight=2))
    await fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=anna)
    await fleet.other.ask("luma_generate_video", {"prompt": "A wolf"}, token=ben)
    response = await fleet.one.call("luma_get_usage", {}, token=anna)
    shown = response["structuredContent"]["result"]["rate_limits"]
    found = {(one["of"], one["counts"]): one for one in shown}
    assert len(found) == len(shown) == 3
    assert found["team", "in_flight"] == {"of": "team", "counts": "in_flight", "limit": 2, "left": 0}
    hour, minute = found["team", "generations_per_hour"], found["member", "calls_per_minute"]
    assert (hour["limit"], hour["left"], 3540 <= hour["renews_in_seconds"] <= 3660) == (4, 2, True)
    assert (minute["limit"], minute["left"], 55 <= minute["renews_in_seconds"] <= 61) == (9, 7, True)
    text = response["content"][0]["text"]
    assert f"member limit of calls_per_minute: 7 left of 9, renews in {minute['renews_in_seconds']} s" in text
    assert "team limit of in_flight: 0 left of 2\n" in text + "\n"
    fleet.clock.advance(SECONDS)
    listed = (await fleet.one.ask("luma_list_tasks", {}, token=anna))["tasks"]
    await fleet.one.ask("luma_get_tasks_batch", {"task_ids": [one["task_id"] for one in listed]}, token=anna)
    await fleet.settled()
    after = (await fleet.other.ask("luma_get_usage", {}, token=ben))["rate_limits"]
    assert {(one["of"], one["left"]) for one in after if one["counts"] == "in_flight"} == {("team", 2), ("member", 7)}


async def test_usage_shows_limits_while_redis_is_out(
    clock: HandClock, database_url: str, fragile_redis: RedisServer
) -> None:
    values = settings(auth="passthrough,keys", database_url=database_url, redis_url=fragile_redis.url)
    async with serving(values, sandbox(clock), clock) as service:
        fleet = Fleet(service, service, clock)
        await fleet.teams.team("film", "token-film")
        await fleet.limit(FILM, Limits(calls_per_minute=9, in_flight=2))
        anna = await fleet.teams.member("film", "anna")
        fragile_redis.stop()
        [calls, in_flight] = (await service.ask("luma_get_usage", {}, token=anna))["rate_limits"]
    assert calls == {"of": "team", "counts": "calls_per_minute", "limit": 9, "left": None}
    assert in_flight == {"of": "team", "counts": "in_flight", "limit": 2, "left": 2}


async def test_lists_and_pings_do_not_count(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    await fleet.limit(FILM, Limits(calls_per_minute=1))
    for method in ("tools/list", "prompts/list", "server/discover"):
        for _ in range(3):
            assert "result" in await fleet.one.request(method, token=anna)
    await fleet.one.ask(*CALL, token=anna)


async def test_a_generation_over_the_limit_is_not_sent_and_what_was_bought_is_replayed(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    await fleet.limit(FILM, Limits(generations_per_hour=2))
    keyed = {"prompt": "A fox", "idempotency_key": "fox"}
    first = await fleet.one.ask("luma_generate_video", keyed, token=anna)
    await fleet.other.ask("luma_generate_video", {"prompt": "A wolf"}, token=anna)
    for service in (fleet.one, fleet.other):
        refused = {"prompt": "A bear", "idempotency_key": "bear"}
        error = await service.fail("luma_generate_video", refused, token=anna)
        assert (error["code"], "Nothing was sent" in error["message"]) == ("rate_limited", True)
        assert 3500 < error["retry_after_seconds"] <= 3660
        again = await service.ask("luma_generate_video", keyed, token=anna)
        assert (again["task_id"], again["replayed"]) == (first["task_id"], True)
    listed = (await fleet.one.ask("luma_list_tasks", {"state": "started"}, token=anna))["tasks"]
    assert len(listed) == 2
    fleet.clock.advance(error["retry_after_seconds"])
    await fleet.settle()
    bought = await fleet.one.ask("luma_generate_video", {"prompt": "A bear", "idempotency_key": "bear"}, token=anna)
    assert "replayed" not in bought


async def test_generations_in_flight_are_limited_until_they_end_and_replays_are_not(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    await fleet.limit(FILM, Limits(in_flight=2))
    keyed = {"prompt": "A fox", "idempotency_key": "fox"}
    first = await fleet.one.ask("luma_generate_video", keyed, token=anna)
    second = await fleet.other.ask("luma_generate_video", {"prompt": "A wolf"}, token=ben)
    for service, token in ((fleet.one, ben), (fleet.other, anna)):
        error = await service.fail("luma_generate_video", {"prompt": "A bear"}, token=token)
        assert (error["code"], error["retry_after_seconds"]) == ("rate_limited", 10)
        assert "in flight for this team, 2 " in error["message"]
    assert (await fleet.other.ask("luma_generate_video", keyed, token=anna))["replayed"] is True
    assert counted(fleet.one, "limits_reached", "in_flight") == 1
    fleet.clock.advance(SECONDS)
    ended = {"task_ids": [first["task_id"], second["task_id"]]}
    assert {task["state"] for task in (await fleet.one.ask("luma_get_tasks_batch", ended, token=anna))["tasks"]} == {
        "completed"
    }
    await fleet.settled()
    for prompt in ("A bear", "A lynx"):
        await fleet.other.ask("luma_generate_video", {"prompt": prompt}, token=ben)
    assert (await fleet.one.fail("luma_generate_video", {"prompt": "A stag"}, token=ben))["code"] == "rate_limited"


async def test_a_limit_that_is_set_raised_or_removed_counts_within_seconds_everywhere(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    await fleet.one.ask(*CALL, token=anna)
    await fleet.limit(FILM, Limits(calls_per_minute=1))
    await fleet.one.ask(*CALL, token=anna)
    for service in (fleet.one, fleet.other):
        assert (await service.fail(*CALL, token=anna))["code"] == "rate_limited"
    await fleet.limit(FILM, Limits(calls_per_minute=2))
    await fleet.other.ask(*CALL, token=anna)
    assert (await fleet.one.fail(*CALL, token=anna))["code"] == "rate_limited"
    await fleet.limits.remove(FILM, list(LimitKind), ACTOR)
    await fleet.settle()
    for service in (fleet.one, fleet.other):
        await service.ask(*CALL, token=anna)


async def test_callers_without_limits_leave_no_windows_in_redis(fleet: Fleet, redis_server: RedisServer) -> None:
    anna = await fleet.teams.member("film", "anna")
    await fleet.limit(FILM, Limits(in_flight=50))
    for token in (anna, "token-a"):
        task_id = (await fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=token))["task_id"]
        fleet.clock.advance(SECONDS)
        await fleet.one.ask("luma_get_task", {"task_id": task_id}, token=token)
    with redis_server.client() as client:
        assert [key for key in client.keys("*") if b":rate:" in key] == []


async def test_without_redis_rate_limits_count_in_the_process(clock: HandClock, database_url: str) -> None:
    values = settings(auth="keys", database_url=database_url)
    async with serving(values, sandbox(clock), clock) as service:
        alone = Fleet(service, service, clock)
        await alone.teams.team("film", "token-film")
        anna = await alone.teams.member("film", "anna")
        await alone.limit(FILM, Limits(calls_per_minute=1))
        await service.ask(*CALL, token=anna)
        assert (await service.fail(*CALL, token=anna))["code"] == "rate_limited"


async def test_members_who_come_from_an_identity_provider_have_limits_too(
    clock: HandClock, realm: Realm, database_url: str
) -> None:
    async with world_of(clock, realm, database_url) as world:
        token = world.token()
        await world.service.ask(*CALL, token=token)
        limits = SqlTeamLimits(world.service.assembly.persistence.database, clock.sql)
        await limits.set(FILM, Limits(calls_per_minute=2), ACTOR)
        await limits.set(ANNA, Limits(calls_per_minute=1), ACTOR)
        await world.settle()
        await world.service.ask(*CALL, token=token)
        assert "this member, 1 a minute" in (await world.service.fail(*CALL, token=token))["message"]
        ben = world.token(sub="ben", preferred_username="ben")
        await world.service.ask(*CALL, token=ben)
        assert "this team, 2 a minute" in (await world.service.fail(*CALL, token=ben))["message"]


async def test_rate_limits_fail_open_without_redis_and_failures_are_counted(
    clock: HandClock, database_url: str, fragile_redis: RedisServer
) -> None:
    values = settings(auth="keys", database_url=database_url, redis_url=fragile_redis.url)
    async with serving(values, sandbox(clock), clock) as service:
        alone = Fleet(service, service, clock)
        await alone.teams.team("film", "token-film")
        anna = await alone.teams.member("film", "anna")
        await alone.limit(FILM, Limits(calls_per_minute=1))
        fragile_redis.stop()
        for _ in range(5):
            await service.ask(*CALL, token=anna)
        assert counted(service, "store_failures", "limit") == 1

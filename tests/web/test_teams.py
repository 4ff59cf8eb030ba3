"""Members of teams call with keys of their own; the team holds the credential, and the tasks."""

from collections.abc import AsyncIterator

import pytest

from app.domain.access import Scope
from tests.support.clock import HandClock
from tests.support.fleet import Fleet, running_fleet
from tests.support.service import SECONDS, Service, sandbox, serving, settings
from tests.support.settling import settle
from tests.support.teams import ACTOR, mistyped, teams_in
from tests.web.test_tasks_extension import send

KEYED = {"prompt": "A fox", "idempotency_key": "fox"}


@pytest.fixture
async def fleet(clock: HandClock, database_url: str) -> AsyncIterator[Fleet]:
    async with running_fleet(clock, database_url) as fleet:
        yield fleet


async def started(service: Service, key: str, **arguments: object) -> str:
    return str((await service.ask("luma_generate_video", {"prompt": "A fox", **arguments}, token=key))["task_id"])


async def missing(service: Service, key: str, task_id: str) -> list[str]:
    answer = await service.ask("luma_get_tasks_batch", {"task_ids": [task_id]}, token=key)
    return list(answer["missing"])


async def status(service: Service, key: str) -> int:
    return (await service.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, token=key)).status_code


async def test_a_member_generates_with_the_teams_credential_and_the_team_reads(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    task_id = await started(fleet.one, anna)
    fleet.clock.advance(SECONDS)
    for key in (anna, ben):
        assert (await fleet.other.ask("luma_get_task", {"task_id": task_id}, token=key))["state"] == "completed"
        assert [one["task_id"] for one in (await fleet.one.ask("luma_list_tasks", {}, token=key))["tasks"]] == [task_id]
    assert (await fleet.one.ask("luma_get_task", {"task_id": task_id}, token="token-film"))["state"] == "completed"


async def test_another_team_does_not_see_a_task_whatever_the_backend_says(fleet: Fleet) -> None:
    anna, carl = await fleet.teams.member("film", "anna"), await fleet.teams.member("ads", "carl")
    await fleet.teams.credential("ads", "token-film")  # both teams put in one credential: the backend would answer
    await fleet.settle()
    task_id = await started(fleet.one, anna)
    fleet.clock.advance(SECONDS)
    await fleet.one.ask("luma_get_task", {"task_id": task_id}, token=anna)
    assert await missing(fleet.one, carl, task_id) == [task_id]
    assert (await fleet.other.fail("luma_get_task", {"task_id": task_id, "wait_seconds": 50}, token=carl))["code"] == (
        "not_found"
    )
    assert (await fleet.one.ask("luma_list_tasks", {}, token=carl))["tasks"] == []
    read = await fleet.one.request("resources/read", {"uri": f"luma://tasks/{task_id}"}, token=carl)
    assert "error" in read


async def test_a_team_that_allows_foreign_ids_reads_them(fleet: Fleet) -> None:
    carl = await fleet.teams.member("ads", "carl")
    task_id = await started(fleet.one, "token-ads")
    assert await missing(fleet.one, carl, task_id) == [task_id]
    await fleet.teams.directory.teams.change("ads", ACTOR, allows_foreign_ids=True)
    await fleet.settle()
    assert await missing(fleet.one, carl, task_id) == []


async def test_a_team_may_narrow_its_members_to_their_own_tasks(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    task_id = await started(fleet.one, anna)
    assert await missing(fleet.one, ben, task_id) == []
    await fleet.teams.directory.teams.change("film", ACTOR, members_see_all=False)
    await fleet.settle()
    assert await missing(fleet.one, ben, task_id) == [task_id]
    assert (await fleet.one.ask("luma_list_tasks", {}, token=ben))["tasks"] == []
    assert await missing(fleet.one, anna, task_id) == []


async def test_a_narrowed_member_neither_sees_nor_cancels_by_the_handle_of_another(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    call = {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}}
    handle = {"taskId": (await send(fleet.one, "tools/call", call, token=anna))["result"]["taskId"]}
    assert (await send(fleet.one, "tasks/get", handle, token=ben))["result"]["status"] == "working"
    await fleet.teams.directory.teams.change("film", ACTOR, members_see_all=False)
    await fleet.settle()
    for method in ("tasks/get", "tasks/cancel"):
        assert (await send(fleet.one, method, handle, token=ben))["error"]["code"] == -32602
    assert (await send(fleet.one, "tasks/get", handle, token=anna))["result"]["status"] == "working"
    assert "error" not in await send(fleet.one, "tasks/cancel", handle, token=anna)
    assert (await send(fleet.one, "tasks/get", handle, token=anna))["result"]["status"] == "cancelled"
    assert (await send(fleet.one, "tasks/get", handle, token=ben))["error"]["code"] == -32602


async def test_an_idempotency_key_belongs_to_the_member(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    mine = await fleet.one.ask("luma_generate_video", KEYED, token=anna)
    again = await fleet.other.ask("luma_generate_video", KEYED, token=anna)
    theirs = await fleet.one.ask("luma_generate_video", KEYED, token=ben)
    assert (again["task_id"], again["replayed"]) == (mine["task_id"], True)
    assert theirs["task_id"] != mine["task_id"]


@pytest.mark.parametrize("how", ["revoke", "block"])
async def test_a_revoked_or_blocked_key_is_refused_on_every_replica_within_seconds(fleet: Fleet, how: str) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    assert [await status(service, anna) for service in (fleet.one, fleet.other)] == [200, 200]
    await getattr(fleet.teams.directory.keys, how)(await fleet.teams.id_of(anna), ACTOR)
    await fleet.settle()
    assert [await status(service, anna) for service in (fleet.one, fleet.other)] == [401, 401]
    assert await status(fleet.one, ben) == 200


async def test_both_keys_work_in_the_grace_of_a_rotation(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    key, new = await fleet.teams.new_key()
    await fleet.teams.directory.keys.rotate(await fleet.teams.id_of(anna), new, 60.0, ACTOR)
    await fleet.settle()
    assert [await status(fleet.one, one) for one in (anna, key)] == [200, 200]
    fleet.clock.advance(61)
    await fleet.settle()
    assert [await status(fleet.one, one) for one in (anna, key)] == [401, 200]


@pytest.mark.parametrize("what", ["team", "member", "key"])
async def test_a_stopped_team_member_or_key_spends_nothing_and_can_read(fleet: Fleet, what: str) -> None:
    anna = await fleet.teams.member("film", "anna")
    task_id = await started(fleet.one, anna)
    directory = fleet.teams.directory
    if what == "team":
        await directory.teams.stop("film", ACTOR)
    elif what == "member":
        await directory.teams.stop_member("film", "anna", ACTOR)
    else:
        await directory.keys.stop(await fleet.teams.id_of(anna), ACTOR)
    await fleet.settle()
    for service in (fleet.one, fleet.other):
        assert (await service.fail("luma_generate_video", {"prompt": "A wolf"}, token=anna))["code"] == "stopped"
        assert await missing(service, anna, task_id) == []


async def test_a_key_that_may_only_read_spends_nothing(fleet: Fleet) -> None:
    reader = await fleet.teams.member("film", "reader", frozenset({Scope.READ}))
    assert (await fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=reader))["code"] == "forbidden"


async def test_a_team_without_a_credential_is_told_so(fleet: Fleet) -> None:
    await fleet.teams.team("new")
    dora = await fleet.teams.member("new", "dora")
    await fleet.settle()
    error = await fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=dora)
    assert error["code"] == "forbidden"
    assert "no credential" in error["message"]


@pytest.mark.parametrize(("ways", "statuses"), [("passthrough", [200, 401]), ("keys", [401, 200])])
async def test_only_configured_ways_to_authenticate_are_accepted(
    clock: HandClock, database_url: str, ways: str, statuses: list[int]
) -> None:
    values = settings(auth=ways, database_url=database_url)
    async with serving(values, sandbox(clock), clock) as service:
        teams = teams_in(service.assembly.persistence.database, clock)
        await teams.team("film", "token-film")
        anna = await teams.member("film", "anna")
        await settle(clock, service)
        assert [await status(service, token) for token in ("token-a", anna)] == statuses


async def test_unknown_and_malformed_keys_are_refused_and_never_reach_the_backend(fleet: Fleet) -> None:
    well_formed, _ = await fleet.teams.new_key()
    for key in (well_formed, mistyped(well_formed), "lmk_", "lmk_" + "a" * 49, well_formed + "0"):
        assert await status(fleet.one, key) == 401


async def test_only_the_team_that_made_a_video_extends_it(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    carl = await fleet.teams.member("ads", "carl")
    await fleet.teams.credential("ads", "token-film")
    await fleet.settle()
    task_id = await started(fleet.one, anna)
    await started(fleet.one, carl)
    fleet.clock.advance(SECONDS)
    video = await fleet.one.ask("luma_get_task", {"task_id": task_id}, token=anna)
    for tool, argument in (("luma_extend_video", "video_id"), ("luma_extend_video_from_url", "video_url")):
        extend = {"prompt": "On", argument: video[argument]}
        assert (await fleet.other.ask(tool, extend, token=ben))["task_id"]
        assert (await fleet.one.fail(tool, extend, token=carl))["code"] == "not_found"

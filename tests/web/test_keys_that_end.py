"""A team key that is revoked ends the long calls that were made with it, within five seconds."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.engine import Sandbox
from app.domain.errors import ErrorCode
from tests.support.clock import HandClock, while_time_passes
from tests.support.eventually import eventually
from tests.support.fleet import Fleet, running_fleet
from tests.support.service import LEGACY, Service, sandbox, serving, settings
from tests.support.teams import ACTOR, Teams, teams_in
from tests.web.test_subscriptions import listening

SEEN_SECONDS = 5.0


@pytest.fixture
async def fleet(clock: HandClock, database_url: str) -> AsyncIterator[Fleet]:
    async with running_fleet(clock, database_url) as fleet:
        yield fleet


async def started(service: Service, key: str) -> str:
    return str((await service.ask("luma_generate_video", {"prompt": "A fox"}, token=key))["task_id"])


async def revoke(teams: Teams, key: str) -> None:
    await teams.directory.keys.revoke(await teams.id_of(key), ACTOR)


def waits_in(service: Service) -> int:
    return int(service.assembly.metrics.registry.get_sample_value("luma_mcp_waiting_callers") or 0)


@pytest.mark.parametrize("how", ["revoked", "narrowed"])
async def test_a_stream_ends_when_its_key_does(fleet: Fleet, how: str) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    uri = f"luma://tasks/{await started(fleet.one, anna)}"
    async with listening(fleet.other.url, fleet.other.http, {"resourceSubscriptions": [uri]}, ben) as events:
        await events.next_message()
        began = fleet.clock.now
        if how == "revoked":
            await revoke(fleet.teams, ben)
        else:
            await fleet.teams.directory.teams.change("film", ACTOR, members_see_all=False)
        last = await while_time_passes(fleet.clock, events.next_message(), step=0.5)
    assert "result" in last
    assert fleet.clock.now - began <= SEEN_SECONDS


async def test_a_wait_ends_when_its_key_does(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    arguments = {"task_id": await started(fleet.one, anna), "wait_seconds": 50}
    waiting = asyncio.create_task(fleet.one.fail("luma_get_task", arguments, token=ben))
    await eventually(lambda: waits_in(fleet.one) == 1)
    began = fleet.clock.now
    await revoke(fleet.teams, ben)
    error = await while_time_passes(fleet.clock, waiting, step=0.5)
    assert error["code"] == ErrorCode.UNAUTHORIZED
    assert fleet.clock.now - began <= SEEN_SECONDS


async def test_the_rest_of_a_batch_is_not_answered_when_its_key_has_ended(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    task_id = await started(fleet.one, anna)
    messages = [
        {
            "jsonrpc": "2.0",
            "id": wait,
            "method": "tools/call",
            "params": {"name": "luma_get_task", "arguments": {"task_id": task_id, "wait_seconds": wait}},
        }
        for wait in (50, 0)
    ]
    headers = {"authorization": f"Bearer {ben}", "accept": "application/json", "mcp-protocol-version": LEGACY[0]}
    sent = fleet.one.http.post(f"{fleet.one.url}/mcp", json=messages, headers=headers)
    asking = asyncio.create_task(sent)
    await eventually(lambda: waits_in(fleet.one) == 1)
    await revoke(fleet.teams, ben)
    first, second = (await while_time_passes(fleet.clock, asking, step=0.5)).json()
    assert first["result"]["isError"] is True
    assert second["error"]["data"]["code"] == ErrorCode.UNAUTHORIZED


class Held(httpx.AsyncBaseTransport):
    """A backend whose submissions wait for the test."""

    def __init__(self, backend: Sandbox) -> None:
        self._inner = httpx.ASGITransport(sandbox_app(backend))
        self.sent = 0
        self.go_on = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/luma/videos":
            self.sent += 1
            await self.go_on.wait()
        return await self._inner.handle_async_request(request)


@pytest.mark.parametrize("how", ["revoked", "stopped"])
async def test_a_purchase_that_waits_for_its_place_is_not_sent_when_its_key_has_ended(
    clock: HandClock, how: str
) -> None:
    network = Held(sandbox(clock))
    async with serving(settings(auth="passthrough,keys"), network, clock) as service:
        teams = teams_in(service.assembly.persistence.database, clock)
        await teams.team("film", "token-film")
        fleet = Fleet(service, service, teams, clock)
        await fleet.settle()
        anna, ben = await teams.member("film", "anna"), await teams.member("film", "ben")
        places = service.assembly.backend.description.policy.generations_at_once
        first = [asyncio.create_task(started(service, anna)) for _ in range(places)]
        await eventually(lambda: network.sent == places)
        waiting = asyncio.create_task(service.fail("luma_generate_video", {"prompt": "A wolf"}, token=ben))
        in_flight = service.assembly.metrics.registry.get_sample_value
        await eventually(lambda: in_flight("luma_mcp_submissions_in_flight") == places + 1)
        if how == "revoked":
            await revoke(teams, ben)
        else:
            await teams.directory.teams.stop_member("film", "ben", ACTOR)
        await fleet.settle()
        network.go_on.set()
        error = await while_time_passes(clock, waiting)
        await asyncio.gather(*first)
    assert error["code"] == (ErrorCode.UNAUTHORIZED if how == "revoked" else ErrorCode.STOPPED)
    assert network.sent == places

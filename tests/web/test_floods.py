"""Floods over HTTP: of refused tokens from one address, and of calls over a team's limit."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from app.adapters.sql.rate_limits import SqlTeamLimits
from app.domain.rate_limit import Limits
from app.domain.sign_in_tokens import ACCESS
from app.ports.budgets import BudgetOwner
from app.services.limits.rate_limits import FLOOD_REFUSALS
from tests.support.clock import HandClock
from tests.support.issuer import Realm
from tests.support.raw_client import exchange
from tests.support.service import Service, sandbox, serving, settings
from tests.support.settling import settle
from tests.support.teams import ACTOR, Teams, teams_in
from tests.web.test_clients import shown
from tests.web.test_jwt import world_of
from tests.web.test_rate_limits import counted

MOST = 5
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "luma_list_actions", "arguments": {}}}
OFFICE, HOME = "203.0.113.7", "198.51.100.9"


class World:
    """A service with a team, and requests to it from other addresses through a proxy on this machine."""

    def __init__(self, service: Service, clock: HandClock) -> None:
        self.service, self.clock = service, clock
        self.database = service.assembly.persistence.database
        self.teams: Teams = teams_in(self.database, clock)

    async def settle(self) -> None:
        await settle(self.clock, self.service)

    async def send(self, token: str, address: str = OFFICE) -> httpx.Response:
        return await self.service.post(LIST, token=token, headers={"x-forwarded-for": address})

    async def invented(self) -> str:
        return (await self.teams.new_key())[0]


@pytest.fixture
async def world(clock: HandClock, database_url: str) -> AsyncIterator[World]:
    values = settings(auth="passthrough,keys", database_url=database_url, refused_tokens_per_minute=MOST)
    async with serving(values, sandbox(clock), clock) as service:
        world = World(service, clock)
        await world.teams.team("film", "token-film")
        await world.settle()
        yield world


@pytest.mark.parametrize(("sender", "other"), [(OFFICE, HOME), ("[2001:db8:1:2::7]", "[2001:db8:1:3::7]")])
async def test_a_forwarded_address_with_a_port_counts_as_the_address(world: World, sender: str, other: str) -> None:
    """Some gateways write the client's port into X-Forwarded-For. It differs from connection to connection."""
    bad = await world.invented()
    statuses = [(await world.send(bad, f"{sender}:{50_000 + number}")).status_code for number in range(MOST + 1)]
    assert statuses == [401] * MOST + [429]
    assert (await world.send(bad, f"{other}:50000")).status_code == 401
    assert (await world.send(bad, sender.strip("[]"))).status_code == 429


async def test_refused_tokens_of_one_address_get_429_and_valid_ones_get_through(world: World) -> None:
    anna, ben = await world.teams.member("film", "anna"), await world.teams.member("film", "ben")
    assert (await world.send(anna)).status_code == 200
    bad = await world.invented()
    assert [(await world.send(bad)).status_code for _ in range(MOST + 3)] == [401] * MOST + [429] * 3
    refused = await world.send(bad)
    assert refused.json()["error"]["data"]["code"] == "rate_limited"
    assert refused.json()["jsonrpc"] == "2.0"
    assert refused.headers["retry-after"] == "12"
    assert [(await world.send(token)).status_code for token in (anna, ben, "token-a")] == [200] * 3
    assert (await world.send(bad, HOME)).status_code == 401
    world.clock.advance(12)
    assert [(await world.send(bad)).status_code for _ in range(2)] == [401, 429]
    assert counted(world.service, "limits_reached", "refused_tokens") == 5
    assert counted(world.service, "http_refusals", "429") == 5


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_the_python_client_shows_that_it_is_throttled(world: World, mode: Any) -> None:
    bad = await world.invented()
    headers = {"authorization": f"Bearer {bad}", "x-forwarded-for": OFFICE}
    assert [(await world.send(bad)).status_code for _ in range(MOST + 1)] == [401] * MOST + [429]
    async with httpx2.AsyncClient(headers=headers) as http:
        with shown("rate_limited"):
            async with Client(
                streamable_http_client(f"{world.service.url}/mcp", http_client=http), mode=mode
            ) as client:
                await client.list_tools()


async def test_a_throttled_token_is_not_looked_up(world: World) -> None:
    invented = [await world.invented() for _ in range(MOST + 21)]
    for key in invented[: MOST + 1]:
        assert (await world.send(key)).status_code == 401
    new = await world.teams.member("film", "carl")
    assert [(await world.send(key)).status_code for key in (*invented[MOST + 1 :], new)] == [429] * 21
    world.clock.advance(1)
    assert (await world.send(new)).status_code == 200


async def test_invented_jwts_are_throttled_and_invented_backend_tokens_are_not(
    clock: HandClock, realm: Realm, database_url: str
) -> None:
    async with world_of(clock, realm, database_url, refused_tokens_per_minute=MOST) as world:
        made_up = [world.token(sub=f"nobody-{number}")[:-8] + "AAAAAAAA" for number in range(MOST + 20)]
        statuses = [await world.status(token) for token in made_up]
        assert statuses == [401] * (MOST + 1) + [429] * 19
        assert await world.status("token-a") == 200
        clock.advance(1)
        assert [await world.status(token) for token in [world.token()] * 30] == [200] * 30


async def test_tokens_with_a_prefix_of_sign_in_are_throttled_beside_passthrough(world: World) -> None:
    statuses = [(await world.send(f"{ACCESS.prefix}{number}")).status_code for number in range(MOST + 5)]
    assert statuses == [401] * (MOST + 1) + [429] * 4
    assert (await world.send("token-a")).status_code == 200


async def test_requests_without_a_token_always_get_the_challenge(world: World) -> None:
    for _ in range(MOST + 1):
        await world.send(await world.invented())
    for _ in range(3 * MOST):
        answer = await world.service.http.post(
            f"{world.service.url}/mcp", json=LIST, headers={"x-forwarded-for": OFFICE}
        )
        assert answer.status_code == 401
        assert "www-authenticate" in answer.headers


async def test_calls_that_go_on_over_the_limit_get_429_before_their_body_is_read(world: World) -> None:
    anna, ben = await world.teams.member("film", "anna"), await world.teams.member("film", "ben")
    limits = SqlTeamLimits(world.database, world.clock.sql)
    await limits.set(BudgetOwner("film", member="anna"), Limits(calls_per_minute=2), ACTOR)
    await world.settle()
    answers = [await world.service.post(CALL, token=anna) for _ in range(2 + FLOOD_REFUSALS)]
    assert {answer.status_code for answer in answers} == {200}
    refused = await world.service.post(LIST, token=anna)
    assert (refused.status_code, refused.json()["error"]["data"]["code"]) == (429, "rate_limited")
    wait = int(refused.headers["retry-after"])
    assert 55 <= wait <= 61
    head = (
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n"
        f"authorization: Bearer {anna}\r\ncontent-length: 200000\r\n\r\n"
    )
    [answer] = await exchange(world.service.url, head.encode())
    assert answer.status == 429
    assert (await world.service.post(CALL, token=ben)).status_code == 200
    assert counted(world.service, "limits_reached", "call_floods") == 2
    world.clock.advance(wait)
    await world.settle()
    result = (await world.service.post(CALL, token=anna)).json()["result"]
    assert result["isError"] is False

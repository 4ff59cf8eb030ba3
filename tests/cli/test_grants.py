"""`luma-mcp clients grants` and `clients end`: an operator sees what is connected, and ends it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.acedata_login import FakeAceData, fake_acedata
from tests.support.cli import Cli
from tests.support.clock import HandClock
from tests.support.oauth import Page, SignInFleet, sign_in_fleet
from tests.support.process import environment
from tests.support.service import KEY
from tests.support.teams import teams_in


@pytest.fixture
async def acedata() -> AsyncIterator[FakeAceData]:
    async with fake_acedata() as fake:
        yield fake


@pytest.fixture
async def fleet(acedata: FakeAceData, database_url: str) -> AsyncIterator[SignInFleet]:
    """Lend two replicas by the real clock, which the command has too."""
    async with sign_in_fleet(HandClock(), acedata, replicas=2, database_url=database_url, in_real_time=True) as lent:
        yield lent


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> Cli:
    return Cli(tmp_path, environment(database_url=database_url, secret_key=KEY), ("clients",))


async def connected(fleet: SignInFleet, name: str, user: str) -> tuple[Any, str]:
    """Return the browser of a user who has connected a client, and the access token."""
    fleet.acedata.user_id, fleet.acedata.email = user, f"{user}@example.com"
    browser = await fleet.browser()
    return browser, str((await (await fleet.registered(client_name=name)).connect(browser))["access_token"])


async def statuses(fleet: SignInFleet, token: str, wanted: int) -> list[int]:
    """Return the statuses of calls on each replica, as soon as they are `wanted`; a grant ends within five seconds.

    A replica is not asked again once it refuses, because it takes few refused tokens from one address.
    """
    found: list[int] = []
    async with asyncio.timeout(5):
        for number in (0, 1):
            while (status := await fleet.status(token, number)) != wanted:
                pass
            found.append(status)
    return found


async def ended_by_operators(fleet: SignInFleet) -> float:
    """Return how many grants the metrics of all replicas count as ended by an operator, once there are some."""
    counted = 0.0
    async with asyncio.timeout(5):
        while not counted:
            pages = [(await one.http.get(f"{one.url}/metrics")).text for one in fleet.replicas]
            lines = [line for page in pages for line in page.splitlines() if "sign_in_grants_ended_total{" in line]
            counted = sum(float(line.rpartition(" ")[2]) for line in lines if 'reason="operator"' in line)
    return counted


async def test_an_operator_ends_one_grant(fleet: SignInFleet, cli: Cli) -> None:
    _, one = await connected(fleet, "One", "user-1")
    _, other = await connected(fleet, "Other", "user-1")
    listed = {found["client"]: found for found in await cli.ask("grants")}
    assert set(listed) == {"One", "Other"}
    assert listed["One"]["account"] == "user-1@example.com"
    assert listed["One"]["person"] == listed["Other"]["person"]
    assert await statuses(fleet, one, 200) == [200, 200]
    [ended] = await cli.ask("end", listed["One"]["id"])
    assert ended["id"] == listed["One"]["id"]
    assert await statuses(fleet, one, 401) == [401, 401]
    assert await statuses(fleet, other, 200) == [200, 200]
    assert await ended_by_operators(fleet) == 1, "one replica of the two counts it"
    assert [found["client"] for found in await cli.ask("grants")] == ["Other"]
    assert (await cli.ended("end", listed["One"]["id"]))[0] == 1
    log = teams_in(fleet.one.assembly.persistence.database, fleet.clock).directory.audit
    [entry] = [entry for entry in await log.entries(100) if entry.action == "grant.revoke"]
    assert (entry.subject, entry.after) == (listed["One"]["id"], {"reason": "operator"})
    assert entry.actor.startswith("cli:")


async def test_an_operator_ends_all_grants_of_a_person(fleet: SignInFleet, cli: Cli) -> None:
    browser, mine = await connected(fleet, "One", "user-1")
    await connected(fleet, "Two", "user-1")
    late = await fleet.registered(client_name="Late")
    code = await late.code(browser)
    _, theirs = await connected(fleet, "Three", "user-2")
    for person in ("user-1@example.com", (await cli.ask("grants", "--person", "user-1@example.com"))[0]["person"]):
        assert {found["client"] for found in await cli.ask("grants", "--person", person)} == {"One", "Two"}
    assert len(await cli.ask("end", "--person", person)) == 2
    assert await statuses(fleet, mine, 401) == [401, 401]
    assert await statuses(fleet, theirs, 200) == [200, 200]
    assert (await late.exchange(code)).json()["error"] == "invalid_grant", "no grant is made with an earlier code"
    assert await ended_by_operators(fleet) == 2
    page = await browser.open(f"{fleet.issuer}/account")
    assert isinstance(page, Page)
    assert "Sign in with" in page.text, "the browser is signed out"
    assert (await cli.ended("end", "--person", person))[0] == 1


async def test_people_read_what_programs_do(fleet: SignInFleet, cli: Cli) -> None:
    await connected(fleet, "One", "user-1")
    status, printed, _ = await cli.ended("grants")
    assert (status, "user-1@example.com" in printed, "One" in printed) == (0, True, True)
    [found] = await cli.ask("grants")
    status, printed, _ = await cli.ended("end", found["id"])
    assert (status, "One" in printed) == (0, True)


@pytest.mark.parametrize("arguments", [(), ("0" * 32, "--person", "0" * 32), ("0" * 32,), ("--person", "0" * 32)])
async def test_what_cannot_be_ended_is_refused(fleet: SignInFleet, cli: Cli, arguments: tuple[str, ...]) -> None:
    assert (await cli.ended("end", *arguments))[0] == 1

"""`luma-mcp members remove` and `teams delete`: what acted for a member or a team ends on every replica."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.acedata_login import FakeAceData
from tests.support.cli import Cli
from tests.support.clock import HandClock
from tests.support.issuer import Realm
from tests.support.oauth import Browser, Page, SignInFleet, sign_in_fleet
from tests.support.process import environment
from tests.support.service import KEY

BEA = "bea@example.com"


@pytest.fixture
async def fleet(realm: Realm, database_url: str) -> AsyncIterator[SignInFleet]:
    """Lend two replicas by the real clock, which the command has too. Bea is logged in at the issuer."""
    values: dict[str, Any] = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    values |= {"auth": "passthrough,keys", "oidc_personal_teams": "on", "oidc_personal_teams_max": 1}
    clock = HandClock(time.time())
    realm.login(clock(), sub="bea", email=BEA, team=None)
    async with sign_in_fleet(
        clock, FakeAceData(), replicas=2, in_real_time=True, database_url=database_url, **values
    ) as lent:
        yield lent


@pytest.fixture
def cli(fleet: SignInFleet, realm: Realm, database_url: str, tmp_path: Path) -> Cli:
    values = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    return Cli(tmp_path, environment(database_url=database_url, secret_key=KEY, public_url=fleet.issuer, **values))


async def signed_in(fleet: SignInFleet, link: str | None = None) -> Browser:
    """Return a browser of the person who is logged in, who has joined with an invitation if there is a link."""
    browser = await fleet.browser()
    page = await browser.open(link or f"{fleet.issuer}/account")
    assert isinstance(page, Page)
    await browser.post(page.action, page.form | {"action": "join" if link else "sign-in"})
    return browser


async def until(fleet: SignInFleet, token: str, wanted: int) -> None:
    """Wait until each replica answers a call under a token so; a membership ends within five seconds."""
    async with asyncio.timeout(5):
        for number in (0, 1):
            while await fleet.status(token, number) != wanted:
                pass


async def test_an_operator_removes_a_member_whose_key_and_app_end_on_each_replica(fleet: SignInFleet, cli: Cli) -> None:
    await cli.ask("teams", "create", "film")
    browser = await signed_in(fleet, (await cli.ask("members", "invite", "film"))["link"])
    key = (await cli.ask("keys", "create", "film", BEA))["key"]
    access = str((await (await fleet.registered()).connect(browser))["access_token"])
    for token in (key, access):
        await until(fleet, token, 200)
    status, printed, complaint = await cli.ended("members", "remove", "film", BEA)
    assert (status, complaint) == (0, "")
    assert "Removed member bea@example.com from team film." in printed
    assert "Ended 1 key and 1 connected app." in printed
    for token in (key, access):
        await until(fleet, token, 401)
    assert await cli.ask("members", "list", "film") == []
    assert [one["state"] for one in await cli.ask("keys", "list", "film")] == ["revoked"]
    assert (await cli.ended("members", "remove", "film", BEA))[0] == 1


async def test_an_operator_makes_room_by_deleting_a_personal_team(fleet: SignInFleet, cli: Cli, realm: Realm) -> None:
    bea = await signed_in(fleet)
    access = str((await (await fleet.registered()).connect(bea))["access_token"])
    await until(fleet, access, 200)
    realm.login(time.time(), sub="carl", email="carl@example.com", team=None)
    shown = await (await fleet.browser()).open((await fleet.registered()).url())
    assert isinstance(shown, Page)
    carl = await fleet.browser()
    page = await carl.open(f"{fleet.issuer}/account")
    assert isinstance(page, Page)
    full = await carl.post(page.action, page.form | {"action": "sign-in"})
    assert isinstance(full, Page)
    assert full.response.status_code == 403
    assert "as many teams of people" in full.text
    metrics = [(await one.http.get(f"{one.url}/metrics")).text for one in fleet.replicas]
    assert sum('luma_mcp_limits_reached_total{limit="personal_teams"} 1.0' in one for one in metrics) == 1
    [team] = await cli.ask("teams", "list")
    status, _, complaint = await cli.ended("members", "remove", team["name"], BEA)
    assert (status, "luma-mcp teams delete" in complaint) == (1, True)
    status, printed, _ = await cli.ended("teams", "delete", team["name"])
    assert (status, "Deleted 1 personal team" in printed, team["name"] in printed) == (0, True, True)
    await until(fleet, access, 401)
    account = await bea.open(f"{fleet.issuer}/account")
    assert isinstance(account, Page)
    assert "Sign in with" in account.text, "the browser is signed out"
    assert "personal-" in (await (await signed_in(fleet)).http.get(f"{fleet.issuer}/account")).text
    assert len(await cli.ask("teams", "delete", "--unused", "0")) == 1
    assert await cli.ask("teams", "list") == []
    assert [one["action"] for one in await cli.ask("audit")].count("team.delete") == 2


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("teams", "delete"), 2),
        (("teams", "delete", "film", "--unused", "30d"), 2),
        (("teams", "delete", "film"), 1),
        (("teams", "delete", "none"), 1),
        (("teams", "delete", "--unused", "soon"), 2),
        (("members", "remove", "film", "nobody"), 1),
        (("members", "remove", "none", "nobody"), 1),
    ],
)
async def test_what_cannot_be_removed_is_refused(cli: Cli, arguments: tuple[str, ...], status: int) -> None:
    await cli.ask("teams", "create", "film")
    ended = await cli.ended(*arguments)
    assert (ended[0], ended[1]) == (status, "")
    assert "Traceback" not in ended[2]

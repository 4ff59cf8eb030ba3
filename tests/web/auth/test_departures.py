"""People leave teams, or are removed from them: their apps and keys end, and what they have spent stays."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from app.domain.access import Scope
from app.domain.teams import Member
from tests.support.clock import HandClock
from tests.support.issuer import Realm
from tests.support.login_teams import World, world_of
from tests.support.oauth import Browser, Page
from tests.support.teams import ACTOR

BEA = "bea@example.com"


@pytest.fixture
async def world(clock: HandClock, realm: Realm, database_url: str) -> AsyncIterator[World]:
    values = {"auth": "passthrough,keys,jwt", "jwt_issuer": realm.issuer, "admin": "on"}
    async with world_of(clock, realm, database_url, replicas=2, **values) as lent:
        lent.log_in("bea")
        yield lent


@dataclass(frozen=True)
class Head:
    """An administrator of the team film, over HTTP."""

    world: World
    key: str

    async def send(self, method: str, path: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        return await self.world.fleet.http.request(method, f"{self.world.fleet.issuer}/admin/v1{path}", headers=headers)

    async def remove(self, member: Member) -> httpx.Response:
        return await self.send("DELETE", f"/members/{member.id}")


@pytest.fixture
async def head(world: World) -> Head:
    made = Head(world, await world.teams.member("film", "head", frozenset(Scope)))
    await world.fleet.settle()
    return made


async def member(world: World, name: str = BEA, team: str = "film") -> Member:
    [found] = [one for one in await world.teams.directory.teams.members(team) if one.name == name]
    return found


async def statuses(world: World, token: str) -> list[int]:
    await world.fleet.settle()
    return [await world.fleet.status(token, number) for number in (0, 1)]


async def leave(world: World, browser: Browser, **headers: str) -> Page:
    """Press the button on the account page, and return the page that follows."""
    page = await world.account(browser)
    form = {"token": page.form["token"], "action": "leave"}
    shown = await browser.post(f"{world.fleet.issuer}/account", form, **headers)
    assert isinstance(shown, Page)
    return shown


async def test_an_administrator_removes_a_person_whose_apps_and_keys_end(
    world: World, head: Head, browser: Browser
) -> None:
    await world.join(browser, (await world.invited())[0])
    await world.fleet.settle()
    client, late = await world.fleet.registered(), await world.fleet.registered(client_name="Late")
    tokens = await client.connect(browser)
    code = await late.code(browser)
    key = await world.teams.key("film", BEA)
    world.log_in("carl")
    other = await world.fleet.browser()
    await world.join(other, (await world.invited())[0])
    theirs = await world.access(other)
    await world.fleet.settle()
    made = await world.fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=tokens["access_token"])
    for token in (tokens["access_token"], key, theirs):
        assert await statuses(world, token) == [200, 200]
    removed = await member(world)
    response = await head.remove(removed)
    assert (response.status_code, response.json()["name"]) == (200, BEA)
    assert await statuses(world, tokens["access_token"]) == [401, 401]
    assert await statuses(world, key) == [401, 401]
    assert await statuses(world, theirs) == [200, 200]
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await late.exchange(code)).json()["error"] == "invalid_grant", "no grant is made with an earlier code"
    assert "Sign in with" in (await world.account(browser)).text, "the browser is signed out"
    assert [one["name"] for one in (await head.send("GET", "/members")).json()] == ["carl@example.com", "head"]
    found = await world.fleet.one.ask("luma_get_task", {"task_id": made["task_id"]}, token=theirs)
    assert found["task_id"] == made["task_id"], "its tasks stay with the team"
    usage = (await head.send("GET", "/usage?by=member")).json()
    assert [row["member"] for row in usage["usage"]] == [f"{BEA} (removed)"]
    entries = [one for one in await world.teams.directory.audit.entries(100) if one.member_id == removed.id]
    assert [one.action for one in entries[-2:]] == ["key.revoke", "member.remove"]
    assert entries[-1].before == {"keys": 1, "grants": 1}
    assert (await head.remove(removed)).status_code == 404


async def test_a_removed_person_comes_back_with_an_invitation_as_the_same_member(
    world: World, head: Head, browser: Browser
) -> None:
    await world.join(browser, (await world.invited())[0])
    before = await member(world)
    await head.remove(before)
    assert (await world.sign_in(browser)).response.status_code == 403
    await world.teams.directory.teams.add_member("film", BEA, ACTOR)
    assert "film" in (await world.join(browser, (await world.invited())[0])).text
    again = await member(world, f"{BEA} {before.id[:8]}")
    assert (again.id, again.removed_at) == (before.id, None), "somebody else has the name meanwhile"
    await world.fleet.settle()
    assert await statuses(world, await world.access(browser)) == [200, 200]


async def test_a_person_whom_a_claim_names_stays_removed_until_they_are_invited(
    world: World, head: Head, browser: Browser
) -> None:
    world.log_in("bea", team="film")
    access = await world.access(browser)
    assert await statuses(world, access) == [200, 200]
    token = world.realm.token(world.clock(), sub="bea", team="film", aud=f"{world.fleet.issuer}/mcp")
    assert await statuses(world, token) == [200, 200]
    await head.remove(await member(world))
    assert await statuses(world, access) == [401, 401]
    assert await statuses(world, token) == [403, 403]
    shown = await world.approved(browser)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403
    assert "You were removed from the team film" in shown.text
    await world.teams.team("ads")
    assert (await world.join(browser, (await world.invited("ads"))[0])).response.status_code == 403, "the claim counts"
    assert "film" in (await world.join(browser, (await world.invited())[0])).text
    assert await statuses(world, await world.access(browser)) == [200, 200]
    assert await statuses(world, token) == [200, 200]


async def test_a_removal_from_a_former_team_ends_no_app(world: World, head: Head, browser: Browser) -> None:
    await world.teams.team("ads", "token-ads")
    for team in ("film", "ads"):
        await world.join(browser, (await world.invited(team))[0])
    await world.fleet.settle()
    access = await world.access(browser)
    assert (await head.remove(await member(world))).status_code == 200
    assert await statuses(world, access) == [200, 200]
    assert ">ads<" in (await world.account(browser)).text


async def test_an_administrator_does_not_remove_the_member_of_the_own_key(world: World, head: Head) -> None:
    refused = await head.remove(await member(world, "head"))
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    await world.teams.team("ads")
    await world.teams.directory.teams.add_member("ads", "anna", ACTOR)
    assert (await head.remove(await member(world, "anna", "ads"))).status_code == 404


async def test_a_person_leaves_the_team_and_comes_back_with_an_invitation(world: World, browser: Browser) -> None:
    await world.join(browser, (await world.invited())[0])
    await world.fleet.settle()
    access, key = await world.access(browser), await world.teams.key("film", BEA)
    assert await statuses(world, access) == [200, 200]
    assert "Leave the team film" in (await world.account(browser)).text
    shown = await leave(world, browser)
    assert shown.response.url.path == "/account"
    assert "You belong to no team" in shown.text
    assert BEA in shown.text, "the browser stays signed in"
    assert "No app is connected" in shown.text
    assert await statuses(world, access) == [401, 401]
    assert await statuses(world, key) == [401, 401]
    assert await world.teams.directory.teams.members("film") == []
    [left] = [one for one in await world.teams.directory.audit.entries(100) if one.action == "member.leave"]
    assert (left.subject, left.actor.partition(":")[0]) == (f"film/{BEA}", "person")
    assert (await leave(world, browser)).response.status_code == 400, "there is nothing to leave"
    assert "film" in (await world.join(browser, (await world.invited())[0])).text
    assert await statuses(world, await world.access(browser)) == [200, 200]


async def test_a_person_without_a_team_connects_no_app_with_the_session_that_stays(
    world: World, browser: Browser
) -> None:
    await world.join(browser, (await world.invited())[0])
    await leave(world, browser)
    shown = await world.approved(browser)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403
    assert "names no team" in shown.text
    assert BEA in (await world.account(browser)).text, "the browser stays signed in"
    await world.teams.team("ads", "token-ads")
    world.log_in("bea", team="ads")
    assert await statuses(world, await world.access(browser)) == [200, 200], "the login is asked again"


async def test_a_person_whom_a_claim_names_does_not_leave(world: World, browser: Browser) -> None:
    world.log_in("bea", team="film")
    access = await world.access(browser)
    assert "Leave the team" not in (await world.account(browser)).text
    shown = await leave(world, browser)
    assert shown.response.status_code == 400
    assert "Your login names this team" in shown.text
    assert await statuses(world, access) == [200, 200]


async def test_a_form_of_another_site_makes_nobody_leave(world: World, browser: Browser) -> None:
    await world.join(browser, (await world.invited())[0])
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert (await leave(world, browser, **headers)).response.status_code == 403
    stranger, page = await world.fleet.browser(), await world.account(browser)
    form = {"token": page.form["token"], "action": "leave"}
    shown = await stranger.post(f"{world.fleet.issuer}/account", form)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403
    assert [one.name for one in await world.teams.directory.teams.members("film")] == [BEA]


async def test_who_leaves_twice_at_once_has_left(world: World, browser: Browser) -> None:
    await world.join(browser, (await world.invited())[0])
    page, url = await world.account(browser), f"{world.fleet.issuer}/account"
    form = {"token": page.form["token"], "action": "leave"}
    first = await browser.http.post(url, data=form)
    again = await browser.http.post(url, data=form)
    assert (first.status_code, again.status_code) == (303, 400)
    assert len(await world.audited("member.leave")) == 1

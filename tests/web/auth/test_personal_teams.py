"""People without a team get one of their own, and put in its credential on their account page."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.domain.teams import TeamCredential
from tests.support.clock import HandClock
from tests.support.issuer import Realm
from tests.support.login_teams import World, world_of
from tests.support.oauth import Browser, Page
from tests.support.service import SECONDS
from tests.support.teams import ACTOR

TOKEN = "platform-v1-0123456789abcdef0123456789"
OTHER = "platform-v1-fedcba9876543210fedcba9876"


@pytest.fixture
async def world(clock: HandClock, realm: Realm, database_url: str) -> AsyncIterator[World]:
    values = {"oidc_personal_teams": "on", "auth": "passthrough,keys,jwt", "jwt_issuer": realm.issuer}
    async with world_of(clock, realm, database_url, replicas=2, **values) as lent:
        lent.log_in("bea")
        yield lent


async def put_in(world: World, browser: Browser, secret: str, **headers: str) -> Page:
    """Put a token in on the account page, and return the page that follows."""
    page = await world.account(browser)
    form = {"token": page.form["token"], "action": "credential", "secret": secret}
    shown = await browser.post(f"{world.fleet.issuer}/account", form, **headers)
    assert isinstance(shown, Page)
    return shown


async def team_of(world: World) -> str:
    """Return the name of the only personal team."""
    [name] = [team.name for team in await world.teams.directory.teams.all() if team.name != "film"]
    return name


async def credentials(world: World) -> list[TeamCredential]:
    return await world.teams.directory.credentials.in_use()


async def test_a_person_gets_a_team_puts_in_a_token_and_makes_a_video(world: World, browser: Browser) -> None:
    access = await world.access(browser)
    name = await team_of(world)
    assert name.startswith("personal-")
    assert len(name) == len("personal-") + 12
    error = await world.fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=access)
    assert error["code"] == "forbidden"
    assert f"{world.fleet.issuer}/account" in error["message"]
    page = await world.account(browser)
    assert name in page.text
    assert 'type="password"' in page.text
    assert 'autocomplete="off"' in page.text
    page = await put_in(world, browser, f" {TOKEN}\n")
    assert page.response.url.path == "/account"
    assert TOKEN[-4:] in page.text
    assert TOKEN not in page.text
    await world.fleet.settle()
    task_id = (await world.fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=access))["task_id"]
    world.clock.advance(SECONDS)
    await world.fleet.settle()
    found = await world.fleet.replicas[1].ask("luma_get_task", {"task_id": task_id}, token=TOKEN)
    assert found["state"] == "completed", "made with the person's token"
    [member] = await world.teams.directory.teams.members(name)
    assert member.name == "bea@example.com"
    rows = await world.audited("team.create", "member.add", "credential.add")
    assert rows[-3:-1] == [("team.create", name), ("member.add", f"{name}/bea@example.com")]
    assert rows[-1][1].startswith(f"{name}/acedata/")


async def test_a_page_that_shows_another_account_puts_no_token_in(world: World, browser: Browser) -> None:
    await world.sign_in(browser)
    old = await world.account(browser)
    assert "bea@example.com" in old.text
    url = f"{world.fleet.issuer}/account"
    await browser.post(url, {"token": old.form["token"], "action": "sign-out"})
    world.log_in("carl")
    await world.sign_in(browser)
    assert "carl@example.com" in (await world.account(browser)).text
    for change in (
        {"action": "credential", "secret": TOKEN},
        {"action": "leave"},
        {"action": "end", "grant": "0" * 32},
    ):
        shown = await browser.post(url, {"token": old.form["token"], **change})
        assert isinstance(shown, Page)
        assert shown.response.status_code == 403
        assert "another account" in shown.text
    assert [one for one in await credentials(world) if one.hint == f"…{TOKEN[-4:]}"] == []


async def test_a_new_token_replaces_the_one_before(world: World, browser: Browser) -> None:
    await world.sign_in(browser)
    name = await team_of(world)
    await put_in(world, browser, TOKEN)
    page = await put_in(world, browser, OTHER)
    assert TOKEN[-4:] not in page.text
    assert OTHER[-4:] in page.text
    mine = [one for one in await credentials(world) if one.hint == f"…{OTHER[-4:]}"]
    assert len(mine) == 1
    rows = await world.audited("credential.add", "credential.remove")
    actions = sorted(action for action, subject in rows if name in subject)
    assert actions == ["credential.add", "credential.add", "credential.remove"]
    entries = [one for one in await world.teams.directory.audit.entries(100) if one.action == "credential.remove"]
    assert [one.actor.partition(":")[0] for one in entries] == ["person"]


async def test_of_tokens_put_in_at_once_one_stays(world: World, browser: Browser) -> None:
    await world.sign_in(browser)
    page, url = await world.account(browser), f"{world.fleet.issuer}/account"
    form = {"token": page.form["token"], "action": "credential"}
    await asyncio.gather(*(browser.http.post(url, data=form | {"secret": f"{TOKEN}{number}"}) for number in range(4)))
    team = (await world.teams.directory.teams.team(await team_of(world))).id
    assert len(await world.teams.directory.credentials.of_team(team)) == 1


async def test_the_team_is_made_once_for_a_person_who_signs_in_often_and_at_once(world: World) -> None:
    callback = f"{world.fleet.issuer}/oauth/callback"
    browsers = [await world.fleet.browser(callback) for _ in range(4)]
    for browser in browsers:
        await world.sign_in_until(browser)
    answers = await asyncio.gather(*(browser.http.get(browser.visited[-1]) for browser in browsers))
    assert [answer.status_code for answer in answers] == [303] * 4
    await world.fleet.settle()
    assert "personal-" in (await world.sign_in(await world.fleet.browser())).text
    name = await team_of(world)
    assert len(await world.teams.directory.teams.members(name)) == 1
    assert len(await world.audited("team.create")) == 2, "this one and film"


async def test_people_have_teams_apart(world: World) -> None:
    bea, carl = await world.fleet.browser(), await world.fleet.browser()
    await world.sign_in(bea)
    await put_in(world, bea, TOKEN)
    world.log_in("carl")
    page = await world.sign_in(carl)
    assert TOKEN[-4:] not in page.text
    await put_in(world, carl, OTHER)
    await world.fleet.settle()
    task_id = (await world.fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=await world.access(carl)))[
        "task_id"
    ]
    world.log_in("bea")
    error = await world.fleet.one.fail("luma_get_task", {"task_id": task_id}, token=await world.access(bea))
    assert error["code"] == "not_found"


async def test_a_team_that_is_not_personal_takes_no_token_of_a_member(world: World, browser: Browser) -> None:
    await world.join(browser, (await world.invited())[0])
    assert 'type="password"' not in (await world.account(browser)).text
    shown = await put_in(world, browser, TOKEN)
    assert shown.response.status_code == 400
    assert [one.hint for one in await credentials(world)] == ["…"]


async def test_a_guest_of_a_personal_team_does_not_put_in_its_token(world: World) -> None:
    await world.sign_in(await world.fleet.browser())
    name = await team_of(world)
    world.log_in("carl")
    guest = await world.fleet.browser()
    assert name in (await world.join(guest, (await world.invited(name))[0])).text
    assert (await put_in(world, guest, TOKEN)).response.status_code == 400
    assert TOKEN[-4:] not in str(await credentials(world))


@pytest.mark.parametrize("secret", ["", "two words", "ä", "x" * 4001, "a\nb"])
async def test_what_is_no_token_is_refused(world: World, browser: Browser, secret: str) -> None:
    await world.sign_in(browser)
    shown = await put_in(world, browser, secret)
    assert shown.response.status_code == 400
    assert len(await credentials(world)) == 1, "that of film"


async def test_a_form_of_another_site_puts_nothing_in(world: World, browser: Browser) -> None:
    await world.sign_in(browser)
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert (await put_in(world, browser, TOKEN, **headers)).response.status_code == 403
    stranger = await world.fleet.browser()
    page = await world.account(browser)
    form = {"token": page.form["token"], "action": "credential", "secret": TOKEN}
    for sender, sent in ((stranger, form), (browser, form | {"token": "forged"})):
        shown = await sender.post(f"{world.fleet.issuer}/account", sent)
        assert isinstance(shown, Page)
        assert shown.response.status_code == 403
    signed_out = await world.fleet.browser()
    await put_in(world, signed_out, TOKEN)
    assert len(await credentials(world)) == 1


async def test_tokens_are_put_in_as_often_as_pages_are_opened(world: World, browser: Browser) -> None:
    await world.sign_in(browser)
    world.fleet.balancer.turns = None
    world.clock.advance(60)
    page, url = await world.account(browser), f"{world.fleet.issuer}/account"
    form = {"token": page.form["token"], "action": "credential", "secret": "two words"}
    statuses = [(await browser.http.post(url, data=form)).status_code for _ in range(60)]
    assert statuses == [400] * 59 + [429]


async def test_a_claim_and_an_invitation_count_before_the_personal_team(world: World) -> None:
    assert "personal-" in (await world.sign_in(await world.fleet.browser())).text
    await world.join(await world.fleet.browser(), (await world.invited())[0])
    assert ">film<" in (await world.sign_in(await world.fleet.browser())).text
    await world.teams.team("ads")
    world.log_in("bea", team="ads")
    assert ">ads<" in (await world.sign_in(await world.fleet.browser())).text


async def test_no_claim_leads_into_a_personal_team(world: World) -> None:
    await world.sign_in(await world.fleet.browser())
    name = await team_of(world)
    world.log_in("carl", team=name)
    page = await world.sign_in(await world.fleet.browser())
    assert name not in page.text
    assert "personal-" in page.text, "carl has a team of his own"
    assert len(await world.teams.directory.teams.members(name)) == 1


async def test_a_person_whose_claim_names_several_teams_gets_none(world: World, browser: Browser) -> None:
    await world.teams.team("ads")
    world.log_in("bea", team=["film", "ads"])
    assert (await world.sign_in(browser)).response.status_code == 403
    assert len(await world.teams.directory.teams.all()) == 2
    world.log_in("bea")
    assert "personal-" in (await world.sign_in(await world.fleet.browser())).text
    world.log_in("bea", team=["film", "ads"])
    shown = await world.sign_in(await world.fleet.browser())
    assert shown.response.status_code == 403, "nor is an own one that is there meant"


async def test_a_token_of_the_issuer_leads_to_the_team_of_its_person_and_makes_none(
    world: World, browser: Browser
) -> None:
    token = world.realm.token(world.clock(), sub="bea", team=None, aud=f"{world.fleet.issuer}/mcp")
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    refused = await world.fleet.one.post(message, token=token)
    assert refused.status_code == 403
    assert f"{world.fleet.issuer}/account" in refused.text
    await world.sign_in(browser)
    await world.fleet.settle()
    error = await world.fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=token)
    assert f"{world.fleet.issuer}/account" in error["message"]
    await put_in(world, browser, TOKEN)
    await world.fleet.settle()
    task_id = (await world.fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=token))["task_id"]
    assert (await world.fleet.one.ask("luma_get_task", {"task_id": task_id}, token=TOKEN))["task_id"] == task_id


async def test_an_operator_stops_a_personal_team(world: World, browser: Browser) -> None:
    access = await world.access(browser)
    await put_in(world, browser, TOKEN)
    await world.teams.directory.teams.stop(await team_of(world), ACTOR)
    await world.fleet.settle()
    error = await world.fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=access)
    assert error["code"] == "stopped"


async def test_without_the_setting_nobody_gets_a_team(clock: HandClock, realm: Realm, database_url: str) -> None:
    async with world_of(clock, realm, database_url) as world:
        world.log_in("bea")
        assert (await world.sign_in(await world.fleet.browser())).response.status_code == 403
        assert len(await world.teams.directory.teams.all()) == 1


async def test_no_token_of_a_person_is_kept_or_logged_in_the_clear(
    clock: HandClock, realm: Realm, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "luma.db"
    with caplog.at_level(logging.DEBUG):
        async with world_of(clock, realm, f"sqlite:///{file}", oidc_personal_teams="on") as world:
            world.log_in("bea")
            browser = await world.fleet.browser()
            access = await world.access(browser)
            await put_in(world, browser, TOKEN)
            await put_in(world, browser, "two words")
            await world.fleet.settle()
            await world.fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=access)
            metrics = (await world.fleet.one.http.get(f"{world.fleet.one.url}/metrics")).text
    own = (record for record in caplog.records if not record.name.startswith(("httpx", "httpcore")))
    log = "".join(f"{record.getMessage()} {vars(record)}" for record in own)
    dumped = "\n".join(sqlite3.connect(file).iterdump())
    assert "personal_teams" in dumped
    for text in (metrics, log, dumped):
        assert TOKEN not in text
        assert "two words" not in text

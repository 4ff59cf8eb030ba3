"""People join a team with an invitation: once each, in the browser that has opened it, and for all their apps."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from app.adapters.sql.people_tables import person_teams
from app.domain.sign_in_tokens import INVITATION
from app.services.sign_in.flow import CONSENT_SECONDS
from tests.support.clock import HandClock
from tests.support.databases import empty_database
from tests.support.issuer import Realm
from tests.support.login_teams import World, world_of
from tests.support.oauth import Browser, Page
from tests.support.postgres_server import PostgresServer
from tests.support.service import SECONDS
from tests.support.teams import ACTOR


@pytest.fixture
async def world(clock: HandClock, realm: Realm, database_url: str) -> AsyncIterator[World]:
    async with world_of(
        clock, realm, database_url, replicas=2, auth="passthrough,keys,jwt", jwt_issuer=realm.issuer
    ) as lent:
        lent.log_in("bea")
        yield lent


async def test_an_invited_person_joins_and_makes_a_video_with_the_teams_credential(
    world: World, browser: Browser
) -> None:
    link, invitation = await world.invited(note="for Bea")
    page = await browser.open(link)
    assert isinstance(page, Page)
    assert "film" in page.text
    account = await world.join(browser, link)
    assert account.response.url.path == "/account"
    assert "film" in account.text
    assert "bea@example.com" in account.text
    await world.fleet.settle()
    access = await world.access(browser)
    task_id = (await world.fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=access))["task_id"]
    world.clock.advance(SECONDS)
    await world.fleet.settle()
    found = await world.fleet.replicas[1].ask("luma_get_task", {"task_id": task_id}, token="token-film")
    assert found["state"] == "completed"
    [member] = await world.teams.directory.teams.members("film")
    assert member.name == "bea@example.com"
    assert await world.audited("member.invite", "member.add", "member.join", "invitation.end") == [
        ("member.invite", f"film/{invitation.id}"),
        ("member.add", "film/bea@example.com"),
        ("member.join", "film/bea@example.com"),
    ]
    [joined] = [one for one in await world.teams.directory.audit.entries(100) if one.action == "member.join"]
    assert (joined.member_id, joined.after) == (member.id, {"invitation": invitation.id})
    assert joined.actor == f"issuer:{world.realm.issuer}"
    assert await world.teams.directory.invitations.of_team("film") == []


async def test_the_page_leaks_no_code(world: World, browser: Browser) -> None:
    link, _ = await world.invited()
    page = await browser.open(link)
    assert isinstance(page, Page)
    headers = page.response.headers
    assert headers["referrer-policy"] == "strict-origin"
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    code = link.partition("=")[2]
    assert code not in page.text
    await browser.post(page.action, page.form)
    assert browser.visited[0].startswith(world.realm.issuer)
    for url in browser.visited:
        assert code not in url


async def test_used_expired_ended_and_forged_invitations_get_the_same_page(world: World, browser: Browser) -> None:
    used, _ = await world.invited()
    await world.join(browser, used)
    expired, _ = await world.invited(seconds=60)
    ended, invitation = await world.invited()
    await world.teams.directory.invitations.end(invitation.id, ACTOR)
    world.clock.advance(61)
    page = f"{world.fleet.issuer}/join"
    unknown = INVITATION.encode(b"x" * INVITATION.size)
    wrong = [f"{page}?invitation={code}" for code in (unknown, unknown[:-1] + "0", "lmi_", "'", "%00", "x" * 3000)]
    shown = [await browser.open(link) for link in (used, expired, ended, *wrong, page, f"{page}?other=1")]
    assert {(one.response.status_code, one.text) for one in shown if isinstance(one, Page)} == {
        (403, shown[0].text if isinstance(shown[0], Page) else "")
    }


@pytest.mark.parametrize("what", ["expired", "ended", "used"])
async def test_an_invitation_that_ends_during_the_login_lets_nobody_in(
    world: World, browser: Browser, what: str
) -> None:
    link, invitation = await world.invited(seconds=60)
    page = await browser.open(link)
    assert isinstance(page, Page)
    if what == "expired":
        world.clock.advance(61)
    elif what == "ended":
        await world.teams.directory.invitations.end(invitation.id, ACTOR)
    else:
        await world.join(await world.fleet.browser(), link)
        world.log_in("carl")
    shown = await browser.post(page.action, page.form)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403
    members = await world.teams.directory.teams.members("film")
    assert [one.name for one in members] == (["bea@example.com"] if what == "used" else [])
    assert "film" not in (await world.account(browser)).text


async def test_of_two_people_at_once_one_joins(world: World) -> None:
    link, _ = await world.invited()
    callback = f"{world.fleet.issuer}/oauth/callback"
    returns = []
    browsers = [await world.fleet.browser(callback) for _ in range(2)]
    for browser, subject in zip(browsers, ("bea", "carl"), strict=True):
        world.log_in(subject)
        page = await browser.open(link)
        assert isinstance(page, Page)
        await browser.post(page.action, page.form)
        returns.append(browser.visited[-1])
    answers = await asyncio.gather(*(browser.http.get(url) for browser, url in zip(browsers, returns, strict=True)))
    assert sorted(answer.status_code for answer in answers) == [303, 403]
    assert len(await world.teams.directory.teams.members("film")) == 1
    assert len(await world.audited("member.join")) == 1


async def test_a_form_from_elsewhere_leads_nowhere(world: World, browser: Browser) -> None:
    link, _ = await world.invited()
    page = await browser.open(link)
    assert isinstance(page, Page)
    thief = await world.fleet.browser()
    await thief.open(link)
    forms: list[tuple[Browser, dict[str, str], dict[str, str]]] = [
        (thief, page.form, {}),
        (browser, {"action": "join"}, {}),
        (browser, {"token": "forged"}, {}),
        (browser, {"token": "x" * 20_000}, {}),
        (browser, page.form, {"origin": "https://evil.example"}),
        (browser, page.form, {"sec-fetch-site": "cross-site"}),
        (await world.fleet.browser(), page.form, {}),
    ]
    for sender, form, headers in forms:
        shown = await sender.post(page.action, form, **headers)
        assert isinstance(shown, Page)
        assert shown.response.status_code == 403
    world.clock.advance(CONSENT_SECONDS)
    shown = await browser.post(page.action, page.form)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403, "the page was open for too long"
    assert await world.teams.directory.teams.members("film") == []


async def test_a_return_in_another_browser_joins_nobody(world: World) -> None:
    link, _ = await world.invited()
    victim, thief = await world.fleet.browser(f"{world.fleet.issuer}/oauth/callback"), await world.fleet.browser()
    page = await victim.open(link)
    assert isinstance(page, Page)
    await victim.post(page.action, page.form)
    await thief.open(link)
    shown = await thief.open(victim.visited[-1])
    assert isinstance(shown, Page)
    assert shown.response.status_code == 400
    assert await world.teams.directory.teams.members("film") == []


async def test_a_teams_name_is_shown_as_text(world: World, browser: Browser) -> None:
    name = '"><script>alert(1)</script>'
    await world.teams.team(name)
    link, _ = await world.invited(name)
    page = await browser.open(link)
    account = await world.join(browser, link)
    for shown in (page, account):
        assert isinstance(shown, Page)
        assert "<script" not in shown.text
        assert "&lt;script&gt;alert(1)" in shown.text


async def test_a_claim_counts_before_an_invitation(world: World, browser: Browser) -> None:
    await world.teams.team("ads")
    link, _ = await world.invited("ads")
    world.log_in("bea", team="film")
    shown = await world.join(browser, link)
    assert shown.response.status_code == 403
    assert "film" in shown.text
    world.log_in("bea")
    assert "ads" in (await world.join(browser, link)).text, "the invitation was not used up"
    world.log_in("bea", team="film")
    assert ">film<" in (await world.sign_in(await world.fleet.browser())).text
    world.log_in("bea", team=["film", "ads"])
    assert ">ads<" in (await world.sign_in(await world.fleet.browser())).text, "of several teams, the one joined"
    world.log_in("carl", team=["film", "ads"])
    shown = await world.sign_in(await world.fleet.browser())
    assert shown.response.status_code == 403


async def test_a_second_invitation_moves_the_person_and_their_apps(world: World, browser: Browser) -> None:
    await world.teams.team("ads", "token-ads")
    await world.join(browser, (await world.invited())[0])
    await world.fleet.settle()
    access = await world.access(browser)
    first = (await world.fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=access))["task_id"]
    assert "ads" in (await world.join(browser, (await world.invited("ads"))[0])).text
    await world.fleet.settle()
    for replica in world.fleet.replicas:
        assert (await replica.fail("luma_get_task", {"task_id": first}, token=access))["code"] == "not_found"
    second = (await world.fleet.one.ask("luma_generate_video", {"prompt": "A wolf"}, token=access))["task_id"]
    assert (await world.fleet.one.ask("luma_get_task", {"task_id": second}, token="token-ads"))["task_id"] == second
    joined = await world.audited("member.join", "member.leave")
    assert joined == [
        ("member.join", "film/bea@example.com"),
        ("member.leave", "film/bea@example.com"),
        ("member.join", "ads/bea@example.com"),
    ]
    assert "film" in (await world.join(browser, (await world.invited())[0])).text
    assert len(await world.teams.directory.teams.members("film")) == 1, "the same member as before"


async def test_a_person_whose_team_is_gone_is_told_so_on_the_account_page(world: World, browser: Browser) -> None:
    await world.join(browser, (await world.invited())[0])
    database = world.fleet.one.assembly.persistence.database
    await database.run(lambda connection: connection.execute(delete(person_teams)))
    page = await world.account(browser)
    assert page.response.status_code == 200
    assert "film" not in page.text
    assert "sign in again" in page.text


async def test_stopping_the_member_counts_for_their_apps(world: World, browser: Browser) -> None:
    await world.join(browser, (await world.invited())[0])
    await world.fleet.settle()
    access = await world.access(browser)
    await world.teams.directory.teams.stop_member("film", "bea@example.com", ACTOR)
    await world.fleet.settle()
    error = await world.fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=access)
    assert error["code"] == "stopped"


async def test_a_token_of_the_issuer_belongs_to_the_team_that_its_person_has_joined(
    world: World, browser: Browser
) -> None:
    def token(subject: str) -> str:
        audience = f"{world.fleet.issuer}/mcp"
        return world.realm.token(world.clock(), sub=subject, team=None, aud=audience, preferred_username=subject)

    assert await world.fleet.status(token("bea")) == 403
    await world.join(browser, (await world.invited())[0])
    await world.fleet.settle()
    task_id = (await world.fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=token("bea")))["task_id"]
    found = await world.fleet.replicas[1].ask("luma_get_task", {"task_id": task_id}, token="token-film")
    assert found["task_id"] == task_id
    assert await world.fleet.status(token("carl")) == 403
    assert len(await world.teams.directory.teams.members("film")) == 1


async def test_pages_of_invitations_are_limited_by_address(world: World) -> None:
    url = f"{world.fleet.one.url}/join"
    statuses = [(await world.fleet.http.get(url)).status_code for _ in range(61)]
    assert statuses == [403] * 60 + [429]
    assert (await world.fleet.http.post(url, data={"token": "x"})).status_code == 429


async def test_a_person_who_declines_the_login_keeps_the_invitation(world: World, browser: Browser) -> None:
    link, _ = await world.invited()
    world.realm.fail(returned={"error": "access_denied"})
    shown = await world.join(browser, link)
    assert shown.response.url.path == "/account"
    assert "Sign in with" in shown.text
    world.realm.fail()
    assert "film" in (await world.join(browser, link)).text


async def test_an_outage_of_the_database_leaves_the_invitation_open(
    clock: HandClock, realm: Realm, fragile_postgres: PostgresServer
) -> None:
    async with world_of(clock, realm, await empty_database(fragile_postgres)) as world:
        world.log_in("bea")
        link, _ = await world.invited()
        browser = await world.fleet.browser(f"{world.fleet.issuer}/oauth/callback")
        page = await browser.open(link)
        assert isinstance(page, Page)
        await browser.post(page.action, page.form)
        fragile_postgres.stop()
        for url in (browser.visited[-1], link):
            assert (await browser.http.get(url)).status_code == 503
        fragile_postgres.start()
        account = await world.join(await world.fleet.browser(), link)
        assert "film" in account.text


async def test_no_invitation_is_kept_or_logged_in_the_clear(
    clock: HandClock, realm: Realm, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "luma.db"
    with caplog.at_level(logging.DEBUG):
        async with world_of(clock, realm, f"sqlite:///{file}") as world:
            world.log_in("bea")
            browser = await world.fleet.browser()
            link, _ = await world.invited()
            await world.join(browser, link)
            open_link, _ = await world.invited()
            metrics = (await world.fleet.one.http.get(f"{world.fleet.one.url}/metrics")).text
            cookies = [str(cookie.value) for cookie in browser.http.cookies.jar]
    codes = [one.partition("=")[2] for one in (link, open_link)]
    own = (record for record in caplog.records if not record.name.startswith(("httpx", "httpcore")))
    log = "".join(f"{record.getMessage()} {vars(record)}" for record in own)
    dumped = "\n".join(sqlite3.connect(file).iterdump())
    assert "person_teams" in dumped
    for secret in [*codes, *(code[4:] for code in codes), *cookies]:
        assert secret not in metrics
        assert secret not in dumped
        assert secret not in log
    assert "bea@example.com" not in metrics


@pytest.mark.parametrize("values", [{"sign_in": "off", "auth": "passthrough,jwt"}])
async def test_without_sign_in_there_is_no_page(
    clock: HandClock, realm: Realm, database_url: str, values: dict[str, Any]
) -> None:
    async with world_of(clock, realm, database_url, jwt_issuer=realm.issuer, **values) as world:
        assert (await world.fleet.http.get(f"{world.fleet.issuer}/join")).status_code == 404

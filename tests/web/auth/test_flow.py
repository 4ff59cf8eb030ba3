"""The whole flow of a sign-in, from the authorization request to a tool call."""

import pytest

from app.domain.access import Scope
from tests.support.oauth import LOCAL_REDIRECT, Browser, Page, SignInFleet
from tests.support.service import SECONDS


async def test_a_person_connects_a_client_which_then_makes_a_video(fleet: SignInFleet, browser: Browser) -> None:
    client = await fleet.registered()
    tokens = await client.connect(browser)
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 3600, "read generate")
    access = tokens["access_token"]
    started = await fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=access)
    fleet.clock.advance(SECONDS)
    found = await fleet.one.ask("luma_get_task", {"task_id": started["task_id"]}, token=access)
    assert found["state"] == "completed"
    listed = await fleet.one.ask("luma_list_tasks", {}, token=access)
    assert [task["task_id"] for task in listed["tasks"]] == [started["task_id"]]


async def test_the_client_never_gets_the_backend_credential(fleet: SignInFleet, browser: Browser) -> None:
    tokens = await (await fleet.registered()).connect(browser)
    credential = fleet.acedata.credentials[0]["token"]
    upstream = [*fleet.acedata.access_tokens, *fleet.acedata.refresh_tokens, credential]
    assert not [secret for secret in upstream if secret in str(tokens)]
    assert fleet.acedata.credentials[0]["name"] == f"luma-mcp {fleet.issuer.removeprefix('http://')}"


async def test_every_step_may_be_answered_by_another_replica(pair: SignInFleet, browser: Browser) -> None:
    client = await pair.registered()
    page = await browser.open(client.url())
    assert isinstance(page, Page)
    pair.use(1)
    answer = await browser.press(page, "approve")
    assert isinstance(answer, dict)
    pair.use(0)
    tokens = (await client.exchange(answer["code"])).json()
    assert await pair.status(tokens["access_token"], 1) == 200
    pair.use(1)
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    assert [await pair.status(refreshed["access_token"], number) for number in (0, 1)] == [200, 200]


async def test_the_consent_page_names_the_app_its_redirect_and_the_account(
    fleet: SignInFleet, browser: Browser
) -> None:
    client = await fleet.registered(client_name="Claude Code")
    first = await browser.open(client.url())
    assert isinstance(first, Page)
    for said in ("Claude Code", "this computer", "127.0.0.1", "costs credits", "AceDataCloud", "read_only"):
        assert said in first.text
    await browser.press(first, "approve")
    again = await browser.open(client.url())
    assert isinstance(again, Page)
    assert "fox@example.com" in again.text


async def test_the_same_browser_is_asked_for_each_client_and_not_logged_in_again(
    fleet: SignInFleet, browser: Browser
) -> None:
    await (await fleet.registered()).connect(browser)
    other = await fleet.registered(client_name="Another")
    assert (await other.connect(browser))["access_token"]
    assert len(fleet.acedata.authorized) == 1
    assert len(fleet.acedata.credentials) == 1
    await other.connect(browser, prompt="login")
    assert len(fleet.acedata.authorized) == 2


async def test_a_person_may_grant_read_access_only(fleet: SignInFleet, browser: Browser) -> None:
    client = await fleet.registered()
    page = await browser.open(client.url(scope="read generate offline_access openid"))
    assert isinstance(page, Page)
    answer = await browser.press(page, "approve", read_only="1")
    assert isinstance(answer, dict)
    tokens = (await client.exchange(answer["code"])).json()
    assert tokens["scope"] == Scope.READ
    challenge = await fleet.lacks_scope("luma_generate_video", {"prompt": "A fox"}, tokens["access_token"])
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="read generate"' in challenge


@pytest.mark.parametrize("where", ["here", "at the login"])
async def test_a_person_who_declines_goes_back_to_the_client(fleet: SignInFleet, browser: Browser, where: str) -> None:
    client = await fleet.registered()
    fleet.acedata.doubts.denies = where == "at the login"
    page = await browser.open(client.url())
    assert isinstance(page, Page)
    answer = await browser.press(page, "deny" if where == "here" else "approve")
    assert isinstance(answer, dict)
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", client.state, fleet.issuer)
    assert fleet.acedata.credentials == []


async def test_passthrough_tokens_work_beside_access_tokens(fleet: SignInFleet, browser: Browser) -> None:
    tokens = await (await fleet.registered()).connect(browser)
    task = await fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token="token-a")
    assert await fleet.status("token-a") == 200
    answer = await fleet.one.ask("luma_list_tasks", {}, token=tokens["access_token"])
    assert answer["tasks"] == []
    assert task["task_id"]


async def test_access_tokens_are_never_sent_to_the_backend(fleet: SignInFleet, browser: Browser) -> None:
    client = await fleet.registered()
    tokens = await client.connect(browser)
    for token in (tokens["refresh_token"], "lat_", "lat_invented", tokens["access_token"] + "0", "lac_x"):
        assert await fleet.status(token) == 401


async def test_two_people_are_two_tenants(fleet: SignInFleet) -> None:
    client = await fleet.registered()
    first = await client.connect(await fleet.browser())
    fleet.acedata.user_id, fleet.acedata.email = "user-2", "wolf@example.com"
    second = await client.connect(await fleet.browser())
    task = await fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=first["access_token"])
    listed = await fleet.one.ask("luma_list_tasks", {}, token=second["access_token"])
    assert listed["tasks"] == []
    again = await client.connect(await fleet.browser())
    assert (await fleet.one.ask("luma_list_tasks", {}, token=again["access_token"]))["tasks"] == []
    fleet.acedata.user_id = "user-1"
    mine = await client.connect(await fleet.browser())
    listed = await fleet.one.ask("luma_list_tasks", {}, token=mine["access_token"])
    assert [one["task_id"] for one in listed["tasks"]] == [task["task_id"]], "the account is the tenant, not the grant"


async def test_a_redirect_keeps_the_clients_own_query(fleet: SignInFleet, browser: Browser) -> None:
    client = fleet.client(redirect_uri=f"{LOCAL_REDIRECT}?tenant=a%26b")
    await client.register()
    page = await browser.open(client.url())
    assert isinstance(page, Page)
    answer = await browser.press(page, "approve")
    assert isinstance(answer, dict)
    assert answer["tenant"] == "a&b"
    assert (await client.exchange(answer["code"])).status_code == 200

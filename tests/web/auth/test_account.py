"""The account page: the list of connected apps, ending a grant, and signing out."""

import re

from tests.support.clock import while_time_passes
from tests.support.oauth import Browser, Page, SignInFleet


async def account(fleet: SignInFleet, browser: Browser) -> Page:
    shown = await browser.open(f"{fleet.issuer}/account")
    assert isinstance(shown, Page)
    assert shown.response.status_code == 200
    return shown


async def act(fleet: SignInFleet, browser: Browser, page: Page, action: str, **more: str) -> Page:
    shown = await browser.post(f"{fleet.issuer}/account", {"token": page.form["token"], "action": action, **more})
    assert isinstance(shown, Page)
    return shown


async def test_a_person_sees_what_is_connected_and_ends_one_app(pair: SignInFleet, browser: Browser) -> None:
    one, other = await pair.registered(client_name="One"), await pair.registered(client_name="Other")
    mine, theirs = await one.connect(browser), await other.connect(browser, scope="read")
    assert [await pair.status(mine["access_token"], number) for number in (0, 1)] == [200, 200]
    await while_time_passes(pair.clock, pair.clock.sleep(70.0), step=1.0)
    page = await account(pair, browser)
    for said in ("fox@example.com", "One", "Other", "127.0.0.1", "last used", "not used yet", "may see videos"):
        assert said in page.text
    sections = page.text.split("<section")[1:]
    [section] = [section for section in sections if ">One<" in section]
    grant_id = re.search(r'name="grant" value="([0-9a-f]{32})"', section)
    assert grant_id is not None
    page = await act(pair, browser, page, "end", grant=grant_id[1])
    assert ">One<" not in page.text
    await pair.settle()
    assert [await pair.status(mine["access_token"], number) for number in (0, 1)] == [401, 401]
    assert await pair.status(theirs["access_token"]) == 200


async def test_a_person_signs_in_there_and_out_again(fleet: SignInFleet, browser: Browser) -> None:
    page = await account(fleet, browser)
    assert "Sign in with" in page.text
    page = await act(fleet, browser, page, "sign-in")
    assert "fox@example.com" in page.text
    tokens = await (await fleet.registered()).connect(browser)
    page = await act(fleet, browser, await account(fleet, browser), "sign-out")
    assert "Sign in with" in page.text
    assert await fleet.status(tokens["access_token"]) == 200, "apps stay connected"


async def test_a_person_cannot_end_the_grant_of_another(fleet: SignInFleet) -> None:
    victim, thief = await fleet.browser(), await fleet.browser()
    tokens = await (await fleet.registered()).connect(victim)
    listed = await account(fleet, victim)
    grant_id = re.search(r'name="grant" value="([0-9a-f]{32})"', listed.text)
    assert grant_id is not None
    fleet.acedata.user_id = "user-2"
    page = await act(fleet, thief, await account(fleet, thief), "sign-in")
    await act(fleet, thief, page, "end", grant=grant_id[1])
    stolen = await thief.post(f"{fleet.issuer}/account", {"token": listed.form["token"], "action": "sign-out"})
    assert isinstance(stolen, Page)
    assert stolen.response.status_code == 403
    await fleet.settle()
    assert await fleet.status(tokens["access_token"]) == 200


async def test_a_form_of_another_site_changes_nothing(fleet: SignInFleet, browser: Browser) -> None:
    await (await fleet.registered()).connect(browser)
    page = await account(fleet, browser)
    form = {"token": page.form["token"], "action": "sign-out"}
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        shown = await browser.post(f"{fleet.issuer}/account", form, **headers)
        assert isinstance(shown, Page)
        assert shown.response.status_code == 403
    assert "fox@example.com" in (await account(fleet, browser)).text

"""Sign-in with an OpenID issuer: the ID token names the person, a claim the team, and the team has the credential."""

from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.adapters.sql.rate_limits import SqlTeamLimits
from app.domain.rate_limit import Limits
from app.ports.budgets import BudgetOwner
from app.services.sign_in.liveness import CHECK_INTERVAL_SECONDS
from tests.support.acedata_login import FakeAceData
from tests.support.clock import HandClock, while_time_passes
from tests.support.issuer import Realm, written
from tests.support.issuer_app import new_private_key, public_jwk
from tests.support.oauth import Browser, Page, SignInFleet, sign_in_fleet
from tests.support.service import SECONDS
from tests.support.teams import ACTOR, Teams, teams_in


class World:
    """A fleet whose people sign in with a realm, and its team film."""

    def __init__(self, fleet: SignInFleet, teams: Teams, realm: Realm) -> None:
        self.fleet, self.teams, self.realm, self.clock = fleet, teams, realm, fleet.clock

    async def approved(self, browser: Browser) -> Page | dict[str, str]:
        """Have a person approve a new client, and return where that has led."""
        page = await browser.open((await self.fleet.registered()).url())
        assert isinstance(page, Page)
        return await browser.press(page, "approve")


@pytest.fixture
async def world(clock: HandClock, realm: Realm, database_url: str) -> AsyncIterator[World]:
    values: dict[str, Any] = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    realm.login(clock())
    async with sign_in_fleet(clock, FakeAceData(), database_url=database_url, **values) as fleet:
        teams = teams_in(fleet.one.assembly.persistence.database, clock)
        await teams.team("film", "token-film")
        lent = World(fleet, teams, realm)
        await fleet.settle()
        yield lent


async def test_a_member_signs_in_and_makes_a_video_with_the_teams_credential(world: World, browser: Browser) -> None:
    tokens = await (await world.fleet.registered()).connect(browser)
    service = world.fleet.one
    task_id = (await service.ask("luma_generate_video", {"prompt": "A fox"}, token=tokens["access_token"]))["task_id"]
    world.clock.advance(SECONDS)
    await world.fleet.settle()
    found = await service.ask("luma_get_task", {"task_id": task_id}, token="token-film")
    assert found["state"] == "completed", "made with the team's credential"
    [member] = await world.teams.directory.teams.members("film")
    assert member.name == "anna@example.com"
    page = await browser.open(f"{world.fleet.issuer}/account")
    assert isinstance(page, Page)
    assert "anna@example.com" in page.text


async def test_pkce_and_a_nonce_protect_the_login_and_no_resource_is_forwarded(world: World, browser: Browser) -> None:
    await (await world.fleet.registered()).connect(browser)
    login = next(url for url in browser.visited if "/authorize?" in url and world.realm.issuer in url)
    for said in ("nonce=", "code_challenge=", "code_challenge_method=S256", "scope=openid"):
        assert said in login
    assert "resource" not in login
    [form] = world.realm.forms()
    assert form["code_verifier"]


@pytest.mark.parametrize("where", ["post", "basic"])
async def test_a_confidential_client_sends_its_secret_where_the_issuer_takes_it(
    clock: HandClock, realm: Realm, database_url: str, browser: Browser, where: str
) -> None:
    realm.login(clock())
    realm.fail(metadata={"token_endpoint_auth_methods_supported": [f"client_secret_{where}"]})
    values: dict[str, Any] = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    async with sign_in_fleet(
        clock, FakeAceData(), database_url=database_url, oidc_client_secret="s3cret:%+", **values
    ) as fleet:
        await teams_in(fleet.one.assembly.persistence.database, clock).team("film", "token-film")
        await fleet.settle()
        await (await fleet.registered()).connect(browser)
    [form] = realm.forms()
    assert form.get("client_secret") == ("s3cret:%+" if where == "post" else None)
    sent = b64decode(form["basic"].removeprefix("Basic ")) if "basic" in form else None
    assert sent == (b"luma:s3cret%3A%25%2B" if where == "basic" else None), "form-encoded (RFC 6749, section 2.3.1)"


async def test_a_member_who_is_stopped_spends_nothing_within_seconds(world: World, browser: Browser) -> None:
    tokens = await (await world.fleet.registered()).connect(browser)
    access = tokens["access_token"]
    assert await world.fleet.status(access) == 200
    await world.teams.directory.teams.stop_member("film", "anna@example.com", ACTOR)
    await world.fleet.settle()
    error = await world.fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=access)
    assert error["code"] == "stopped"


async def test_member_limits_and_the_confirmation_threshold_apply_after_sign_in(world: World, browser: Browser) -> None:
    access = (await (await world.fleet.registered()).connect(browser))["access_token"]
    await world.teams.directory.teams.change("film", ACTOR, asks_above=0)
    limits = SqlTeamLimits(world.fleet.one.assembly.persistence.database, world.clock.sql)
    await limits.set(BudgetOwner("film", member="anna@example.com"), Limits(calls_per_minute=2), ACTOR)
    await world.fleet.settle()
    unconfirmed = await world.fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=access)
    assert unconfirmed["code"] == "forbidden"
    assert "confirm" in unconfirmed["message"]
    await world.fleet.one.ask("luma_list_actions", {}, token=access)
    assert (await world.fleet.one.fail("luma_list_actions", {}, token=access))["code"] == "rate_limited"


@pytest.mark.parametrize("team", [None, "other", ["film", "ads"]])
async def test_a_person_without_exactly_one_team_gets_an_error_page_and_no_grant(
    world: World, browser: Browser, team: object
) -> None:
    await world.teams.team("ads")
    await world.fleet.settle()
    world.realm.login(world.clock(), team=team)
    shown = await world.approved(browser)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403
    assert "team" in shown.text


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": "\ud800"},
        {"aud": "another"},
        {"aud": ["luma", "another"]},
        {"azp": "another"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"exp": None},
        {"iat": 9_999_999_999},
        {"sub": None},
        {"sub": ""},
    ],
)
async def test_a_forged_id_token_signs_nobody_in(world: World, browser: Browser, changes: dict[str, Any]) -> None:
    world.realm.login(world.clock(), **changes)
    shown = await world.approved(browser)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403


@pytest.mark.parametrize("algorithm", [["RS256"], {}, None, "none", "HS256"])
async def test_an_id_token_of_another_algorithm_signs_nobody_in(
    world: World, browser: Browser, algorithm: object
) -> None:
    id_token = written({"alg": algorithm, "kid": "rsa-1"}, world.realm.claims(world.clock(), aud="luma"))
    world.realm.fail(token={"status": 200, "body": {"access_token": "opaque", "id_token": id_token}})
    shown = await world.approved(browser)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403


async def test_an_id_token_of_an_unpublished_key_signs_nobody_in(world: World, browser: Browser) -> None:
    world.realm.add_key("secret-key")
    world.realm.withdraw_key("secret-key")
    world.realm.publish(public_jwk("secret-key", "ES256", new_private_key("ES256")))
    world.realm.login(world.clock(), key="secret-key")
    await while_time_passes(world.clock, world.clock.sleep(11.0), step=1.0)
    shown = await world.approved(browser)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403


async def test_a_login_callback_with_another_issuer_is_refused(world: World, browser: Browser) -> None:
    world.realm.fail(returned={"iss": "https://evil.example"})
    shown = await world.approved(browser)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 403


async def test_an_outage_of_the_issuer_is_shown_to_the_person(world: World, browser: Browser) -> None:
    world.realm.fail(status=503)
    shown = await world.approved(browser)
    assert isinstance(shown, Page)
    assert shown.response.status_code == 503


async def test_a_refresh_token_in_an_error_does_not_replace_that_of_the_login(world: World, browser: Browser) -> None:
    client = await world.fleet.registered()
    tokens = await client.connect(browser)
    world.realm.fail(token={"status": 400, "body": {"error": "temporarily_unavailable", "refresh_token": "junk"}})
    for _ in range(2):
        world.clock.advance(CHECK_INTERVAL_SECONDS)
        await world.fleet.settle()
        tokens = (await client.refresh(tokens["refresh_token"])).json()
        world.realm.fail()
    assert await world.fleet.status(tokens["access_token"]) == 200


async def test_a_dead_login_ends_its_grants(world: World, browser: Browser) -> None:
    client = await world.fleet.registered()
    tokens = await client.connect(browser)
    world.clock.advance(CHECK_INTERVAL_SECONDS)
    await world.fleet.settle()
    tokens = (await client.refresh(tokens["refresh_token"])).json()
    assert await world.fleet.status(tokens["access_token"]) == 200
    world.realm.sign_out()
    world.clock.advance(CHECK_INTERVAL_SECONDS)
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    await world.fleet.settle()
    assert await world.fleet.status(tokens["access_token"]) == 401

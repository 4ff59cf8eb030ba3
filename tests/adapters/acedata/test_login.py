"""Sign-in with AceDataCloud, in each variant that its documentation leaves open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from app.adapters.acedata.login import AceDataLogin, ClientRegistration
from app.adapters.acedata.login_http import LoginHttp
from app.adapters.acedata.platform import LUMA_SERVICE_ID, Platform
from app.ports.sign_in import Liveness, LoginAttempt, LoginRefused, LoginUnavailable, SignedIn
from tests.support.acedata_login import CLIENT_ID, FakeAceData, fake_acedata
from tests.support.clock import HandClock

ATTEMPT = LoginAttempt("a-state", "v" * 43, "a-nonce")
SCOPES = "openid email applications:write credentials:write offline_access"
DAY = 86_400.0


@pytest.fixture
async def fake() -> AsyncIterator[FakeAceData]:
    async with fake_acedata() as served:
        yield served


@asynccontextmanager
async def login_at(fake: FakeAceData, clock: HandClock, scopes: str = SCOPES) -> AsyncIterator[AceDataLogin]:
    platform = Platform(LoginHttp(fake.platform_url, "tests"), "luma-mcp luma.example.com")
    app = ClientRegistration(CLIENT_ID, "https://luma.example.com/oauth/callback", scopes)
    login = AceDataLogin(fake.auth_url, LoginHttp(fake.auth_url, "tests"), platform, app, clock)
    try:
        yield login
    finally:
        await login.aclose()


async def signed_in(login: AceDataLogin) -> SignedIn:
    async with httpx.AsyncClient() as browser:
        shown = await browser.get(await login.begin(ATTEMPT))
    returned = dict(parse_qsl(urlsplit(shown.headers["location"]).query))
    assert returned["state"] == ATTEMPT.state
    return await login.finish(ATTEMPT, returned)


async def test_a_sign_in_returns_the_person_with_a_credential(fake: FakeAceData, clock: HandClock) -> None:
    async with login_at(fake, clock) as login:
        person = await signed_in(login)
    assert (person.issuer, person.subject, person.secrets.label) == (fake.auth_url, "user-1", "fox@example.com")
    assert person.secrets.credential == fake.credentials[0]["token"]
    assert fake.credentials[0]["name"] == "luma-mcp luma.example.com"
    assert fake.applications[0]["scope"] == "Global"
    assert fake.authorized[0]["scope"] == SCOPES
    assert not [secret for secret in (fake.credentials[0]["token"], "header.") if secret in repr(person)]


@pytest.mark.parametrize("doubt", [None, "lists_results"])
async def test_an_existing_credential_of_this_service_is_reused(
    fake: FakeAceData, clock: HandClock, doubt: str | None
) -> None:
    if doubt:
        setattr(fake.doubts, doubt, True)
    async with login_at(fake, clock) as login:
        first, second = await signed_in(login), await signed_in(login)
    assert first.secrets.credential == second.secrets.credential
    assert len(fake.credentials) == len(fake.applications) == 1


async def test_a_credential_of_another_program_is_not_used(fake: FakeAceData, clock: HandClock) -> None:
    fake.applications.append({"id": "app-1", "disabled": False})
    fake.credentials.append({"id": "c-0", "name": "My script", "application_id": "app-1", "token": "a" * 32})
    async with login_at(fake, clock) as login:
        person = await signed_in(login)
    assert person.secrets.credential != "a" * 32
    assert fake.credentials[1]["application_id"] == "app-1"


async def test_a_new_credential_is_created_if_the_token_is_masked(fake: FakeAceData, clock: HandClock) -> None:
    fake.doubts.masks_tokens = True
    async with login_at(fake, clock) as login:
        first, second = await signed_in(login), await signed_in(login)
    assert first.secrets.credential == fake.credentials[0]["token"]
    assert second.secrets.credential == fake.credentials[1]["token"]


async def test_an_application_for_luma_is_created_if_a_global_one_is_refused(
    fake: FakeAceData, clock: HandClock
) -> None:
    fake.doubts.refuses_global = True
    async with login_at(fake, clock) as login:
        await signed_in(login)
    assert fake.applications[0]["service_id"] == LUMA_SERVICE_ID


@pytest.mark.parametrize("doubt", ["unverified", "names_nobody"])
async def test_an_account_that_cannot_be_used_is_refused_with_a_sentence(
    fake: FakeAceData, clock: HandClock, doubt: str
) -> None:
    setattr(fake.doubts, doubt, True)
    async with login_at(fake, clock) as login:
        with pytest.raises(LoginRefused):
            await signed_in(login)


async def test_a_code_that_cannot_be_exchanged_is_refused(fake: FakeAceData, clock: HandClock) -> None:
    async with login_at(fake, clock) as login:
        for returned in ({}, {"code": "invented"}, {"code": "x", "iss": "https://evil.example"}):
            with pytest.raises(LoginRefused):
                await login.finish(ATTEMPT, returned)


async def test_a_login_server_that_does_not_answer_is_unavailable(fake: FakeAceData, clock: HandClock) -> None:
    fake.doubts.is_down = True
    async with login_at(fake, clock) as login:
        with pytest.raises(LoginUnavailable):
            await login.finish(ATTEMPT, {"code": "x"})
    fake.auth_url = "http://127.0.0.1:1"
    async with login_at(fake, clock) as login:
        with pytest.raises(LoginUnavailable):
            await login.finish(ATTEMPT, {"code": "x"})


async def test_a_login_is_dead_if_it_or_its_credential_was_deleted(fake: FakeAceData, clock: HandClock) -> None:
    async with login_at(fake, clock) as login:
        person = await signed_in(login)
        assert await login.check_liveness(person.secrets) == (Liveness.ALIVE, person.secrets)
        fake.credentials.clear()
        assert (await login.check_liveness(person.secrets))[0] is Liveness.DEAD
        person = await signed_in(login)
        fake.access_tokens.clear()
        liveness, renewed = await login.check_liveness(person.secrets)
        assert liveness is Liveness.ALIVE
        assert renewed.login != person.secrets.login
        fake.sign_out_everywhere()
        assert (await login.check_liveness(renewed))[0] is Liveness.DEAD


async def test_an_expired_access_token_is_renewed(fake: FakeAceData, clock: HandClock) -> None:
    async with login_at(fake, clock) as login:
        person = await signed_in(login)
        clock.advance(16 * DAY)
        liveness, renewed = await login.check_liveness(person.secrets)
        assert liveness is Liveness.ALIVE
        assert await login.check_liveness(renewed) == (Liveness.ALIVE, renewed)


async def test_an_expired_login_without_a_refresh_token_is_unknown_and_not_dead(
    fake: FakeAceData, clock: HandClock
) -> None:
    async with login_at(fake, clock, "openid email") as login:
        person = await signed_in(login)
        clock.advance(16 * DAY)
        assert (await login.check_liveness(person.secrets))[0] is Liveness.UNKNOWN
        fake.doubts.is_down = True
        assert (await login.check_liveness(person.secrets))[0] is Liveness.UNKNOWN

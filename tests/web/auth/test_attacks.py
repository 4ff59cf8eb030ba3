"""Attacks on sign-in. Each test does what an attacker would do, and checks that it fails."""

import json
import re
from html import unescape
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest

from app.domain.oauth import s256
from app.domain.sign_in import OAuthClient, Registration
from app.web.auth.requests import Cookies
from tests.support.oauth import LOCAL_REDIRECT, Browser, Client, Page, SignInFleet

CLAUDE = "https://claude.ai/api/mcp/auth_callback"


def error_of(response: httpx.Response) -> str:
    assert response.status_code in (400, 401), response.text
    error: str = response.json()["error"]
    return error


def page_of(shown: Page | dict[str, str], status: int) -> Page:
    """Return a page for people with this status, which nobody was redirected to."""
    assert isinstance(shown, Page), shown
    assert shown.response.status_code == status, shown.text
    assert shown.response.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in shown.response.headers["content-security-policy"]
    return shown


async def opened(browser: Browser, client: Client, **changes: str | None) -> Page:
    return page_of(await browser.open(client.url(**changes)), 200)


class TestCodes:
    async def test_a_code_that_is_used_twice_ends_its_grant(self, fleet: SignInFleet, browser: Browser) -> None:
        client = await fleet.registered()
        code = await client.code(browser)
        tokens = (await client.exchange(code)).json()
        assert error_of(await client.exchange(code)) == "invalid_grant"
        assert error_of(await client.refresh(tokens["refresh_token"])) == "invalid_grant"
        await fleet.settle()
        assert await fleet.status(tokens["access_token"]) == 401

    async def test_a_code_is_refused_for_another_client(self, fleet: SignInFleet, browser: Browser) -> None:
        client, thief = await fleet.registered(), await fleet.registered(client_name="Thief")
        code = await client.code(browser)
        assert error_of(await thief.exchange(code, code_verifier=client.verifier)) == "invalid_grant"
        assert (await client.exchange(code)).status_code == 200, "its owner may still use it"

    async def test_a_code_is_refused_with_the_verifier_of_another_sign_in(
        self, fleet: SignInFleet, browser: Browser
    ) -> None:
        client = await fleet.registered()
        code = await client.code(browser)
        other = Client(fleet.issuer, fleet.http, client.client_id)
        assert error_of(await other.exchange(code)) == "invalid_grant"
        assert error_of(await other.exchange(code, code_verifier="")) == "invalid_grant"
        assert error_of(await other.exchange(code, code_verifier=s256(client.verifier))) == "invalid_grant"

    async def test_a_code_is_bound_to_its_redirect_uri(self, fleet: SignInFleet, browser: Browser) -> None:
        client = await fleet.registered()
        code = await client.code(browser)
        refused = await client.exchange(code, redirect_uri="http://127.0.0.1:53112/callback")
        assert error_of(refused) == "invalid_grant"

    async def test_a_code_ends_after_two_minutes(self, fleet: SignInFleet, browser: Browser) -> None:
        client = await fleet.registered()
        code = await client.code(browser)
        fleet.clock.advance(121)
        assert error_of(await client.exchange(code)) == "invalid_grant"

    @pytest.mark.parametrize("code", ["", "lac_", "x" * 20_000, "lac_" + "a" * 49, "\r\nSet-Cookie: a=b"])
    async def test_invented_codes_are_refused(self, fleet: SignInFleet, code: str) -> None:
        assert error_of(await (await fleet.registered()).exchange(code)) == "invalid_grant"

    @pytest.mark.parametrize(
        "changes",
        [
            {"code_challenge": None, "code_challenge_method": None},
            {"code_challenge_method": "plain"},
            {"code_challenge_method": None},
            {"code_challenge": "short"},
        ],
    )
    async def test_pkce_cannot_be_left_out_or_weakened(
        self, fleet: SignInFleet, browser: Browser, changes: dict[str, str | None]
    ) -> None:
        client = await fleet.registered()
        answer = await browser.open(client.url(**changes))
        assert isinstance(answer, dict)
        assert (answer["error"], answer["state"], answer["iss"]) == ("invalid_request", client.state, fleet.issuer)


class TestRedirects:
    @pytest.mark.parametrize(
        "uri",
        [
            "https://evil.example/callback",
            "http://127.0.0.1:53111/callback/../evil",
            "http://127.0.0.1:53111/callback?x=1",
            "http://127.0.0.1:53111/callback#x",
            "http://127.0.0.1:53111@evil.example/callback",
            "http://127.0.0.1.evil.example:53111/callback",
            "//evil.example/callback",
            "javascript:alert(1)",
            "http://127.0.0.1:53111/callback\r\nSet-Cookie: a=b",
            "",
        ],
    )
    async def test_no_redirect_leads_to_an_unregistered_uri(
        self, fleet: SignInFleet, browser: Browser, uri: str
    ) -> None:
        client = await fleet.registered()
        shown = page_of(await browser.open(client.url(redirect_uri=uri)), 400)
        assert "evil" not in shown.text
        assert browser.visited == []

    @pytest.mark.parametrize("uri", ["javascript:alert(1)", "http://evil.example/cb", "data:text/html,x", "app://cb"])
    async def test_dangerous_redirects_cannot_be_registered(self, fleet: SignInFleet, uri: str) -> None:
        response = await fleet.client(redirect_uri=uri).register()
        assert error_of(response) == "invalid_redirect_uri"

    async def test_an_unknown_client_is_shown_a_page(self, fleet: SignInFleet, browser: Browser) -> None:
        client = fleet.client(client_id="unknown")
        page_of(await browser.open(client.url()), 400)
        page_of(await browser.open(client.url(client_id=None)), 400)
        assert error_of(await client.exchange("lac_x")) == "invalid_client"
        assert browser.visited == []

    @pytest.mark.parametrize("redirect_uri", ["https://evil.example/cb", "HTTPS://evil.example/cb"])
    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"prompt": "none"}, "interaction_required"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"resource": "https://evil.example/mcp"}, "invalid_target"),
        ],
    )
    async def test_no_refused_request_redirects_to_a_website_that_anybody_has_registered(
        self, fleet: SignInFleet, browser: Browser, redirect_uri: str, changes: dict[str, str], error: str
    ) -> None:
        client = fleet.client(redirect_uri=redirect_uri)
        await client.register()
        shown = page_of(await browser.open(client.url(**changes)), 400)
        assert browser.visited == []
        [link] = re.findall(r'href="([^"]+)" rel="noreferrer">evil\.example</a>', shown.text)
        target, _, query = unescape(link).partition("?")
        reported = dict(parse_qsl(query))
        assert target.lower() == redirect_uri.lower()
        assert (reported["error"], reported["state"], reported["iss"]) == (error, client.state, fleet.issuer)

    async def test_a_refused_request_redirects_to_a_website_that_the_operator_has_registered(
        self, fleet: SignInFleet
    ) -> None:
        sign_in = fleet.one.assembly.sign_in
        assert sign_in is not None
        await sign_in.store.clients.register(OAuthClient("manual", "Claude", (CLAUDE,), Registration.MANUAL), None)
        client, browser = fleet.client(client_id="manual", redirect_uri=CLAUDE), await fleet.browser(CLAUDE)
        answer = await browser.open(client.url(prompt="none"))
        assert isinstance(answer, dict)
        assert (answer["error"], answer["state"]) == ("interaction_required", client.state)

    async def test_a_repeated_parameter_is_an_error_redirect(self, fleet: SignInFleet, browser: Browser) -> None:
        client = await fleet.registered()
        answer = await browser.open(client.url() + "&" + urlencode({"redirect_uri": "https://evil.example/cb"}))
        assert isinstance(answer, dict)
        assert answer["error"] == "invalid_request"


class TestOtherResources:
    async def test_a_token_for_another_resource_is_never_issued(self, fleet: SignInFleet, browser: Browser) -> None:
        client = await fleet.registered()
        answer = await browser.open(client.url(resource="https://evil.example/mcp"))
        assert isinstance(answer, dict)
        assert answer["error"] == "invalid_target"
        code = await client.code(browser)
        assert error_of(await client.exchange(code, resource="https://evil.example/mcp")) == "invalid_target"
        tokens = (await client.exchange(code)).json()
        refused = await client.refresh(tokens["refresh_token"], resource="https://evil.example/mcp")
        assert error_of(refused) == "invalid_target"
        long = await client.refresh(tokens["refresh_token"], resource=f"{fleet.issuer}/mcp/?{'x' * 2_000}")
        assert error_of(long) == "invalid_target", "its host could take half a second to normalize"
        assert (await client.refresh(tokens["refresh_token"], resource=f"{fleet.issuer}/mcp/?x=1")).status_code == 200

    async def test_every_answer_names_its_issuer(self, fleet: SignInFleet, browser: Browser) -> None:
        """A mix-up is noticed by clients that compare `iss` (RFC 9207)."""
        client = await fleet.registered()
        page = await opened(browser, client)
        for decision in ("approve", "deny"):
            answer = await browser.press(page, decision)
            assert isinstance(answer, dict)
            assert answer["iss"] == fleet.issuer


class TestConsent:
    async def test_consent_to_one_client_counts_for_no_other(self, fleet: SignInFleet, browser: Browser) -> None:
        await (await fleet.registered()).connect(browser)
        thief = fleet.client(redirect_uri="https://evil.example/cb")
        await thief.register(client_name="Thief")
        shown = await opened(browser, thief)
        assert "Thief" in shown.text
        assert "evil.example" in shown.text

    async def test_a_login_callback_in_another_browser_grants_nothing(self, fleet: SignInFleet) -> None:
        """Consent phishing: an attacker agrees, and has somebody else log in."""
        thief = await fleet.registered()
        attacker, victim = await fleet.browser(), await fleet.browser()
        page = await opened(attacker, thief)
        agreed = await attacker.http.post(page.action, data=page.form | {"decision": "approve"})
        login_page = agreed.headers["location"]
        page_of(await victim.open(login_page), 403)
        await victim.open(thief.url())  # the victim has a cookie of this site as well
        page_of(await victim.open(login_page), 400)
        assert fleet.acedata.credentials == []

    async def test_a_form_of_another_browser_is_refused(self, fleet: SignInFleet) -> None:
        client = await fleet.registered()
        attacker, victim = await fleet.browser(), await fleet.browser()
        page = await opened(attacker, client)
        page_of(await victim.press(page, "approve"), 403)
        await victim.open(client.url())
        page_of(await victim.press(page, "approve"), 400)

    @pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
    async def test_a_form_of_another_site_is_refused(
        self, fleet: SignInFleet, browser: Browser, headers: dict[str, str]
    ) -> None:
        page = await opened(browser, await fleet.registered())
        page_of(await browser.post(page.action, page.form | {"decision": "approve"}, **headers), 403)

    @pytest.mark.parametrize("form", [{}, {"request": ""}, {"request": "x.y"}, {"request": "a" * 30_000}])
    async def test_a_form_without_its_sealed_request_is_refused(
        self, fleet: SignInFleet, browser: Browser, form: dict[str, str]
    ) -> None:
        await opened(browser, await fleet.registered())
        page_of(await browser.post(f"{fleet.issuer}/authorize", {"decision": "approve", **form}), 400)

    async def test_each_render_has_a_token_of_its_own_and_all_of_them_work(
        self, fleet: SignInFleet, browser: Browser
    ) -> None:
        client = await fleet.registered()
        first, second = await opened(browser, client), await opened(browser, client)
        assert first.form["request"] != second.form["request"]
        assert isinstance(await browser.press(first, "approve"), dict)
        assert isinstance(await browser.press(second, "approve"), dict)

    async def test_a_page_that_was_open_for_too_long_is_refused(self, fleet: SignInFleet, browser: Browser) -> None:
        page = await opened(browser, await fleet.registered())
        fleet.clock.advance(901)
        page_of(await browser.press(page, "approve"), 400)

    async def test_the_account_on_the_page_is_the_one_that_agrees(self, fleet: SignInFleet, browser: Browser) -> None:
        client = await fleet.registered()
        await client.connect(browser)
        page = await opened(browser, client)
        account = page_of(await browser.open(f"{fleet.issuer}/account"), 200)
        for action in ("sign-out", "sign-in"):
            fleet.acedata.user_id, fleet.acedata.email = "user-2", "wolf@example.com"
            await browser.post(f"{fleet.issuer}/account", {"token": account.form["token"], "action": action})
        page_of(await browser.press(page, "approve"), 400)
        page = await opened(browser, client)
        assert "wolf@example.com" in page.text
        assert isinstance(await browser.press(page, "approve"), dict)

    async def test_pages_cannot_be_framed_cached_or_made_to_load_anything(
        self, fleet: SignInFleet, browser: Browser
    ) -> None:
        client = await fleet.registered()
        for url in (client.url(), f"{fleet.issuer}/account", f"{fleet.issuer}/authorize"):
            shown = await browser.open(url)
            assert isinstance(shown, Page)
            headers = shown.response.headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert (headers["x-frame-options"], headers["cache-control"]) == ("DENY", "no-store")
            assert "<script" not in shown.text
            assert "src=" not in shown.text

    async def test_a_clients_name_is_text_and_nothing_else(self, fleet: SignInFleet, browser: Browser) -> None:
        name = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
        client = await fleet.registered(client_name=name)
        page = await opened(browser, client)
        assert "<script" not in page.text
        assert "<img" not in page.text
        assert name[:40] in unescape(page.text)
        await browser.press(page, "approve")
        code = await client.code(browser)
        await client.exchange(code)
        account = page_of(await browser.open(f"{fleet.issuer}/account"), 200)
        assert "<img" not in account.text

    async def test_a_state_cannot_add_headers_or_parameters(self, fleet: SignInFleet, browser: Browser) -> None:
        client = await fleet.registered()
        client.state = "a\r\nSet-Cookie: x=y&code=stolen#"
        page = await opened(browser, client)
        answer = await browser.press(page, "deny")
        assert isinstance(answer, dict)
        assert answer["state"] == client.state
        assert "code" not in answer

    async def test_a_login_callback_with_an_invented_state_is_refused(
        self, fleet: SignInFleet, browser: Browser
    ) -> None:
        await opened(browser, await fleet.registered())
        for query in ({}, {"state": "x", "code": "y"}, {"error": "access_denied"}):
            page_of(await browser.open(f"{fleet.issuer}/oauth/callback?{urlencode(query)}"), 400)

    async def test_a_login_callback_works_once(self, fleet: SignInFleet, browser: Browser) -> None:
        page = await opened(browser, await fleet.registered())
        await browser.press(page, "approve")
        callback = next(url for url in browser.visited if "/oauth/callback" in url)
        page_of(await browser.open(callback), 400)

    async def test_a_login_callback_of_another_server_is_refused(self, fleet: SignInFleet, browser: Browser) -> None:
        page = await opened(browser, await fleet.registered())
        agreed = await browser.http.post(page.action, data=page.form | {"decision": "approve"})
        login = await browser.http.get(agreed.headers["location"])
        page_of(await browser.open(login.headers["location"] + "&iss=https%3A%2F%2Fevil.example"), 403)


class TestCookies:
    async def test_over_https_cookies_belong_to_this_host_alone(self) -> None:
        cookies = Cookies.of("https://luma.example.com")
        assert cookies.is_secure
        assert cookies.browser_name.startswith("__Host-")
        assert cookies.session_name.startswith("__Host-")

    async def test_cookies_cannot_be_read_by_scripts_or_sent_from_other_sites(
        self, fleet: SignInFleet, browser: Browser
    ) -> None:
        page = await opened(browser, await fleet.registered())
        cookie = page.response.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "domain" not in cookie


class TestClients:
    async def test_a_client_with_a_secret_needs_it(self, fleet: SignInFleet, browser: Browser) -> None:
        client = await fleet.registered(token_endpoint_auth_method="client_secret_post")
        code = await client.code(browser)
        secret = client.extra.pop("client_secret")
        assert error_of(await client.exchange(code)) == "invalid_client"
        assert error_of(await client.exchange(code, client_secret="wrong")) == "invalid_client"
        basic = await client.http.post(
            f"{fleet.issuer}/token",
            auth=(client.client_id, secret),
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": LOCAL_REDIRECT,
                "code_verifier": client.verifier,
            },
        )
        assert basic.status_code == 200, "some clients send it in the header, whatever they have registered"
        refused = await client.http.post(f"{fleet.issuer}/token", auth=(client.client_id, "wrong"))
        assert refused.status_code in (400, 401)

    async def test_a_flood_of_registrations_ends_at_the_limit_and_is_told_when(self, fleet: SignInFleet) -> None:
        statuses = []
        for number in range(14):
            response = await fleet.client().register(client_name=f"Client {number}")
            statuses.append(response.status_code)
        assert statuses == [201] * 10 + [429] * 4
        assert int(response.headers["retry-after"]) > 0
        fleet.clock.advance(3600)
        assert (await fleet.client().register(client_name="Later")).status_code == 201

    async def test_a_client_that_registers_again_and_again_is_one(self, fleet: SignInFleet) -> None:
        ids = set()
        for port in range(50_000, 50_020):
            client = fleet.client(redirect_uri=f"http://localhost:{port}/oauth/callback")
            assert (await client.register(client_name="Gemini CLI MCP Client")).status_code == 201
            ids.add(client.client_id)
        assert len(ids) == 1
        metrics = (await fleet.one.http.get(f"{fleet.one.url}/metrics")).text
        assert 'luma_mcp_sign_in_clients_total{method="dynamic"} 1.0' in metrics, "it was new once"

    async def test_a_flood_of_authorization_requests_ends_at_the_limit(
        self, fleet: SignInFleet, browser: Browser
    ) -> None:
        client = await fleet.registered()
        for _ in range(60):
            page_of(await browser.open(client.url()), 200)
        shown = page_of(await browser.open(client.url()), 429)
        assert int(shown.response.headers["retry-after"]) > 0
        fleet.clock.advance(60)
        page_of(await browser.open(client.url()), 200)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"null",
            b"{",
            b'{"redirect_uris": "x"}',
            b'{"redirect_uris": []}',
            b'{"redirect_uris": [1]}',
            json.dumps({"redirect_uris": [CLAUDE] * 11}).encode(),
            b'{"redirect_uris": ["' + b"a" * 40_000 + b'"]}',
            json.dumps({"redirect_uris": [CLAUDE], "token_endpoint_auth_method": "tls_client_auth"}).encode(),
        ],
    )
    async def test_a_malformed_registration_is_refused(self, fleet: SignInFleet, body: bytes) -> None:
        response = await fleet.http.post(f"{fleet.issuer}/register", content=body)
        assert error_of(response) in ("invalid_client_metadata", "invalid_redirect_uri", "invalid_request")

    @pytest.mark.parametrize(
        ("content", "media_type"),
        [
            (b'{"grant_type": "refresh_token"}', "application/json"),
            (b"grant_type=refresh_token&client_id=a&client_id=b", "application/x-www-form-urlencoded"),
            (b"a" * 40_000, "application/x-www-form-urlencoded"),
            (b"\xff\xfe=%ff", "application/x-www-form-urlencoded"),
            (b"&".join(b"%d=1" % number for number in range(100)), "application/x-www-form-urlencoded"),
        ],
    )
    async def test_a_malformed_form_is_refused(self, fleet: SignInFleet, content: bytes, media_type: str) -> None:
        response = await fleet.http.post(f"{fleet.issuer}/token", content=content, headers={"content-type": media_type})
        assert error_of(response) in ("invalid_request", "invalid_client")

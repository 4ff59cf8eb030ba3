"""Discovery by OAuth clients: metadata, challenges and CORS, and their absence if sign-in is off."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.acedata_login import FakeAceData
from tests.support.clock import HandClock
from tests.support.oauth import SignInFleet, sign_in_settings
from tests.support.service import sandbox, serving, settings

AUTHORIZATION_SERVER = ("oauth-authorization-server", "openid-configuration")


@pytest.mark.parametrize("document", AUTHORIZATION_SERVER)
@pytest.mark.parametrize("suffix", ["", "/mcp"])
async def test_the_metadata_are_the_same_wherever_clients_look(fleet: SignInFleet, document: str, suffix: str) -> None:
    response = await fleet.http.get(f"{fleet.issuer}/.well-known/{document}{suffix}")
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    found = response.json()
    assert found["issuer"] == fleet.issuer, "character by character, without a slash at its end"
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["authorization_response_iss_parameter_supported"] is True
    assert found["client_id_metadata_document_supported"] is True
    assert {"none", "client_secret_post", "private_key_jwt"} <= set(found["token_endpoint_auth_methods_supported"])
    assert "offline_access" in found["scopes_supported"]
    for name in ("authorization", "token", "registration", "revocation"):
        assert found[f"{name}_endpoint"].startswith(f"{fleet.issuer}/")


@pytest.mark.parametrize("suffix", ["", "/mcp"])
async def test_the_resource_names_the_issuer_and_its_own_url(fleet: SignInFleet, suffix: str) -> None:
    found = (await fleet.http.get(f"{fleet.issuer}/.well-known/oauth-protected-resource{suffix}")).json()
    assert found["resource"] == f"{fleet.issuer}/mcp"
    assert found["authorization_servers"] == [fleet.issuer]
    assert found["scopes_supported"] == ["read", "generate"]


@pytest.mark.parametrize("method", ["HEAD", "GET", "POST", "DELETE"])
async def test_the_401_of_a_call_without_a_token_names_the_metadata(fleet: SignInFleet, method: str) -> None:
    response = await fleet.http.request(method, f"{fleet.issuer}/mcp")
    assert response.status_code == 401
    challenge = response.headers["www-authenticate"]
    assert f'resource_metadata="{fleet.issuer}/.well-known/oauth-protected-resource/mcp"' in challenge
    assert 'scope="read generate"' in challenge
    assert "error" not in challenge
    expired = await fleet.http.request(method, f"{fleet.issuer}/mcp", headers={"authorization": "Bearer lat_x"})
    assert 'error="invalid_token"' in expired.headers["www-authenticate"]


@pytest.mark.parametrize("method", ["HEAD", "GET", "POST", "DELETE"])
async def test_the_read_only_url_is_a_resource_of_its_own(fleet: SignInFleet, method: str) -> None:
    """Gemini CLI and VS Code compare `resource` with the URL that they were given, character by character."""
    url = f"{fleet.issuer}/mcp/readonly"
    for headers in ({}, {"authorization": "Bearer lat_x"}):
        response = await fleet.http.request(method, url, headers=headers)
        assert response.status_code == 401
        challenge = response.headers["www-authenticate"]
        metadata = f"{fleet.issuer}/.well-known/oauth-protected-resource/mcp/readonly"
        assert f'resource_metadata="{metadata}", scope="read"' in challenge
    for path in (metadata, f"{url}/.well-known/oauth-protected-resource"):
        found = (await fleet.http.get(path)).json()
        assert found["resource"] == url
        assert found["authorization_servers"] == [fleet.issuer]
        assert found["scopes_supported"] == ["read"]
    for document in AUTHORIZATION_SERVER:
        server = (await fleet.http.get(f"{fleet.issuer}/.well-known/{document}/mcp/readonly")).json()
        assert server["issuer"] == fleet.issuer
        assert server["protected_resources"] == [f"{fleet.issuer}/mcp", url]


@pytest.mark.parametrize("path", ["/token", "/revoke", "/register"])
async def test_cors_allows_any_origin_at_the_token_endpoints(fleet: SignInFleet, path: str) -> None:
    asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
    preflight = await fleet.http.options(f"{fleet.issuer}{path}", headers=asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "*")
    refused = await fleet.http.post(f"{fleet.issuer}{path}", content=b"", headers={"origin": "https://app.example"})
    assert refused.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in refused.headers


async def test_with_sign_in_off_every_path_stays_404(clock: HandClock) -> None:
    async with serving(settings(public_url="https://luma.example.com"), sandbox(clock), clock) as service:
        for path in ("/authorize", "/token", "/register", "/revoke", "/oauth/callback", "/account"):
            assert (await service.http.get(service.url + path)).status_code == 404
            assert (await service.http.post(service.url + path)).status_code == 404
        for document in (*AUTHORIZATION_SERVER, "oauth-protected-resource"):
            assert (await service.http.get(f"{service.url}/.well-known/{document}")).status_code == 404
        refused = await service.http.post(f"{service.url}/mcp")
        assert refused.headers["www-authenticate"] == 'Bearer realm="luma-mcp"'


async def test_an_issuer_with_a_path_is_found_in_every_form(
    clock: HandClock, acedata: FakeAceData, database_url: str
) -> None:
    values = sign_in_settings("http://127.0.0.1:1/luma", acedata, database_url=database_url)
    async with serving(values, sandbox(clock), clock) as service:
        found: list[Any] = []
        for path in (
            "/.well-known/oauth-authorization-server/luma",
            "/.well-known/oauth-authorization-server/luma/mcp",
            "/.well-known/openid-configuration/luma",
            "/luma/.well-known/openid-configuration",
            "/luma/.well-known/oauth-authorization-server",
        ):
            response = await service.http.get(service.url + path, headers={"host": "127.0.0.1:1"})
            found.append(response.json()["issuer"])
        assert found == ["http://127.0.0.1:1/luma"] * 5
        assert urlsplit(found[0]).path == "/luma"


async def test_the_page_at_the_root_offers_to_connect_and_names_who_needs_a_header(fleet: SignInFleet) -> None:
    page = (await fleet.http.get(f"{fleet.issuer}/")).text
    connect, _, tokens = page.partition("With a token instead")
    for said in ("press Connect", "ChatGPT", "Cursor", "VS Code", "AceDataCloud", f"{fleet.issuer}/mcp"):
        assert said in connect
    assert "Authorization" not in connect
    for said in ("curl", "Authorization", f'href="{fleet.issuer}/account"'):
        assert said in tokens

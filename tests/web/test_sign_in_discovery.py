"""Protected resource metadata and challenges, with an identity provider and without sign-in."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from mcp.shared.auth import ProtectedResourceMetadata

from app.domain.access import Scope
from tests.support.clock import HandClock, while_time_passes
from tests.support.issuer import Realm
from tests.support.service import ERAS, Service, envelope, sandbox, serving, settings
from tests.support.teams import Teams, teams_in

PUBLIC = "https://luma.example.com"
METADATA = f"{PUBLIC}/.well-known/oauth-protected-resource/mcp"
METHODS = ["GET", "HEAD", "POST", "DELETE", "PUT"]
GENERATE = ("tools/call", {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}})
READ = ("tools/call", {"name": "luma_list_actions", "arguments": {}})


@asynccontextmanager
async def world_of(clock: HandClock, realm: Realm, url: str, **more: Any) -> AsyncIterator[tuple[Service, Teams]]:
    usual = {"auth": "passthrough,keys,jwt", "jwt_issuer": realm.issuer, "public_url": PUBLIC, "database_url": url}
    async with serving(settings(**{**usual, **more}), sandbox(clock), clock) as service:
        teams = teams_in(service.assembly.persistence.database, clock)
        await teams.team("film", "token-film")
        await while_time_passes(clock, _opened(service), step=0.5)
        yield service, teams


async def _opened(service: Service) -> None:
    assert service.assembly.directory is not None
    while service.assembly.directory.digest() is None:
        await service.http.get(f"{service.url}/livez")


@pytest.fixture
async def service(clock: HandClock, realm: Realm, database_url: str) -> AsyncIterator[Service]:
    async with world_of(clock, realm, database_url) as (running, _):
        yield running


def parameters(response: httpx.Response) -> dict[str, str]:
    """Return the parameters of a Bearer challenge."""
    scheme, _, rest = response.headers["www-authenticate"].partition(" ")
    assert scheme == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"', rest))


async def call(service: Service, token: str, method: str, params: dict[str, Any], era: str) -> httpx.Response:
    message, headers = envelope(method, params, era)
    return await service.post(message, token=token, headers=headers)


@pytest.mark.parametrize("public", [PUBLIC, f"{PUBLIC}/luma"])
async def test_the_metadata_are_at_every_path_where_clients_look(
    clock: HandClock, realm: Realm, database_url: str, public: str
) -> None:
    prefix = public.removeprefix(PUBLIC)
    name = "/.well-known/oauth-protected-resource"
    paths = {name, f"{name}/mcp", f"/mcp{name}", f"{name}{prefix}/mcp", f"{prefix}{name}/mcp", f"{prefix}/mcp{name}"}
    async with world_of(clock, realm, database_url, public_url=public) as (service, _):
        for path in paths:
            response = await service.http.get(service.url + path)
            found = ProtectedResourceMetadata.model_validate_json(response.content)
            assert str(found.resource) == f"{public}/mcp", path
            assert [str(one) for one in found.authorization_servers] == [realm.issuer]
            assert found.scopes_supported == ["read", "generate"]
            assert response.headers["content-type"] == "application/json"
            assert response.headers["access-control-allow-origin"] == "*"
        preflight = {"origin": "https://app.example.com", "access-control-request-headers": "mcp-protocol-version"}
        allowed = await service.http.options(f"{service.url}{name}/mcp", headers=preflight)
        assert (allowed.status_code, allowed.headers["access-control-allow-headers"]) == (200, "*")
        asked = await service.http.get(f"{service.url}/mcp")
        assert parameters(asked)["resource_metadata"] == f"{public}{name}/mcp"


async def test_every_method_without_a_token_is_challenged(service: Service) -> None:
    for method in METHODS:
        response = await service.http.request(method, f"{service.url}/mcp")
        assert response.status_code == 401
        assert parameters(response) == {"resource_metadata": METADATA, "scope": "read generate"}


async def test_every_method_with_a_bad_token_is_challenged_with_the_error(
    service: Service, realm: Realm, clock: HandClock
) -> None:
    for token in (realm.token(clock() - 9000), "lmk_nonsense"):
        for method in METHODS:
            headers = {"authorization": f"Bearer {token}"}
            response = await service.http.request(method, f"{service.url}/mcp", headers=headers)
            assert response.status_code == 401
            assert parameters(response) == {
                "error": "invalid_token",
                "resource_metadata": METADATA,
                "scope": "read generate",
            }


@pytest.mark.parametrize("scope", [None, "", "openid profile", ["write"]])
async def test_every_method_with_a_token_without_scopes_is_403(
    service: Service, realm: Realm, clock: HandClock, scope: object
) -> None:
    token = realm.token(clock(), scope=scope)
    for method in METHODS:
        headers = {"authorization": f"Bearer {token}"}
        response = await service.http.request(method, f"{service.url}/mcp", headers=headers)
        assert response.status_code == 403
        assert parameters(response) == {
            "error": "insufficient_scope",
            "resource_metadata": METADATA,
            "scope": "read generate",
        }


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_beyond_the_scopes_of_a_token_is_403_and_asks_for_those_that_it_needs(
    clock: HandClock, realm: Realm, database_url: str, era: str
) -> None:
    async with world_of(clock, realm, database_url, jwt_generate_scope="luma:make") as (service, _):
        reader = realm.token(clock(), scope="read")
        assert (await call(service, reader, *READ, era)).status_code == 200
        refused = await call(service, reader, *GENERATE, era)
        assert refused.status_code == 403
        assert parameters(refused)["error"] == "insufficient_scope"
        assert parameters(refused)["scope"] == "read luma:make"
        assert "scope" in refused.json()["error"]["message"]
        maker = realm.token(clock(), scope="luma:make")
        assert (await call(service, maker, *GENERATE, era)).status_code == 200
        assert (await call(service, maker, *READ, era)).status_code == 403
        assert (await call(service, maker, "resources/read", {"uri": "luma://tasks/a"}, era)).status_code == 403
        cancelling = await call(service, reader, "tasks/cancel", {"taskId": "a"}, era)
        assert (cancelling.status_code, parameters(cancelling)["scope"]) == (403, "read luma:make")
        assert (await call(service, maker, "tools/list", {}, era)).status_code == 200
        assert 'luma_mcp_http_refusals_total{status="403"} 4.0' in service.assembly.metrics.exposition().decode()


async def test_a_stream_without_the_scope_is_refused_before_it_begins(
    service: Service, realm: Realm, clock: HandClock
) -> None:
    message, headers = envelope(*GENERATE, "2025-11-25")
    message["params"]["_meta"] = {"progressToken": "p"}
    accepted = {**headers, "accept": "application/json, text/event-stream"}
    response = await service.post(message, token=realm.token(clock(), scope="read"), headers=accepted)
    assert (response.status_code, parameters(response)["error"]) == (403, "insufficient_scope")


async def test_team_keys_without_the_scope_get_a_tool_error_instead_of_a_challenge(
    clock: HandClock, realm: Realm, database_url: str
) -> None:
    async with world_of(clock, realm, database_url) as (service, teams):
        reader = await teams.member("film", "reader", frozenset({Scope.READ}))
        error = await service.fail("luma_generate_video", {"prompt": "A fox"}, token=reader)
        assert error["code"] == "forbidden"


async def test_the_404_of_authorization_server_paths_names_the_metadata(service: Service) -> None:
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/register"):
        response = await service.http.get(service.url + path)
        assert response.status_code == 404
        assert METADATA in response.json()["error"]["message"]


async def test_without_sign_in_there_are_no_metadata_and_the_challenge_is_plain(
    clock: HandClock, database_url: str
) -> None:
    values = settings(auth="passthrough,keys", public_url=PUBLIC, database_url=database_url)
    async with serving(values, sandbox(clock), clock) as running:
        for path in ("/.well-known/oauth-protected-resource", "/mcp/.well-known/oauth-protected-resource"):
            assert (await running.http.get(running.url + path)).status_code == 404
        for method in METHODS:
            asked = await running.http.request(method, f"{running.url}/mcp")
            assert asked.headers["www-authenticate"] == 'Bearer realm="luma-mcp"'


async def test_a_token_for_the_read_only_url_reads_and_spends_nothing(
    clock: HandClock, realm: Realm, database_url: str
) -> None:
    async with world_of(clock, realm, database_url) as (service, _):
        asked = await service.http.get(f"{service.url}/mcp/readonly")
        assert parameters(asked) == {"resource_metadata": f"{METADATA}/readonly", "scope": "read"}
        only = realm.token(clock(), aud=f"{PUBLIC}/mcp/readonly")
        both = realm.token(clock(), aud=[f"{PUBLIC}/mcp/readonly", f"{PUBLIC}/mcp"])
        for token, status in ((only, 403), (both, 200)):
            assert (await call(service, token, *READ, ERAS[-1])).status_code == 200
            assert (await call(service, token, *GENERATE, ERAS[-1])).status_code == status
    async with world_of(clock, realm, f"{database_url}-2", jwt_audience="luma") as (service, _):
        assert (await call(service, only, *READ, ERAS[-1])).status_code == 401, "the setting names all audiences"

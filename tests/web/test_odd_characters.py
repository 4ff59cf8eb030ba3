"""Characters that no text of a database holds: their senders get an answer, and not that the database is down."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from app.web.admin.operations import OPERATIONS
from tests.support.acedata_login import fake_acedata
from tests.support.administrator import Administrator, administrator
from tests.support.clock import HandClock
from tests.support.databases import NEWEST_KINDS, PostgresServers, migrated_url_of
from tests.support.fleet import running_fleet
from tests.support.oauth import Browser, Page, SignInFleet, sign_in_fleet
from tests.support.service import envelope

NUL, SURROGATE = "a\x00b", "a\ud800b"
ODD = pytest.mark.parametrize("odd", [NUL, SURROGATE], ids=ascii)
CALLS = (
    ("luma_list_tasks", "member"),
    ("luma_list_tasks", "cursor"),
    ("luma_get_task", "task_id"),
    ("luma_get_tasks_batch", "task_ids"),
    ("luma_generate_video", "prompt"),
    ("luma_generate_video", "idempotency_key"),
    ("luma_extend_video", "video_id"),
)


@pytest.fixture(params=NEWEST_KINDS)
async def database_url(request: pytest.FixtureRequest, tmp_path: Path, postgres_servers: PostgresServers) -> str:
    url = await migrated_url_of(request.param, tmp_path, postgres_servers)
    assert url is not None
    return url


@pytest.fixture
async def root(clock: HandClock, database_url: str) -> AsyncIterator[Administrator]:
    async with running_fleet(clock, database_url, admin="on") as fleet:
        yield await administrator(fleet)


@pytest.fixture
async def fleet(clock: HandClock, database_url: str) -> AsyncIterator[SignInFleet]:
    async with fake_acedata() as acedata, sign_in_fleet(clock, acedata, database_url=database_url) as fleet:
        yield fleet


def raw(odd: str) -> bytes:
    """Return the text in UTF-8, with the bytes that a careless client writes for a surrogate."""
    return odd.encode("utf-8", "surrogatepass")


def admin_requests(odd: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield method, path and body of requests that have the text in the path, in a field or in the query."""
    for operation in OPERATIONS:
        path = operation.path.format(id=quote(raw(odd)), window="day")
        yield operation.method, path, b""
        for name in operation.body.model_fields:
            fields = dict.fromkeys(operation.body.model_fields, "x")
            yield operation.method, path, json.dumps({name: odd}).encode()
            yield operation.method, path, json.dumps(fields | {name: odd}).encode()
        for name in operation.query.model_fields:
            yield operation.method, f"{path}?{urlencode({name: raw(odd)})}", b""


@ODD
async def test_no_request_of_an_administrator_fails(root: Administrator, odd: str) -> None:
    for method, path, body in admin_requests(odd):
        headers = {"content-type": "application/json"} if body else {}
        response = await root.send(method, path, content=body, headers=headers)
        assert response.status_code < 500, (method, path, body, response.text)


@ODD
@pytest.mark.parametrize(("tool", "argument"), CALLS)
async def test_no_call_fails(root: Administrator, odd: str, tool: str, argument: str) -> None:
    arguments: dict[str, Any] = {"prompt": "A fox"} if "prompt" not in tool and "video" in tool else {}
    arguments[argument] = [odd] if argument == "task_ids" else odd
    message, headers = envelope("tools/call", {"name": tool, "arguments": arguments}, "2025-11-25")
    for token in (root.key, "token-film"):
        sent = {**headers, "authorization": f"Bearer {token}", "content-type": "application/json"}
        url = f"{root.fleet.one.url}/mcp"
        response = await root.fleet.one.http.post(url, content=json.dumps(message).encode(), headers=sent)
        assert response.status_code < 500, response.text
        assert '"code":"internal_error"' not in response.text


@ODD
async def test_no_request_of_a_client_fails(fleet: SignInFleet, odd: str) -> None:
    known, browser = await fleet.registered(), await fleet.browser()
    await known.connect(browser)
    page = await browser.open(f"{fleet.issuer}/account")
    assert isinstance(page, Page)
    for response in [response async for response in client_requests(fleet, browser, page, odd)]:
        assert response.status_code < 500, (response.request.url, response.text)
        assert "temporarily_unavailable" not in response.text


async def client_requests(fleet: SignInFleet, browser: Browser, page: Page, odd: str) -> AsyncIterator[httpx.Response]:
    known = await fleet.registered()
    query = dict(httpx.URL(known.url()).params)
    for name in query:
        changed = urlencode({**query, name: raw(odd)})
        yield await browser.http.get(f"{fleet.issuer}/authorize?{changed}")
    form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": known.client_id, "client_secret": "x"}
    code = {"grant_type": "authorization_code", "code": "x", "redirect_uri": "x", "code_verifier": "x"}
    for given in (form, {**form, **code}):
        for name in given:
            yield await known.http.post(f"{fleet.issuer}/token", data={**given, name: raw(odd)})
    for name in ("token", "client_id"):
        yield await known.http.post(f"{fleet.issuer}/revoke", data={"token": "x", "client_id": "x", name: raw(odd)})
    for name in ("client_name", "redirect_uris", "scope", "client_uri", "software_id"):
        value = [odd] if name == "redirect_uris" else odd
        body = {"client_name": "Test", "redirect_uris": [known.redirect_uri], name: value}
        yield await known.http.post(f"{fleet.issuer}/register", content=json.dumps(body).encode())
    for action in ("end", "credential", "sign-in", "leave", odd):
        sent = {"token": page.form["token"], "action": raw(action), "grant": raw(odd), "secret": raw(odd)}
        yield await browser.http.post(f"{fleet.issuer}/account", data=sent)
    for path in ("oauth/callback?state=", "join?invitation=", "oauth/callback?code=x&state="):
        yield await browser.http.get(f"{fleet.issuer}/{path}{quote(raw(odd))}")

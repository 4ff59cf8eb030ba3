"""The requests of the clients in the field, one row a client: how each registers, asks, exchanges and refreshes.

The shapes were read in the clients' sources and issue trackers in November 2026.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.documents_server import DocumentServer, document_server
from tests.support.oauth import Page, SignInFleet


@dataclass(frozen=True)
class Shape:
    """How one client asks.

    Attributes:
        redirects: the redirect URIs that it registers, or that its document lists.
        uses: the one that it asks with.
        registers: the metadata of its registration; None for a client with a document.
        document: what its document says beside its id and redirect URIs.
        asks: parameters at /authorize; None leaves one out, `{issuer}` is filled in.
        refreshes: fields that it sends with a refresh.

    """

    redirects: tuple[str, ...]
    uses: str
    registers: Mapping[str, Any] | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    asks: Mapping[str, str | None] = field(default_factory=dict)
    refreshes: Mapping[str, str] = field(default_factory=dict)


CLAUDE = "https://claude.ai/api/mcp/auth_callback"
CHATGPT = "https://chatgpt.com/connector/oauth/abc123"
LOOPBACK = ("http://127.0.0.1/callback", "http://localhost/callback")
RESOURCE = {"resource": "{issuer}/mcp"}

SHAPES = {
    "Claude, registered": Shape(
        (CLAUDE,),
        CLAUDE,
        {"client_name": "Claude", "token_endpoint_auth_method": "client_secret_post", "scope": "claudeai"},
        asks={"scope": " offline_access"},
        refreshes=RESOURCE,
    ),
    "Claude, all scopes of the server": Shape(
        (CLAUDE, "https://claude.com/api/mcp/auth_callback"),
        CLAUDE,
        document={"client_name": "Claude", "token_endpoint_auth_method": "none"},
        asks={"scope": "read generate offline_access"},
    ),
    "Claude Code": Shape(
        LOOPBACK,
        "http://localhost:54545/callback",
        document={"client_name": "Claude Code", "token_endpoint_auth_method": "none"},
        asks={"resource": "{issuer}/"},
    ),
    "Claude Code, registered": Shape(
        ("http://localhost:54545/callback",),
        "http://localhost:54545/callback",
        {
            "client_name": "Claude Code (luma)",
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        },
        asks={"resource": "{issuer}"},
    ),
    "ChatGPT": Shape(
        (CHATGPT,),
        CHATGPT,
        document={
            "client_name": "ChatGPT",
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
            "jwks_uri": "https://chatgpt.com/oauth/jwks.json",
        },
        asks={"resource": "{issuer}/mcp?tenant=1", "scope": "read generate offline_access"},
    ),
    "ChatGPT, registered": Shape(
        ("https://chatgpt.com/connector_platform_oauth_redirect",),
        "https://chatgpt.com/connector_platform_oauth_redirect",
        {"client_name": "ChatGPT", "grant_types": ["authorization_code", "refresh_token"]},
    ),
    "Codex": Shape(
        ("http://127.0.0.1/callback/a1b2c3",),
        "http://127.0.0.1:49152/callback/a1b2c3",
        document={"client_name": "Codex", "token_endpoint_auth_method": "none"},
    ),
    "Cursor": Shape(
        (
            "http://localhost:8787/callback",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
        ),
        "cursor://anysphere.cursor-mcp/oauth/callback",
        {"client_name": "Cursor", "token_endpoint_auth_method": "none"},
    ),
    "VS Code": Shape(
        ("http://127.0.0.1/", "https://vscode.dev/redirect", "https://insiders.vscode.dev/redirect"),
        "http://127.0.0.1:33418/",
        document={
            "client_name": "Visual Studio Code",
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        },
    ),
    "VS Code, registered": Shape(
        ("http://127.0.0.1:33418/", "https://vscode.dev/redirect", "http://localhost/"),
        "https://vscode.dev/redirect",
        {
            "client_name": "Visual Studio Code",
            "token_endpoint_auth_method": "none",
            "application_type": "native",
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        },
    ),
    "Copilot CLI": Shape(
        ("http://127.0.0.1:33418/callback",),
        "http://127.0.0.1:51234/callback",
        document={"client_name": "GitHub Copilot CLI"},
    ),
    "Gemini CLI": Shape(
        ("http://localhost:7777/oauth/callback",),
        "http://localhost:7777/oauth/callback",
        {"client_name": "Gemini CLI MCP Client", "token_endpoint_auth_method": "none", "scope": ""},
        asks={"scope": ""},
        refreshes={**RESOURCE, "scope": ""},
    ),
    "mcp-remote": Shape(
        ("http://localhost:3335/oauth/callback",),
        "http://localhost:3335/oauth/callback",
        {"client_name": "MCP CLI Proxy", "token_endpoint_auth_method": "none", "software_id": "x"},
        asks={"resource": None, "scope": "openid email profile"},
    ),
    "opencode": Shape(
        LOOPBACK,
        "http://127.0.0.1:60001/callback",
        document={"client_name": "opencode", "token_endpoint_auth_method": "none"},
    ),
    "M365 Copilot": Shape(
        ("https://teams.microsoft.com/api/platform/v1.0/oAuthRedirect", "https://vscode.dev/redirect"),
        "https://teams.microsoft.com/api/platform/v1.0/oAuthRedirect",
        {"client_name": "Microsoft 365 Copilot", "token_endpoint_auth_method": "client_secret_basic"},
    ),
}


@pytest.fixture
async def documents() -> AsyncIterator[DocumentServer]:
    async with document_server() as server:
        yield server


@pytest.mark.parametrize("name", SHAPES)
async def test_a_client_connects_calls_and_refreshes_as_it_asks(
    fleet: SignInFleet, documents: DocumentServer, name: str
) -> None:
    shape = SHAPES[name]
    client = fleet.client(redirect_uri=shape.uses)
    if shape.registers is None:
        client.client_id = documents.add("/client.json", redirect_uris=list(shape.redirects), **shape.document)
    else:
        response = await client.register(**{**shape.registers, "redirect_uris": list(shape.redirects)})
        assert response.status_code == 201, response.text
        assert response.json()["redirect_uris"] == list(shape.redirects)
    asks = {key: value and value.replace("{issuer}", fleet.issuer) for key, value in shape.asks.items()}
    browser = await fleet.browser(shape.uses)
    page = await browser.open(client.url(**asks))
    assert isinstance(page, Page)
    assert page.response.status_code == 200, page.text
    where = urlsplit(shape.uses)
    assert (where.hostname if where.scheme != "cursor" else "cursor:") in page.text  # type: ignore[operator]
    answer = await browser.press(page, "approve")
    assert isinstance(answer, dict)
    tokens = (await client.exchange(answer["code"])).json()
    assert tokens["scope"] == "read generate"
    assert await fleet.status(tokens["access_token"]) == 200
    fields = {key: value.replace("{issuer}", fleet.issuer) for key, value in shape.refreshes.items()}
    refreshed = await client.refresh(tokens["refresh_token"], **fields)
    assert refreshed.status_code == 200, refreshed.text
    assert await fleet.status(refreshed.json()["access_token"]) == 200

"""The server card: a JSON description of this service for registries and scanners. It needs a public URL.

The format is the draft SEP-2127 of the Model Context Protocol. It contains no tools, which clients list over MCP.
"""

import hashlib
import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.backend import BackendDescription
from app.mcp_server.protocol_versions import SUPPORTED_VERSIONS
from app.web.accepted_tokens import AcceptedTokens

PATHS = ("/mcp/server-card", "/.well-known/mcp/server-card.json")
NAME = "io.github.luma-mcp/luma-mcp"
SUMMARY = "Make videos with Luma Dream Machine through {backend}, each caller under their own token."


def server_card(
    public_url: str, version: str, backend: BackendDescription, tokens: AcceptedTokens, *, clients_can_sign_in: bool
) -> dict[str, object]:
    """Return the card of the service at `public_url`. Clients that can sign in need no token beforehand."""
    authorization = {
        "name": "Authorization",
        "description": f"Bearer and {tokens.names}",
        "isRequired": not clients_can_sign_in,
        "isSecret": True,
    }
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json",
        "name": NAME,
        "title": "Luma Dream Machine",
        "version": version,
        "description": backend.say(SUMMARY),
        "websiteUrl": public_url,
        "remotes": [
            {
                "type": "streamable-http",
                "url": f"{public_url}/mcp",
                "headers": [authorization],
                "supportedProtocolVersions": list(SUPPORTED_VERSIONS),
            }
        ],
    }


def card_routes(card: dict[str, object]) -> list[Route]:
    """Return the routes of the card. Any web page may read it (CORS)."""
    body = json.dumps(card).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {
        "content-type": "application/mcp-server-card+json",
        "cache-control": "public, max-age=3600",
        "etag": etag,
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "ETag",
    }

    async def respond(request: Request) -> Response:
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers)

    return [Route(path, respond) for path in PATHS]

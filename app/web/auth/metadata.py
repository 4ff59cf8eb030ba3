"""The metadata of the authorization server (RFC 8414), at every path where clients look for it."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.domain.oauth import GRANTABLE, MCP_PATH, OFFLINE_ACCESS, READ_ONLY_PATH
from app.web.auth.responses import CORS

SUFFIXES = ("oauth-authorization-server", "openid-configuration")
AUTH_METHODS = ("none", "client_secret_post", "client_secret_basic", "private_key_jwt")


def metadata(public_url: str, algorithms: Sequence[str]) -> dict[str, object]:
    """Return the metadata of the issuer `public_url`. `algorithms` are those accepted for client assertions.

    The issuer is spelled as in the setting, without a final slash, because clients compare it character by character.
    """
    return {
        "issuer": public_url,
        "authorization_endpoint": f"{public_url}/authorize",
        "token_endpoint": f"{public_url}/token",
        "registration_endpoint": f"{public_url}/register",
        "revocation_endpoint": f"{public_url}/revoke",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": [*GRANTABLE, OFFLINE_ACCESS],
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "token_endpoint_auth_signing_alg_values_supported": list(algorithms),
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": list(algorithms),
        "client_id_metadata_document_supported": True,
        "authorization_response_iss_parameter_supported": True,
        "protected_resources": [f"{public_url}{MCP_PATH}", f"{public_url}{READ_ONLY_PATH}"],
    }


def metadata_routes(public_url: str, algorithms: Sequence[str]) -> list[Route]:
    """Return the routes of the metadata.

    Clients append the path of the issuer or of the MCP endpoint to the well-known path (RFC 8414, section 3.1), or put
    the well-known path after /mcp.
    """
    body, prefix = metadata(public_url, algorithms), urlsplit(public_url).path
    headers = {"cache-control": "public, max-age=300", **CORS}

    async def show(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=CORS)
        return JSONResponse(body, headers=headers)

    endpoints = ("", MCP_PATH, READ_ONLY_PATH)
    appended = dict.fromkeys((*endpoints, *(f"{prefix}{path}" for path in endpoints)))
    paths = [f"/.well-known/{suffix}{path}" for suffix in SUFFIXES for path in appended]
    paths += [f"{path}/.well-known/{suffix}" for suffix in SUFFIXES for path in (MCP_PATH, READ_ONLY_PATH)]
    return [Route(path, show, methods=["GET", "OPTIONS"]) for path in paths]

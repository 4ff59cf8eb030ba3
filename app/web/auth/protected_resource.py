"""The protected resource metadata of this service (RFC 9728), and the challenges that refer to it (RFC 6750)."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.composition.scope_names import scope_names
from app.domain.access import Scope
from app.domain.oauth import GRANTABLE, MCP_PATH, READ_ONLY_PATH
from app.settings import Settings

WELL_KNOWN = "/.well-known/oauth-protected-resource"
TITLE = "Luma Dream Machine"


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """The service as an OAuth protected resource.

    Attributes:
        public_url: the URL of the service, without /mcp.
        issuers: the URLs of the authorization servers whose tokens are accepted.
        scopes: the names under which clients ask for the service's scopes.
        path: the path of the endpoint below `public_url`. Clients compare the whole URL with the one they were given.

    """

    public_url: str
    issuers: tuple[str, ...]
    scopes: Mapping[Scope, str]
    path: str = MCP_PATH

    def read_only_resource(self) -> "ProtectedResource":
        """Return the resource of the read-only endpoint, which has no tools that spend. Its only scope is `read`."""
        return replace(self, scopes={Scope.READ: self.scopes[Scope.READ]}, path=READ_ONLY_PATH)

    @property
    def metadata_url(self) -> str:
        """The URL of the metadata. It is below the public URL, so that a proxy for a path prefix forwards it too."""
        return f"{self.public_url}{WELL_KNOWN}{self.path}"

    def metadata(self) -> dict[str, object]:
        """Return the metadata. Clients compare `resource` with the URL that they connect to."""
        return {
            "resource": f"{self.public_url}{self.path}",
            "authorization_servers": list(self.issuers),
            "scopes_supported": list(self.scopes.values()),
            "bearer_methods_supported": ["header"],
            "resource_name": TITLE,
        }

    def challenge(self, error: str | None = None, scopes: Collection[Scope] | None = None) -> str:
        """Return a WWW-Authenticate header that asks for a token with `scopes`; None means all scopes."""
        requested = " ".join(name for scope, name in self.scopes.items() if scopes is None or scope in scopes)
        parameters = {"error": error, "resource_metadata": self.metadata_url, "scope": requested}
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items() if value is not None)


def protected_resource(settings: Settings) -> ProtectedResource | None:
    """Return this service as a protected resource if clients can sign in, else None."""
    issuers = authorization_servers(settings)
    if not issuers or settings.public_url is None:
        return None
    names = scope_names(settings) if settings.sign_in == "off" else {scope: scope.value for scope in GRANTABLE}
    return ProtectedResource(settings.public_url, issuers, names)


def authorization_servers(settings: Settings) -> tuple[str, ...]:
    """Return the issuers whose tokens are accepted, the preferred one first: this service, then LUMA_MCP_JWT_ISSUER."""
    own = (settings.public_url,) if settings.sign_in != "off" and settings.public_url is not None else ()
    external = (settings.jwt_issuer,) if "jwt" in settings.auth and settings.jwt_issuer is not None else ()
    return own + external


def metadata_routes(resource: ProtectedResource) -> list[Route]:
    """Return the routes of the metadata, at every path where clients look for it. Any web page may read it (CORS)."""
    body = json.dumps(resource.metadata()).encode()
    headers = {
        "content-type": "application/json",
        "cache-control": "public, max-age=300",
        "access-control-allow-origin": "*",
        "access-control-allow-headers": "*",
        "access-control-allow-methods": "GET",
    }

    async def metadata(request: Request) -> Response:
        return Response(b"" if request.method == "OPTIONS" else body, headers=headers)

    prefix, path = urlsplit(resource.public_url).path, resource.path
    paths = [f"{WELL_KNOWN}{path}", f"{path}{WELL_KNOWN}", f"{WELL_KNOWN}{prefix}{path}"]
    if path == MCP_PATH:
        paths += [WELL_KNOWN, f"{WELL_KNOWN}{prefix}"]
    return [Route(route_path, metadata, methods=["GET", "OPTIONS"]) for route_path in dict.fromkeys(paths)]

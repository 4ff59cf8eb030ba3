"""The stateless rules of OAuth 2.1: errors, scopes, resource indicators and PKCE."""

import base64
import hashlib
import hmac
import re
from urllib.parse import urlsplit

from app.domain.access import PASSTHROUGH_SCOPES, Scope

OFFLINE_ACCESS = "offline_access"
"""A scope that is accepted and ignored, because every grant has a refresh token.

Some clients request it if the metadata list it.
"""

GRANTABLE = (Scope.READ, Scope.GENERATE)
"""The scopes that a person may grant, in display order."""

MCP_PATH = "/mcp"
READ_ONLY_PATH = "/mcp/readonly"
"""The paths of the MCP endpoint below the public URL. The second leaves out the tools that spend."""

MAX_STATE_LENGTH = 1024
"""Longest accepted `state`, in characters."""

MAX_RESOURCE_LENGTH = 1024
"""Longest accepted resource indicator, in characters. Python normalizes its host, which is quadratic in accents."""

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""The base64url form of a SHA-256 hash, without padding."""
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")

_STATUS = {"invalid_client": 401, "temporarily_unavailable": 503, "server_error": 500}


class OAuthError(Exception):
    """An error of RFC 6749. `str()` is its description: one sentence for the developer or the person."""

    def __init__(self, code: str, description: str) -> None:
        """`code` is a registered OAuth error code, such as `invalid_grant`."""
        super().__init__(description)
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status of this error at the token endpoint."""
        return _STATUS.get(self.code, 400)


def requested_scopes(text: str | None) -> frozenset[Scope]:
    """Return the grantable scopes in `text`, or all grantable scopes if it has none. Unknown scopes are ignored.

    Clients send scopes of other services, empty text, and `offline_access`. An error would needlessly end the sign-in.
    """
    named = frozenset(scope for scope in GRANTABLE if scope in (text or "").split())
    return named or PASSTHROUGH_SCOPES


def narrowed_scopes(text: str | None, granted: frozenset[Scope]) -> frozenset[Scope]:
    """Return the scopes for a refresh: the granted ones in `text`; if it has no grantable scope, all granted ones."""
    return (requested_scopes(text) & granted) if text and set(text.split()) & set(GRANTABLE) else granted


def written_oauth_scopes(scopes: frozenset[Scope]) -> str:
    """Format scopes for OAuth: separated by spaces, in the order of GRANTABLE."""
    return " ".join(scope for scope in GRANTABLE if scope in scopes)


def is_our_resource(resource: str, public_url: str) -> bool:
    """Return whether a resource indicator (RFC 8707) refers to this service at `public_url`, or to its MCP endpoints.

    Query parameters, a fragment, a trailing slash and the bare origin are accepted, because clients send them.
    """
    if len(resource) > MAX_RESOURCE_LENGTH:
        return False
    try:
        theirs, ours = urlsplit(resource.strip()), urlsplit(public_url)
        if theirs.username is not None or theirs.password is not None or _origin(resource) != _origin(public_url):
            return False
    except ValueError:
        return False
    our_paths = {"", ours.path, f"{ours.path}{MCP_PATH}", f"{ours.path}{READ_ONLY_PATH}"}
    return theirs.path.removesuffix("/") in our_paths


def scopes_at(resource: str | None, scopes: frozenset[Scope]) -> frozenset[Scope]:
    """Return the scopes that remain for a token of `resource`: at the read-only endpoint `read` at most, else all."""
    is_read_only = urlsplit((resource or "").strip()).path.removesuffix("/").endswith(READ_ONLY_PATH)
    return scopes & {Scope.READ} if is_read_only else scopes


def check_challenge(challenge: str | None, method: str | None) -> str:
    """Return the PKCE challenge. Raises OAuthError if it is missing or malformed, or if its method is not S256."""
    if challenge is None or method != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "PKCE is required: send code_challenge, and code_challenge_method=S256.")
    return challenge


def matches_challenge(verifier: str | None, challenge: str) -> bool:
    """Return whether `challenge` is the S256 PKCE challenge of `verifier`."""
    if verifier is None or not _VERIFIER.fullmatch(verifier):
        return False
    return hmac.compare_digest(s256(verifier), challenge)


def s256(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url.strip())
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)

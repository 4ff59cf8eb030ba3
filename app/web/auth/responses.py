"""Answers of the authorization server: pages, redirects and JSON, with the headers that each of them needs."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse, JSONResponse, Response

from app.domain.oauth import OAuthError
from app.domain.redirects import is_loopback
from app.web.pages.sign_in import message_page, style_hash

CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "*",
    "access-control-expose-headers": "WWW-Authenticate, Retry-After",
    "access-control-max-age": "600",
}
"""For endpoints that web pages of any origin may call: none of them reads a cookie."""

NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
_AGAIN = "Go back to the app and connect again."


def html(body: str, status: int = 200, *, leads_to: tuple[str, ...] = ()) -> Response:
    """Return a page. Its forms may lead to this service, to any https address, and to the URLs in `leads_to`.

    Browsers hold the whole chain of redirects after a form against `form-action`, the login's and the client's too.
    """
    targets = " ".join(dict.fromkeys(("'self'", "https:", *map(_source, leads_to))))
    policy = (
        f"default-src 'none'; style-src {style_hash()}; img-src data:; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {targets}"
    )
    headers = {
        **NO_STORE,
        "content-security-policy": policy,
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",  # with no-referrer, browsers would send `Origin: null` with the forms
    }
    return HTMLResponse(body, status, headers=headers)


def message(title: str, *paragraphs: str, status: int = 400) -> Response:
    """Return a page with a few sentences."""
    return html(message_page(title, *paragraphs), status)


def not_connected(sentence: str, status: int = 400) -> Response:
    """Return the page for a sign-in that cannot go on."""
    return message("The app was not connected", sentence, _AGAIN, status=status)


def too_many(seconds: float) -> Response:
    """Return the page for an address that asks too often."""
    response = message(
        "Too many sign-ins", "Your network has begun many sign-ins lately. Wait a minute, then try again.", status=429
    )
    response.headers["retry-after"] = str(int(seconds) + 1)
    return response


def database_down() -> Response:
    """Return the page for an outage of the database."""
    response = message(
        "Sign-in is not available right now",
        "This service's database does not answer. Nothing was connected.",
        "Try again in a few minutes.",
        status=503,
    )
    response.headers["retry-after"] = "5"
    return response


def redirect(url: str) -> Response:
    """Return a redirect by GET. `url` holds a code or a state, so it is kept nowhere and passed to nobody."""
    return Response(status_code=303, headers={**NO_STORE, "location": url, "referrer-policy": "no-referrer"})


def oauth_json(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON that no cache keeps and any web page may read."""
    return JSONResponse(content, status, headers={**NO_STORE, **CORS, **(headers or {})})


def oauth_error(error: OAuthError, *, basic: bool = False, retry_after_seconds: float | None = None) -> Response:
    """Return an error of RFC 6749. `basic` tells whether the client has used HTTP Basic authentication."""
    headers = {"www-authenticate": 'Basic realm="luma-mcp"'} if basic and error.code == "invalid_client" else {}
    status = error.status
    if retry_after_seconds is not None:
        status, headers["retry-after"] = 429, str(int(retry_after_seconds) + 1)
    return oauth_json({"error": error.code, "error_description": str(error)}, status, headers)


def _source(url: str) -> str:
    """Return what a Content-Security-Policy calls the origin of `url`: for an app or an IPv6 address, its scheme."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return "https:"
    is_nameable = parts.scheme == "http" and ":" not in (parts.hostname or "")
    return f"http://{parts.netloc}" if is_nameable and is_loopback(url) else f"{parts.scheme}:"

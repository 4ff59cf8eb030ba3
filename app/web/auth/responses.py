"""Responses of the authorization server: pages, redirects and JSON, with their security and caching headers."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse, JSONResponse, Response

from app.domain.oauth import OAuthError
from app.domain.redirects import is_loopback
from app.web.pages.sign_in import message_page, refused_request_page, style_hash

CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "*",
    "access-control-expose-headers": "WWW-Authenticate, Retry-After",
    "access-control-max-age": "600",
}
"""Headers of endpoints that web pages of any origin may call, because they read no cookies."""

NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
_CONNECT_AGAIN = "Go back to the app and connect again."


def html(body: str, status: int = 200, *, redirect_targets: tuple[str, ...] = ()) -> Response:
    """Return a page. Its forms may redirect to this service, to any https URL, and to `redirect_targets` (URLs).

    Browsers check every redirect after a form submission against `form-action`, including those to the login and the
    client.
    """
    targets = " ".join(dict.fromkeys(("'self'", "https:", *map(_csp_source, redirect_targets))))
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
    """Return a page with a title and paragraphs of text."""
    return html(message_page(title, *paragraphs), status)


def sign_in_failed_page(sentence: str, status: int = 400) -> Response:
    """Return the page for a sign-in that failed because of `sentence`."""
    return message("The app was not connected", sentence, _CONNECT_AGAIN, status=status)


def return_page(reason: str, url: str) -> Response:
    """Return the page, with status 400, for a refused request. A link to `url` reports the error to the client."""
    return html(refused_request_page(reason, url), 400)


def not_joined_page(sentence: str) -> Response:
    """Return the page, with status 403, for a person whom an invitation did not let join. `sentence` is the reason."""
    return message("You have not joined the team", sentence, "Nothing was changed.", status=403)


def too_many_page(seconds: float) -> Response:
    """Return the page for the limit of one network address or of all addresses, with 429. `seconds` is the wait."""
    response = message(
        "Too many sign-ins",
        "Too many requests for sign-in pages were made lately, from your network or in total. Wait a minute, then try "
        "again.",
        status=429,
    )
    response.headers["retry-after"] = str(int(seconds) + 1)
    return response


def database_page(*, is_busy: bool) -> Response:
    """Return the page, with status 503, for a database that does not answer, or on which too many sign-ins wait."""
    response = message(
        "Sign-in is busy right now" if is_busy else "Sign-in is not available right now",
        "Too many people use sign-in at this moment, so this step was not done. Nothing was connected."
        if is_busy
        else "This service's database does not answer. Nothing was connected.",
        "Try again in a few minutes.",
        status=503,
    )
    response.headers["retry-after"] = "5"
    return response


def redirect(url: str) -> Response:
    """Return a redirect that the browser follows with GET.

    `url` may contain a code or a state, so browsers must neither cache it nor send it as Referer.
    """
    return Response(status_code=303, headers={**NO_STORE, "location": url, "referrer-policy": "no-referrer"})


def oauth_json(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON that caches must not store, and that any web page may read."""
    return JSONResponse(content, status, headers={**NO_STORE, **CORS, **(headers or {})})


def oauth_error(error: OAuthError, *, basic: bool = False, retry_after_seconds: float | None = None) -> Response:
    """Return an error response (RFC 6749, section 5.2).

    `basic` says whether the client used HTTP Basic authentication. With `retry_after_seconds`, the status is 429.
    """
    headers = {"www-authenticate": 'Basic realm="luma-mcp"'} if basic and error.code == "invalid_client" else {}
    status = error.status
    if retry_after_seconds is not None:
        status, headers["retry-after"] = 429, str(int(retry_after_seconds) + 1)
    return oauth_json({"error": error.code, "error_description": str(error)}, status, headers)


def _csp_source(url: str) -> str:
    """Return the CSP source for `url`: its origin for a loopback URL, otherwise its scheme.

    CSP cannot name an IPv6 host, so `[::1]` gets the scheme too.
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        return "https:"
    is_nameable = parts.scheme == "http" and ":" not in (parts.hostname or "")
    return f"http://{parts.netloc}" if is_nameable and is_loopback(url) else f"{parts.scheme}:"

"""Reads requests to the authorization server: addresses, forms, cookies, and HTTP Basic authentication."""

import base64
import binascii
import contextlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.services.sign_in.flow import SESSION_SECONDS, Browser

LARGEST_BODY_BYTES = 32 * 1024
MOST_FIELDS = 40
BROWSER_SECONDS = 86_400
"""How long the cookie lives that binds a browser to its sign-ins."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class BadForm(Exception):
    """A body that is no form, is too large, or has a field twice; `str()` is a sentence."""


def address_of(request: Request) -> str:
    """Return the address that a request comes from; uvicorn has put that of a trusted proxy's client in its place."""
    return request.client.host if request.client is not None else ""


def query_of(request: Request) -> tuple[dict[str, str], bool]:
    """Return the first value of each parameter of the query, and whether any is there twice. Raises BadForm."""
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise BadForm(f"The address has more than {MOST_FIELDS} parameters.") from None
    return dict(reversed(pairs)), len({name for name, _ in pairs}) < len(pairs)


async def body_of(request: Request) -> bytes:
    """Return the body. Raises BadForm if it is too large."""
    body = bytearray()
    with contextlib.suppress(ClientDisconnect):
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_BODY_BYTES:
                raise BadForm(f"The body has more than {LARGEST_BODY_BYTES} bytes.")
    return bytes(body)


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises BadForm."""
    if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        raise BadForm("Send a form: Content-Type: application/x-www-form-urlencoded.")
    body = await body_of(request)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise BadForm("The body is no form in UTF-8.") from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise BadForm("A field is there more than once.")
    return dict(pairs)


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Return client id and secret of HTTP Basic authentication (RFC 6749, section 2.3.1); None without it."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, found, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (unquote_plus(name), unquote_plus(secret)) if found else None


@dataclass(frozen=True, slots=True)
class Cookies:
    """The cookies of the pages. Over https they have the prefix `__Host-`: no other host can set them.

    Over plain http, which is for loopback only, they cannot have it, since browsers and HTTP clients differ there.
    """

    is_secure: bool
    browser_name: str
    session_name: str

    @classmethod
    def of(cls, public_url: str) -> "Cookies":
        """Return the cookies of a service with this address."""
        is_secure = urlsplit(public_url).scheme == "https"
        prefix = "__Host-" if is_secure else ""
        return cls(is_secure, f"{prefix}luma-mcp-browser", f"{prefix}luma-mcp-session")

    def browser(self, request: Request) -> Browser | None:
        """Return the secrets in a request's cookies; None if the browser has no secret yet, or keeps no cookies."""
        found = _cookies(request.headers.getlist("cookie"))
        secret = found.get(self.browser_name)
        return Browser(secret, found.get(self.session_name)) if secret is not None else None

    def known_or_new(self, request: Request) -> Browser:
        """Return the secrets in a request's cookies, with a new one if the browser has none."""
        return self.browser(request) or Browser(secrets.token_urlsafe(32))

    def set_browser(self, response: Response, browser: Browser) -> None:
        """Have a browser keep its secret."""
        self._set(response, self.browser_name, browser.secret, BROWSER_SECONDS)

    def set_session(self, response: Response, session: str) -> None:
        """Have a browser keep the secret of its session; "" ends it."""
        self._set(response, self.session_name, session, int(SESSION_SECONDS) if session else 0)

    def _set(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name, value, max_age=seconds, path="/", secure=self.is_secure, httponly=True, samesite="lax"
        )


def _cookies(headers: list[str]) -> Mapping[str, str]:
    """Return the cookies whose values have the form of a secret."""
    found: dict[str, str] = {}
    for header in headers:
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if _SECRET.fullmatch(value):
                found.setdefault(name, value)
    return found

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

MAX_BODY_BYTES = 32 * 1024
MAX_FIELDS = 40
BROWSER_SECONDS = 86_400
"""Lifetime of the cookie that binds a browser to its sign-ins."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
"""Matches the texts that `secrets.token_urlsafe(32)` returns."""


class BadForm(Exception):
    """A body or query that is malformed, too large, or has a field twice. `str()` is a sentence for the sender."""


def address_of(request: Request) -> str:
    """Return the network address of the client. Behind a trusted proxy, uvicorn takes it from X-Forwarded-For."""
    return request.client.host if request.client is not None else ""


def query_of(request: Request) -> tuple[dict[str, str], bool]:
    """Return the first value of each query parameter, and whether any is repeated.

    Raises BadForm for more than MAX_FIELDS parameters.
    """
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise BadForm(f"The address has more than {MAX_FIELDS} parameters.") from None
    return dict(reversed(pairs)), len({name for name, _ in pairs}) < len(pairs)


async def body_of(request: Request) -> bytes:
    """Return the body; after a disconnect, the part that has arrived. Raises BadForm if it is too large."""
    body = bytearray()
    with contextlib.suppress(ClientDisconnect):
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise BadForm(f"The body has more than {MAX_BODY_BYTES} bytes.")
    return bytes(body)


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises BadForm if the body is no form or a field is repeated."""
    if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        raise BadForm("Send a form: Content-Type: application/x-www-form-urlencoded.")
    body = await body_of(request)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise BadForm("The body is no form in UTF-8.") from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise BadForm("A field occurs more than once. Send each field once.")
    return dict(pairs)


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Return the client id and secret of HTTP Basic authentication (RFC 6749, section 2.3.1).

    Return None if the header is absent, malformed or of another scheme.
    """
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (unquote_plus(name), unquote_plus(secret)) if colon else None


@dataclass(frozen=True, slots=True)
class Cookies:
    """The cookies of the sign-in pages.

    Over https, their names have the prefix `__Host-`, so that no other host can set them. Over plain http, which is for
    loopback only, they have no prefix, because not all browsers and HTTP clients accept the prefix there.

    Attributes:
        is_secure: whether the service is reached over https.
        browser_name: name of the cookie with the browser secret, which binds a browser to its sign-ins.
        session_name: name of the cookie with the session secret, which a person who is signed in has.

    """

    is_secure: bool
    browser_name: str
    session_name: str

    @classmethod
    def of(cls, public_url: str) -> "Cookies":
        """Return the cookies of the service at `public_url`."""
        is_secure = urlsplit(public_url).scheme == "https"
        prefix = "__Host-" if is_secure else ""
        return cls(is_secure, f"{prefix}luma-mcp-browser", f"{prefix}luma-mcp-session")

    def browser(self, request: Request) -> Browser | None:
        """Return the secrets in a request's cookies if the browser secret is among them, else None."""
        values = _secrets_by_name(request.headers.getlist("cookie"))
        secret = values.get(self.browser_name)
        return Browser(secret, values.get(self.session_name)) if secret is not None else None

    def known_or_new(self, request: Request) -> Browser:
        """Return the secrets in a request's cookies, or a new browser secret if there is none."""
        return self.browser(request) or Browser(secrets.token_urlsafe(32))

    def set_browser(self, response: Response, browser: Browser) -> None:
        """Set the cookie with the browser secret."""
        self._set(response, self.browser_name, browser.secret, BROWSER_SECONDS)

    def set_session(self, response: Response, session: str) -> None:
        """Set the cookie with the session secret; "" deletes the cookie."""
        self._set(response, self.session_name, session, int(SESSION_SECONDS) if session else 0)

    def _set(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name, value, max_age=seconds, path="/", secure=self.is_secure, httponly=True, samesite="lax"
        )


def _secrets_by_name(headers: list[str]) -> Mapping[str, str]:
    """Return the cookies whose values may be secrets. If a name occurs twice, its first such value counts."""
    values: dict[str, str] = {}
    for header in headers:
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if _SECRET.fullmatch(value):
                values.setdefault(name, value)
    return values

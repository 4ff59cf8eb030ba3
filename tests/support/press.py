"""A person with a browser, out of the standard library, so that clients in any environment can be tried.

`python press.py URL` opens a URL, presses Approve, and follows to the client: a browser for programs that open one.
"""

import re
import sys
from html import unescape
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, ProxyHandler, Request, build_opener

SECONDS = 30
MAX_REDIRECTS = 10
_FIELD = re.compile(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)"')
_ACTION = re.compile(r'<form method="post" action="([^"]*)"')


class _NoRedirects(HTTPRedirectHandler):
    """Leaves redirects to the caller."""

    def redirect_request(self, *_: Any) -> None:
        """Return nothing, so that the redirect is raised as an HTTPError."""


def approve(url: str, stop: str | None = None) -> dict[str, str]:
    """Open an authorization URL, press Approve, and return the query that the client is called with.

    The client is called, unless its address begins with `stop`.
    """
    opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()), _NoRedirects())
    page = _opened(opener, Request(url))  # noqa: S310 - a test's own URL
    form = {name: unescape(value) for name, value in _FIELD.findall(page["body"])}
    action = _ACTION.search(page["body"])
    if action is None:
        raise SystemExit(f"no form to approve: {page['body'][:500]}")
    data = urlencode(form | {"decision": "approve"}).encode()
    answer = _opened(opener, Request(unescape(action[1]), data))  # noqa: S310
    for _ in range(MAX_REDIRECTS):
        location = answer["location"]
        if location is None:
            raise SystemExit(f"no way to the client: {answer['body'][:500]}")
        query = dict(parse_qsl(urlsplit(location).query))
        if stop is not None and location.startswith(stop):
            return query
        answer = _opened(opener, Request(location))  # noqa: S310
        if "code" in query and answer["location"] is None:
            return query
    raise SystemExit("too many redirects")


def _opened(opener: Any, request: Request) -> dict[str, Any]:
    try:
        with opener.open(request, timeout=SECONDS) as response:
            return {"body": response.read().decode(), "location": None}
    except HTTPError as exc:
        with exc:
            return {"body": exc.read().decode(), "location": exc.headers.get("location")}


if __name__ == "__main__":
    approve(sys.argv[1])

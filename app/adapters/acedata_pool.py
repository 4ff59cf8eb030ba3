"""The pooled HTTP client for AceDataCloud. All tenants share it, so it keeps nothing of any exchange."""

import os
from collections.abc import Mapping
from http.cookiejar import CookieJar
from typing import Any

import httpx

from app.adapters.acedata_body import ACCEPTED_ENCODING
from app.adapters.network_environment import proxy_for, tls_context


class NoCookies(CookieJar):
    """A cookie jar that stays empty: a cookie kept from one tenant's answer would be sent with the next token."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Leave the answer's cookies where they are, unparsed."""

    def set_cookie(self, cookie: Any) -> None:
        """Keep nothing."""

    def add_cookie_header(self, request: Any) -> None:
        """Add nothing."""


def pooled_client(
    base_url: str,
    *,
    user_agent: str,
    connections: int,
    transport: httpx.AsyncBaseTransport | None = None,
    environment: Mapping[str, str] = os.environ,
) -> httpx.AsyncClient:
    """Return a client for `base_url` with at most `connections` connections; `transport` replaces the network.

    `environment` may name a proxy and certificates. Raises EnvironmentFault where they cannot be used.

    Redirects are not followed: the place that they name would be sent the bearer token or the submission. Credentials
    come with each request only; httpx would replace the bearer token by those of a URL or of a client-wide `auth`.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        transport=transport,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30.0),
        headers={"accept": "application/json", "accept-encoding": ACCEPTED_ENCODING, "user-agent": user_agent},
        cookies=NoCookies(),
        trust_env=False,  # read below, and with sentences for what cannot be used
        proxy=proxy_for(base_url, environment) if transport is None else None,
        verify=tls_context(environment) if transport is None else True,
        follow_redirects=False,
    )

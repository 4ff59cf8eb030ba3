"""The pooled HTTP client for AceDataCloud. All tenants share it, so it keeps nothing of any exchange."""

import os
import socket
from collections.abc import Mapping
from http.cookiejar import CookieJar
from typing import Any

import httpx

from app.adapters.acedata.body import ACCEPTED_ENCODING
from app.adapters.checked_network import CheckedTransport
from app.adapters.network_environment import proxy_for, tls_context

RECEIVE_BUFFER_BYTES = 96 * 1024
"""Receive buffer of each connection in the kernel; Linux doubles it.

uvloop reads 256 KB at a time, and up to 32 times in a row while each read fills them: 8 MB a connection, which nothing
counts. A batch of fifty records has 75 KB.
"""


class NoCookies(CookieJar):
    """A cookie jar that stays empty: a cookie kept from one tenant's answer would be sent with the next token."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Leave the answer's cookies where they are, unparsed."""

    def set_cookie(self, cookie: Any) -> None:
        """Keep nothing."""

    def add_cookie_header(self, request: Any) -> None:
        """Add nothing."""


def pooled_client(  # noqa: PLR0913 - the parts list of a client
    base_url: str,
    *,
    user_agent: str,
    connections: int,
    transport: httpx.AsyncBaseTransport | None = None,
    environment: Mapping[str, str] = os.environ,
    keeps_connections: bool = True,
) -> httpx.AsyncClient:
    """Return a client for `base_url` with at most `connections` connections; `transport` replaces the network.

    `environment` may name a proxy and certificates. Raises EnvironmentFault where they cannot be used. A client that
    keeps no connections makes one for each request: for purchases, whose answers name nothing that they could be
    matched by, so that a stray answer on a shared connection would be taken for another tenant's.

    Redirects are not followed: the place that they name would be sent the bearer token or the submission. Credentials
    come with each request only; httpx would replace the bearer token by those of a URL or of a client-wide `auth`.
    """
    kept = connections if keeps_connections else 0
    return httpx.AsyncClient(
        base_url=base_url,
        transport=transport
        or CheckedTransport(
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=kept, keepalive_expiry=30.0),
            proxy=proxy_for(base_url, environment),
            verify=tls_context(environment),
            trust_env=False,  # read above, and with sentences for what cannot be used
            socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)],
        ),
        headers={
            "accept": "application/json",
            "accept-encoding": ACCEPTED_ENCODING,
            "user-agent": user_agent,
            "connection": "keep-alive" if keeps_connections else "close",
        },
        cookies=NoCookies(),
        trust_env=False,
        follow_redirects=False,
    )

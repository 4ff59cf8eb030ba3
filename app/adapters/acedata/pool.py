"""The HTTP client for AceDataCloud. All tenants share it, so it keeps no cookies, credentials or responses."""

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
"""SO_RCVBUF of each connection; Linux doubles it. A batch of fifty records has 75 KB.

It bounds memory that no other limit of this service counts: uvloop reads 256 KB at a time, up to 32 times in a row
while each read is full. Without this limit, that would be 8 MB a connection.
"""


class NoCookies(CookieJar):
    """A cookie jar that stays empty. Otherwise cookies from one tenant's response would be sent for another tenant."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Do nothing: cookies of a response are not parsed."""

    def set_cookie(self, cookie: Any) -> None:
        """Do nothing: no cookie is stored."""

    def add_cookie_header(self, request: Any) -> None:
        """Do nothing: no cookie is sent."""


def shared_client(  # noqa: PLR0913 - the settings of a client
    base_url: str,
    *,
    user_agent: str,
    connections: int,
    transport: httpx.AsyncBaseTransport | None = None,
    environment: Mapping[str, str] = os.environ,
    keeps_connections: bool = True,
) -> httpx.AsyncClient:
    """Return a client for `base_url` with at most `connections` connections; `transport` replaces the network in tests.

    `environment` may name a proxy and certificates. Raises EnvironmentFault if they cannot be used.

    Without `keeps_connections`, each request has a connection of its own. Submissions need that: their responses do not
    identify the request, so a stray response on a reused connection would be taken for that of another tenant.

    Redirects are not followed, because their target would receive the bearer token or the submission. The client has no
    credentials of its own, because httpx would send those of the URL or of a client-wide `auth` instead of the bearer
    token.
    """
    idle_connections = connections if keeps_connections else 0
    return httpx.AsyncClient(
        base_url=base_url,
        transport=transport
        or CheckedTransport(
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=idle_connections, keepalive_expiry=30.0
            ),
            proxy=proxy_for(base_url, environment),
            verify=tls_context(environment),
            trust_env=False,  # proxy_for and tls_context read it, with error messages that name the variable
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

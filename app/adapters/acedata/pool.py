"""The connections to AceDataCloud. All tenants share them, so they keep no cookies, credentials or responses."""

import os
import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import httpx

from app.adapters.acedata.body import ACCEPTED_ENCODING
from app.adapters.checked_network import CheckedTransport
from app.adapters.network_environment import proxy_for, tls_context

RECEIVE_BUFFER_BYTES = 96 * 1024
"""SO_RCVBUF of each connection; Linux doubles it. A batch of fifty records has 75 KB.

It bounds memory that no other limit of this service counts: uvloop reads 256 KB at a time, up to 32 times in a row
while each read is full. Without this limit, that would be 8 MB a connection.
"""


class BackendHttp:
    """Sends requests to AceDataCloud over a pool of connections.

    It uses httpx's transport and not its client, which has what all tenants would share: a jar of cookies, redirects,
    whose target would receive the bearer token or the submission, and credentials of the URL in place of the token.
    """

    def __init__(  # noqa: PLR0913 - the settings of a pool
        self,
        base_url: str,
        *,
        user_agent: str,
        connections: int,
        transport: httpx.AsyncBaseTransport | None = None,
        environment: Mapping[str, str] = os.environ,
        keeps_connections: bool = True,
    ) -> None:
        """Have at most `connections` connections to `base_url`; `transport` replaces the network in tests.

        `environment` may name a proxy and certificates. Raises EnvironmentFault if they cannot be used.

        Without `keeps_connections`, each request has a connection of its own. Submissions need that: their responses do
        not identify the request, so a stray response on a reused connection would be taken for that of another tenant.
        """
        idle_connections = connections if keeps_connections else 0
        self._base_url = base_url.rstrip("/")
        self._transport = transport or CheckedTransport(
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=idle_connections, keepalive_expiry=30.0
            ),
            proxy=proxy_for(base_url, environment),
            verify=tls_context(environment),
            trust_env=False,  # proxy_for and tls_context read it, with error messages that name the variable
            socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)],
        )
        self._headers = {
            "accept": "application/json",
            "accept-encoding": ACCEPTED_ENCODING,
            "user-agent": user_agent,
            "connection": "keep-alive" if keeps_connections else "close",
        }

    def url(self, path: str) -> httpx.URL:
        """Return the absolute URL of `path`."""
        return httpx.URL(f"{self._base_url}{path}")

    async def send(
        self,
        method: str,
        url: httpx.URL,
        *,
        timeouts: httpx.Timeout,
        headers: Mapping[str, str] = MappingProxyType({}),
        **content: Any,
    ) -> httpx.Response:
        """Send a request and return its response, whose body is not read yet. The caller closes it with `aclose`.

        `content` are the parameters of `httpx.Request` for query and body. Raises httpx.HTTPError.
        """
        request = httpx.Request(
            method, url, headers={**self._headers, **headers}, extensions={"timeout": timeouts.as_dict()}, **content
        )
        return await self._transport.handle_async_request(request)

    async def __aenter__(self) -> Self:
        """Return the pool. It connects with its first request."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close all connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

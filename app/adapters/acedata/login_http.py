"""HTTP requests to AceDataCloud's OAuth server and platform API, with limits of time and size.

Responses are JSON objects. No cookie is kept, and no redirect is followed.
"""

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.adapters.acedata.pool import shared_client
from app.ports.sign_in import LoginUnavailable

SECONDS = 10.0
"""Timeout of a request, from its start to the end of its response."""

MOST_BYTES = 1024 * 1024
"""Size limit of a response."""

CONNECTIONS = 8
SERVER_ERROR = 500

UNAVAILABLE = "Nobody can sign in right now, because AceDataCloud's login does not work. Try again in a few minutes."

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """The status and the JSON object of a response. The object may hold tokens, so `repr` leaves it out."""

    status: int
    body: Mapping[str, Any] = field(repr=False)

    @property
    def is_ok(self) -> bool:
        """Whether the status is 200 or 201."""
        return self.status in (200, 201)

    def text(self, name: str) -> str | None:
        """Return the field `name` as text; None unless it is a non-empty string or an integer."""
        value = self.body.get(name)
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None

    def items(self) -> list[Mapping[str, Any]]:
        """Return the objects of a list response: under `items`, as documented, or under `results`.

        Some first-party programs read `results`.
        """
        found = self.body.get("items", self.body.get("results"))
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


class LoginHttp:
    """Sends requests to one base URL. Responses must not be compressed, because they are counted as they arrive."""

    def __init__(self, base_url: str, user_agent: str, environment: Mapping[str, str] = os.environ) -> None:
        """Send requests to `base_url`. Raises EnvironmentFault for a proxy or certificate that cannot be used."""
        self._http = shared_client(
            base_url, user_agent=user_agent, connections=CONNECTIONS, environment=environment, keeps_connections=False
        )

    async def send(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        *,
        bearer: str | None = None,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Send a request, and return the reply if its status is below 500 and its body a JSON object.

        Raises LoginUnavailable for any other response, and if the request fails or takes longer than SECONDS.
        """
        request = self._http.build_request(
            method,
            path,
            params=query,
            data=form,
            json=body,
            headers={"accept-encoding": "identity", **({"authorization": f"Bearer {bearer}"} if bearer else {})},
        )
        try:
            async with asyncio.timeout(SECONDS):
                response = await self._http.send(request, stream=True)
                try:
                    content = await _read_body(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError) as exc:
            raise _unavailable(path, type(exc).__name__) from None
        if response.status_code >= SERVER_ERROR:
            raise _unavailable(path, f"status {response.status_code}")
        return Reply(response.status_code, _object(content, path))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def _read_body(response: httpx.Response) -> bytes:
    """Return the body. Raises httpx.DecodingError if it exceeds MOST_BYTES."""
    content = bytearray()
    async for part in response.aiter_raw():
        content += part
        if len(content) > MOST_BYTES:
            raise httpx.DecodingError("too long")
    return bytes(content)


def _object(content: bytes, path: str) -> Mapping[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        raise _unavailable(path, "no JSON") from None
    if not isinstance(found, dict):
        raise _unavailable(path, "no JSON object")
    return found


def _unavailable(path: str, reason: str) -> LoginUnavailable:
    log.warning("A request to AceDataCloud's %s failed (%s). People cannot sign in while this goes on", path, reason)
    return LoginUnavailable(UNAVAILABLE)

"""HTTP to AceDataCloud's login and platform: bounded, without cookies and redirects, JSON objects only."""

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.adapters.acedata.pool import pooled_client
from app.ports.sign_in import LoginUnavailable

SECONDS = 10.0
"""For a whole request and its answer."""

MOST_BYTES = 1024 * 1024
CONNECTIONS = 8
SERVER_ERROR = 500

UNAVAILABLE = "AceDataCloud does not answer as expected, so nobody can sign in right now. Try again in a few minutes."

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and a JSON object, which may hold tokens."""

    status: int
    body: Mapping[str, Any] = field(repr=False)

    @property
    def is_ok(self) -> bool:
        """Whether the request was carried out."""
        return self.status in (200, 201)

    def text(self, name: str) -> str | None:
        """Return a value that is a string or a number, as text; None for any other."""
        value = self.body.get(name)
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None

    def items(self) -> list[Mapping[str, Any]]:
        """Return the objects of a list: under `items`, as documented, or under `results`, as some programs read it."""
        found = self.body.get("items", self.body.get("results"))
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


class LoginHttp:
    """A client of one base URL, which takes no compressed answers."""

    def __init__(self, base_url: str, user_agent: str, environment: Mapping[str, str] = os.environ) -> None:
        """Send requests to `base_url`. Raises EnvironmentFault for a proxy or certificate that cannot be used."""
        self._http = pooled_client(
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
        """Return the reply, whose status is below 500. Raises LoginUnavailable."""
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
                    content = await _bounded(response)
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


async def _bounded(response: httpx.Response) -> bytes:
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
    log.warning("AceDataCloud's %s cannot be used (%s): people cannot sign in until it answers", path, reason)
    return LoginUnavailable(UNAVAILABLE)

"""HTTP requests to AceDataCloud's OAuth server and platform API, with limits of time and size.

Responses are JSON objects. No cookie is kept, and no redirect is followed.
"""

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from app.adapters.acedata.body import BodyTooLarge
from app.adapters.acedata.pool import BackendHttp
from app.ports.sign_in import LoginUnavailable
from app.services.log_throttle import ThrottledLog

REQUEST_TIMEOUT_SECONDS = 10.0
"""Timeout of a request, from its start to the end of its response."""

MAX_RESPONSE_BYTES = 1024 * 1024
"""Size limit of a response."""

MAX_CONNECTIONS = 8

UNAVAILABLE = "AceDataCloud's login gave no usable response, so the sign-in cannot go on. Try again in a few minutes."

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

    def string_field(self, name: str) -> str | None:
        """Return the field `name` as text; None unless it is a non-empty string or an integer."""
        value = self.body.get(name)
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None

    def list_items(self) -> list[Mapping[str, Any]]:
        """Return the objects of a list response: under `items`, as AceDataCloud documents, or under `results`.

        AceDataCloud's own programs read `results`.
        """
        items = self.body.get("items", self.body.get("results"))
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


class LoginHttp:
    """Sends requests to one base URL. Asks for uncompressed responses, because it does not decompress them."""

    def __init__(self, base_url: str, user_agent: str, environment: Mapping[str, str] = os.environ) -> None:
        """Send requests to `base_url`, with the proxy and the certificates that `environment` names.

        Raises EnvironmentFault if one of them cannot be used.
        """
        self._http = BackendHttp(
            base_url,
            user_agent=user_agent,
            connections=MAX_CONNECTIONS,
            environment=environment,
            keeps_connections=False,
        )
        self._log = ThrottledLog(log)

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

        Raises LoginUnavailable for any other response, if the request fails, and after REQUEST_TIMEOUT_SECONDS.
        """
        headers = {"accept-encoding": "identity", **({"authorization": f"Bearer {bearer}"} if bearer else {})}
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                response = await self._http.send(
                    method,
                    self._http.url(path),
                    timeouts=httpx.Timeout(REQUEST_TIMEOUT_SECONDS),
                    headers=headers,
                    params=query,
                    data=form,
                    json=body,
                )
                async with aclosing(response):
                    content = await _read_body(response)
        except (httpx.HTTPError, TimeoutError, BodyTooLarge) as exc:
            raise self._unavailable(path, type(exc).__name__) from None
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self._unavailable(path, f"status {response.status_code}")
        return Reply(response.status_code, self._parse_object(content, path))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _parse_object(self, content: bytes, path: str) -> Mapping[str, Any]:
        try:
            body = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            raise self._unavailable(path, "no JSON") from None
        if not isinstance(body, dict):
            raise self._unavailable(path, "no JSON object")
        return body

    def _unavailable(self, path: str, reason: str) -> LoginUnavailable:
        self._log.warn(
            "failed",
            "A request to AceDataCloud for sign-in failed: %s (%s). While such requests fail, people cannot sign in. "
            "If this goes on, look at AceDataCloud's status and at this service's way to the Internet",
            path,
            reason,
        )
        return LoginUnavailable(UNAVAILABLE)


async def _read_body(response: httpx.Response) -> bytes:
    """Return the body. Raises BodyTooLarge if it exceeds MAX_RESPONSE_BYTES."""
    content = bytearray()
    async for part in response.aiter_raw():
        content += part
        if len(content) > MAX_RESPONSE_BYTES:
            raise BodyTooLarge
    return bytes(content)

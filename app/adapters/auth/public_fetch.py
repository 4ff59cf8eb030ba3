"""Fetches small JSON documents from URLs that strangers name, without reaching into private networks.

A host is resolved once, each of its addresses must be public, and the connection goes to one of them. So a name that
is resolved differently a moment later (DNS rebinding) changes nothing. Redirects are not followed.
"""

import asyncio
import json
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.adapters.network_environment import tls_context
from app.domain.errors import InvalidRequest
from app.domain.public_url import check_public_url
from app.domain.redirects import is_loopback_host

SECONDS = 10.0
"""For a whole fetch, the wait for a place and the resolution of the name among it."""

MOST_AT_ONCE = 8
_JSON = re.compile(r"application/([a-z0-9.+-]+\+)?json", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})", re.IGNORECASE)
_UNCACHED = re.compile(r"no-store|no-cache", re.IGNORECASE)
_OK = 200

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a host. Raises OSError."""


class NotFetchable(Exception):
    """The URL may not be fetched, or what is there cannot be used; `str()` is the end of a sentence about it."""


class NotFetched(Exception):
    """The URL does not answer now; `str()` is the end of a sentence about it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JSON object, and the seconds for which it is fresh by its own word: 0 for "do not cache", None without one."""

    content: Mapping[str, Any]
    fresh_seconds: float | None


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host by the system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PublicFetcher:
    """Fetches over https from public addresses; from this machine as well, and over http, if `allows_loopback`."""

    def __init__(
        self,
        user_agent: str,
        *,
        allows_loopback: bool = False,
        resolver: Resolver = resolve,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`allows_loopback` is for a service that is tried on one machine. Raises EnvironmentFault for certificates."""
        self._allows_loopback = allows_loopback
        self._resolver = resolver
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": user_agent}
        self._context = context or tls_context(os.environ)

    def may_fetch(self, url: str) -> bool:
        """Return whether `url` has a form that may be fetched. Its host is resolved later."""
        try:
            parts = urlsplit(url)
            if self._is_local(parts.hostname or "") and parts.username is None and parts.scheme in ("http", "https"):
                return True
            return parts.scheme == "https" and check_public_url(url, "url") == url
        except (ValueError, InvalidRequest):
            return False

    async def fetch(self, url: str, most_bytes: int) -> Fetched:
        """Return the JSON object at `url`. Raises NotFetchable and NotFetched."""
        if not self.may_fetch(url):
            raise NotFetchable("is no https URL with a public host")
        try:
            async with asyncio.timeout(SECONDS), self._places:
                return await self._fetched(url, most_bytes)
        except TimeoutError:
            raise NotFetched("does not answer in time") from None
        except (httpx.HTTPError, OSError, UnicodeError) as exc:
            raise NotFetched(f"does not answer ({type(exc).__name__})") from None

    async def _fetched(self, url: str, most_bytes: int) -> Fetched:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        address = await self._public_address(host, port)
        pinned = httpx.URL(url).copy_with(host=address)
        headers = {**self._headers, "host": parts.netloc}
        async with (
            httpx.AsyncClient(verify=self._context, trust_env=False, follow_redirects=False, timeout=SECONDS) as client,
            client.stream("GET", pinned, headers=headers, extensions={"sni_hostname": host}) as response,
        ):
            return await _json_in(response, most_bytes)

    async def _public_address(self, host: str, port: int) -> str:
        addresses = await self._resolver(host, port)
        if not addresses or not all(map(self._may_connect, addresses)):
            raise NotFetchable("leads to an address that is not public")
        return addresses[0]

    def _may_connect(self, address: str) -> bool:
        if self._is_local(address):
            return True
        shown = f"[{address}]" if ":" in address else address
        try:
            check_public_url(f"https://{shown}/", "address")
        except InvalidRequest:
            return False
        return True

    def _is_local(self, host: str) -> bool:
        return self._allows_loopback and is_loopback_host(host)


async def _json_in(response: httpx.Response, most_bytes: int) -> Fetched:
    if response.status_code != _OK:
        raise NotFetched(f"answers with HTTP status {response.status_code}")
    if not _JSON.match(response.headers.get("content-type", "")) or "content-encoding" in response.headers:
        raise NotFetchable("is not plain JSON")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > most_bytes:
            raise NotFetchable(f"has more than {most_bytes} bytes")
    try:
        content = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise NotFetchable("is not plain JSON") from None
    if not isinstance(content, dict):
        raise NotFetchable("is no JSON object")
    return Fetched(content, _fresh_seconds(response.headers.get("cache-control", "")))


def _fresh_seconds(cache_control: str) -> float | None:
    if _UNCACHED.search(cache_control):
        return 0.0
    found = _MAX_AGE.search(cache_control)
    return float(found[1]) if found else None

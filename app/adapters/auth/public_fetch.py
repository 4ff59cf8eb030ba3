"""Fetches small JSON documents from URLs that strangers name, without connecting to private networks (SSRF).

A host name is resolved once, all of its addresses must be public, and the connection is made to the first of them. So a
name that is resolved differently a moment later (DNS rebinding) has no effect. Redirects are not followed.
"""

import asyncio
import json
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.adapters.auth.resolver import Resolver
from app.adapters.checked_network import CheckedTransport
from app.adapters.network_environment import tls_context
from app.adapters.resolving_network import Resolve
from app.adapters.tls_handshake import strangers_threads
from app.domain.errors import InvalidRequest
from app.domain.public_url import check_public_url
from app.domain.redirects import is_loopback_host
from app.services.limits.fair_limiter import FairLimiter, Shares
from app.services.limits.networks import network_of


@dataclass(frozen=True, slots=True)
class FetchTimes:
    """Limits in seconds.

    Attributes:
        total: of a fetch with the DNS lookup and the time in the queue.
        server: of a fetch without them. It is short, because slow servers on dozens of networks hold all places.

    """

    total: float = 10.0
    server: float = 4.0


PLACES = Shares(places=8, per_tenant=2, unaccepted=8)
"""Concurrent fetches, in all and from one network. Further ones wait. A slow server delays only its own network."""

MAX_CHUNKS = 1_000
"""Maximum number of chunks of a response. Each costs 20 microseconds, and a server may send one for each byte."""

MAX_FRAMING_BYTES = 256 * 1024
"""Maximum number of bytes that a connection receives beside the body: certificates, TLS records, head and chunks."""

CHUNKS_AT_ONCE = 20
"""Chunks that are read in one turn of the event loop."""

_JSON = re.compile(r"application/([a-z0-9.+-]+\+)?json", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})", re.IGNORECASE)
_UNCACHED = re.compile(r"no-store|no-cache", re.IGNORECASE)
_OK = 200
_GONE = (404, 410)


class FetchRefused(Exception):
    """The document may not be fetched, or is not acceptable. `str()` completes a sentence about the document."""


class FetchFailed(Exception):
    """The document cannot be fetched now. `str()` completes a sentence about the document."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JSON object, and the seconds for which it is fresh according to Cache-Control.

    `fresh_seconds` is 0 for `no-store` and `no-cache`, and None if the response does not say.
    """

    content: Mapping[str, Any]
    fresh_seconds: float | None


class PublicFetcher:
    """Fetches over https from public addresses."""

    def __init__(
        self,
        user_agent: str,
        *,
        allows_loopback: bool = False,
        resolver: Resolve | None = None,
        context: ssl.SSLContext | None = None,
        times: FetchTimes = FetchTimes(),
    ) -> None:
        """`allows_loopback` also allows fetches from this machine, for trials without a network, over http or https.

        `resolver` None means the system's resolver. `context` None trusts the usual certificates, or those that the
        environment names. Raises EnvironmentFault if they cannot be read.
        """
        self._allows_loopback = allows_loopback
        self._times = times
        self._resolver = resolver or Resolver()
        self._places = FairLimiter(PLACES, lambda _network: True)
        self._headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": user_agent}
        self._threads = strangers_threads()
        self._context = context or tls_context(os.environ, is_for_strangers=True)

    def may_fetch(self, url: str) -> bool:
        """Return whether `url` has a form that may be fetched. Its host is resolved later."""
        try:
            parts, _ = urlsplit(url), httpx.URL(url)  # both must be able to read it
            if parts.port == 0:  # raises ValueError if it is not a port number
                return False
            if (
                self._is_allowed_loopback(parts.hostname or "")
                and parts.username is None
                and parts.scheme in ("http", "https")
            ):
                return True
            return parts.scheme == "https" and check_public_url(url, "url") == url
        except (ValueError, InvalidRequest, httpx.InvalidURL):
            return False

    async def fetch(self, url: str, max_bytes: int) -> Fetched:
        """Return the JSON object at `url`. Raises FetchRefused and FetchFailed."""
        if not self.may_fetch(url):
            raise FetchRefused("is no https URL with a public host")
        try:
            async with asyncio.timeout(self._times.total):
                address = await self._resolve_public_address(url)
                async with self._places.place(network_of(address)), asyncio.timeout(self._times.server):
                    return await self._fetch_from(url, address, max_bytes)
        except TimeoutError:
            raise FetchFailed("does not answer in time") from None
        except (httpx.HTTPError, OSError, UnicodeError) as exc:
            raise FetchFailed(f"does not answer ({type(exc).__name__})") from None

    async def _fetch_from(self, url: str, address: str, max_bytes: int) -> Fetched:
        parts = urlsplit(url)
        host, pinned = parts.hostname or "", httpx.URL(url).copy_with(host=address)
        headers = {**self._headers, "host": parts.netloc}
        network = CheckedTransport(
            verify=self._context,
            trust_env=False,
            max_connection_bytes=max_bytes + MAX_FRAMING_BYTES,
            threads=self._threads,
        )
        async with (
            httpx.AsyncClient(
                transport=network, trust_env=False, follow_redirects=False, timeout=self._times.server
            ) as client,
            client.stream("GET", pinned, headers=headers, extensions={"sni_hostname": host}) as response,
        ):
            return await _read_json(response, max_bytes)

    async def _resolve_public_address(self, url: str) -> str:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        addresses = await self._resolver(parts.hostname or "", port)
        if not addresses or not all(map(self._may_connect, addresses)):
            raise FetchRefused("leads to an address that is not public")
        return addresses[0]

    def _may_connect(self, address: str) -> bool:
        if self._is_allowed_loopback(address):
            return True
        host = f"[{address}]" if ":" in address else address
        try:
            check_public_url(f"https://{host}/", "address")
        except InvalidRequest:
            return False
        return True

    def _is_allowed_loopback(self, host: str) -> bool:
        return self._allows_loopback and is_loopback_host(host)


async def _read_json(response: httpx.Response, max_bytes: int) -> Fetched:
    if response.status_code in _GONE:
        raise FetchRefused(f"is not there (HTTP status {response.status_code})")
    if response.status_code != _OK:
        raise FetchFailed(f"answers with HTTP status {response.status_code}")
    if not _JSON.match(response.headers.get("content-type", "")) or "content-encoding" in response.headers:
        raise FetchRefused("is not plain JSON")
    body, chunks = bytearray(), 0
    async for part in response.aiter_raw():
        body += part
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise FetchRefused(f"comes in more than {MAX_CHUNKS} chunks")
        if chunks % CHUNKS_AT_ONCE == 0:
            await asyncio.sleep(0)
        if len(body) > max_bytes:
            raise FetchRefused(f"has more than {max_bytes} bytes")
    try:
        content = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise FetchRefused("is not plain JSON") from None
    if not isinstance(content, dict):
        raise FetchRefused("is no JSON object")
    return Fetched(content, _fresh_seconds(response.headers.get("cache-control", "")))


def _fresh_seconds(cache_control: str) -> float | None:
    if _UNCACHED.search(cache_control):
        return 0.0
    max_age = _MAX_AGE.search(cache_control)
    return float(max_age[1]) if max_age else None

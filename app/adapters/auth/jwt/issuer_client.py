"""HTTP requests to an OpenID issuer: its metadata, its key set, and forms for its endpoints."""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.adapters.auth.jwt.faults import IssuerUnavailable
from app.adapters.auth.jwt.keys import KeySet, read_key_set
from app.adapters.checked_network import CheckedTransport
from app.adapters.network_environment import proxy_for, tls_context

MAX_DOCUMENT_BYTES = 256 * 1024
"""Size limit of a response. The metadata and key sets of the large issuers have 2 to 20 KB."""

DEADLINE_SECONDS = 8.0
"""Timeout for reading metadata and key set together, and for sending a form."""

MAX_URL_LENGTH = 2_000
"""Maximum length, in characters, of a URL in the metadata."""


class IssuerClient:
    """Sends requests to one issuer. No redirect is followed, and no cookie or connection is kept."""

    def __init__(self, issuer: str, user_agent: str, environment: Mapping[str, str]) -> None:
        """Send requests to `issuer`, a URL, through the proxy and with the certificates that `environment` names.

        Raises EnvironmentFault if they cannot be used.
        """
        self._issuer = issuer
        self._user_agent = user_agent
        self._environment = dict(environment)
        self._tls: ssl.SSLContext | None = tls_context(environment) if issuer.startswith("https:") else None
        self._key_set_url: str | None = None
        proxy_for(issuer, environment)  # raises EnvironmentFault now, and not in the first request

    async def read_keys(self) -> KeySet:
        """Return the usable keys of the issuer, at least one. Raises IssuerUnavailable."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._read_keys()
        except TimeoutError:
            self._key_set_url = None
            raise IssuerUnavailable(f"does not answer within {DEADLINE_SECONDS:.0f} s") from None
        except Exception:
            self._key_set_url = None  # the issuer may have moved its keys
            raise

    async def read_metadata(self) -> dict[str, Any]:
        """Return the issuer's metadata.

        Raises IssuerUnavailable, also if the metadata have another `issuer`, or name no usable key set.
        """
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                metadata = await self._fetch_metadata()
        except TimeoutError:
            raise IssuerUnavailable(f"does not answer within {DEADLINE_SECONDS:.0f} s") from None
        self._key_set_url_in(metadata)
        return metadata

    async def post_form(
        self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a form to one of the issuer's endpoints, and return the status and the JSON object of the response.

        `basic` is a name and a secret for HTTP Basic authentication. Raises IssuerUnavailable, also for a status of 500
        or above.
        """
        try:
            async with (
                asyncio.timeout(DEADLINE_SECONDS),
                self._client(url) as client,
                client.stream("POST", url, data=dict(form), auth=basic) as response,
            ):
                content = json.loads(await _read(response))
        except TimeoutError:
            raise IssuerUnavailable(f"does not answer within {DEADLINE_SECONDS:.0f} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            raise IssuerUnavailable(f"cannot be reached ({type(exc).__name__})") from None
        except (ValueError, RecursionError):
            raise IssuerUnavailable("answers with something else than JSON") from None
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or not isinstance(content, dict):
            raise IssuerUnavailable(f"answers with HTTP status {response.status_code}")
        return response.status_code, content

    def is_usable(self, url: object) -> bool:
        """Return whether a URL in the issuer's metadata may be used: https, or http if the issuer's own URL is http."""
        schemes = ("https",) if self._issuer.startswith("https:") else ("https", "http")
        return isinstance(url, str) and len(url) <= MAX_URL_LENGTH and _has_scheme_and_host(url, schemes)

    async def _read_keys(self) -> KeySet:
        if self._key_set_url is None:
            self._key_set_url = self._key_set_url_in(await self._fetch_metadata())
        keys = read_key_set(await self._fetch_json(self._key_set_url))
        if not keys:
            raise IssuerUnavailable("publishes no usable key: RSA of 2048 to 8192 bits, EC or Ed25519, for signatures")
        return keys

    async def _fetch_metadata(self) -> dict[str, Any]:
        for url in metadata_urls(self._issuer):
            document = await self._fetch_json(url)
            if isinstance(document, dict):
                return document
        raise IssuerUnavailable("has no OpenID configuration under its address")

    def _key_set_url_in(self, metadata: Mapping[str, Any]) -> str:
        """Return the URL of the key set. Raises IssuerUnavailable."""
        if metadata.get("issuer") != self._issuer:
            raise IssuerUnavailable("has another `issuer` in its OpenID configuration: even a slash at the end counts")
        url = metadata.get("jwks_uri")
        if not isinstance(url, str) or not self.is_usable(url):
            raise IssuerUnavailable("names no key set with an https address in its OpenID configuration")
        return url

    async def _fetch_json(self, url: str) -> Any:
        """Return the JSON value at `url`; None for status 404. Raises IssuerUnavailable."""
        try:
            async with self._client(url) as client, client.stream("GET", url) as response:
                if response.status_code == httpx.codes.NOT_FOUND:
                    return None
                if response.status_code != httpx.codes.OK:
                    raise IssuerUnavailable(f"answers with HTTP status {response.status_code}")
                content = await _read(response)
            return json.loads(content)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            raise IssuerUnavailable(f"cannot be reached ({type(exc).__name__})") from None
        except (ValueError, RecursionError):
            raise IssuerUnavailable("answers with something else than JSON") from None

    def _client(self, url: str) -> httpx.AsyncClient:
        """Return a client for one request to `url`. Requests are minutes apart, so no connection is kept."""
        transport = CheckedTransport(
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
            proxy=proxy_for(url, self._environment),
            verify=self._tls if self._tls is not None else url.startswith("https:"),
            trust_env=False,
        )
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": self._user_agent}
        return httpx.AsyncClient(
            transport=transport, headers=headers, timeout=DEADLINE_SECONDS, trust_env=False, follow_redirects=False
        )


def metadata_urls(issuer: str) -> list[str]:
    """Return the possible URLs of an issuer's metadata: of OpenID Connect Discovery 1.0, then of RFC 8414."""
    parts = urlsplit(issuer)
    path, origin = parts.path.rstrip("/"), f"{parts.scheme}://{parts.netloc}"
    return [
        f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
    ]


def _has_scheme_and_host(url: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def _read(response: httpx.Response) -> bytes:
    """Return the body. Raises IssuerUnavailable if it is compressed, or exceeds MAX_DOCUMENT_BYTES."""
    content = bytearray()
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise IssuerUnavailable("compresses its response, although the request does not accept that")
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_DOCUMENT_BYTES:
            raise IssuerUnavailable(f"answers with more than {MAX_DOCUMENT_BYTES // 1024} KB")
    return bytes(content)

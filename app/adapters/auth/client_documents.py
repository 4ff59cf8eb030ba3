"""Client ID Metadata Documents: a client's id is the URL of a document that describes it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from cachetools import TTLCache

from app.adapters.auth.public_fetch import Fetched, NotFetchable, NotFetched, PublicFetcher
from app.domain.redirects import BadRedirect, check_redirect
from app.domain.sign_in import LONGEST_CLIENT_ID, ClientAuth, OAuthClient, Registration, visible_name
from app.ports.sign_in import DocumentRefused, DocumentUnavailable
from app.services.limits.address_limits import AddressLimit

MOST_DOCUMENT_BYTES = 5 * 1024
MOST_KEYS_BYTES = 32 * 1024
SHORTEST_FRESH_SECONDS, USUAL_FRESH_SECONDS, LONGEST_FRESH_SECONDS = 300.0, 3600.0, 86_400.0
KEYS_SECONDS = 300.0
MOST_KEY_SETS = 200
PER_HOST, HOST_SECONDS = 30, 60.0
"""Fetches from one host in each minute, so that nobody can aim this service at it."""

MOST_REDIRECTS = 20


class HttpClientDocuments:
    """Fetches documents. What is fetched at the same time is fetched once."""

    def __init__(self, fetcher: PublicFetcher, clock: Callable[[], float]) -> None:
        """Fetch with `fetcher`. `clock` is monotonic."""
        self._fetcher = fetcher
        self._hosts = AddressLimit(PER_HOST, 10 * PER_HOST, HOST_SECONDS, clock)
        self._flights: dict[str, asyncio.Task[Fetched]] = {}
        self._keys: TTLCache[str, Mapping[str, Any]] = TTLCache(MOST_KEY_SETS, KEYS_SECONDS, clock)

    def is_document_id(self, client_id: str) -> bool:
        """Return whether a client id is the URL of a document: https, with a path, and in its one plain spelling."""
        if len(client_id) > LONGEST_CLIENT_ID or "#" in client_id or "://" not in client_id:
            return False
        if not self._fetcher.may_fetch(client_id):
            return False
        segments = unquote(unquote(urlsplit(client_id).path)).split("/")
        return len(segments) > 1 and any(segments) and not {".", ".."} & set(segments)

    async def fetch(self, client_id: str) -> tuple[OAuthClient, float]:
        """Return the client and the seconds for which its document is fresh.

        Raises DocumentRefused and DocumentUnavailable.
        """
        fetched = await self._fetched(client_id, MOST_DOCUMENT_BYTES, "The app's description")
        usual = USUAL_FRESH_SECONDS if fetched.fresh_seconds is None else fetched.fresh_seconds
        fresh = min(max(usual, SHORTEST_FRESH_SECONDS), LONGEST_FRESH_SECONDS)
        return _client(client_id, fetched.content), fresh

    async def keys(self, client: OAuthClient) -> Mapping[str, Any]:
        """Return the client's public keys, a JSON Web Key Set. Raises DocumentRefused and DocumentUnavailable."""
        if client.jwks is not None:
            found: dict[str, Any] = json.loads(client.jwks)
            return found
        if client.jwks_uri is None:
            raise DocumentRefused("The client's description names no public keys.")
        if (known := self._keys.get(client.jwks_uri)) is not None:
            return known
        fetched = await self._fetched(client.jwks_uri, MOST_KEYS_BYTES, "The list of the client's keys")
        self._keys[client.jwks_uri] = fetched.content
        return fetched.content

    async def _fetched(self, url: str, most_bytes: int, what: str) -> Fetched:
        flight = self._flights.get(url)
        if flight is None:
            if self._hosts.take(urlsplit(url).hostname or "") is not None:
                raise DocumentUnavailable(f"{what} was fetched too often lately. Try again in a minute.")
            flight = self._flights[url] = asyncio.create_task(self._fetcher.fetch(url, most_bytes))
            flight.add_done_callback(lambda _done: self._flights.pop(url, None))
        try:
            return await asyncio.shield(flight)
        except NotFetchable as exc:
            raise DocumentRefused(
                f"{what} {exc}, so the app cannot be connected. Its makers can correct that."
            ) from None
        except NotFetched as exc:
            raise DocumentUnavailable(f"{what} {exc}. Try again in a few minutes.") from None


def _client(client_id: str, content: Mapping[str, Any]) -> OAuthClient:
    """Return the client that a document describes. Raises DocumentRefused."""
    if content.get("client_id") != client_id:
        raise DocumentRefused("The app's description is about another app: its client_id is not its address.")
    name, host = content.get("client_name"), urlsplit(client_id).hostname or client_id
    jwks_uri, jwks = content.get("jwks_uri"), content.get("jwks")
    return OAuthClient(
        client_id,
        visible_name(name if isinstance(name, str) else None, host),
        _redirects(content.get("redirect_uris")),
        Registration.DOCUMENT,
        _auth(content),
        jwks_uri=jwks_uri if isinstance(jwks_uri, str) and len(jwks_uri) <= LONGEST_CLIENT_ID else None,
        jwks=json.dumps(jwks) if isinstance(jwks, dict) else None,
    )


def _redirects(given: Any) -> tuple[str, ...]:
    """Return the redirect URIs that may be used. Others are left out: they may be meant for other servers."""
    usable = []
    for uri in given[:MOST_REDIRECTS] if isinstance(given, list) else ():
        try:
            usable.append(check_redirect(uri if isinstance(uri, str) else ""))
        except BadRedirect:
            continue
    if not usable:
        raise DocumentRefused("The app's description has no redirect_uris that this server may send people to.")
    return tuple(usable)


def _auth(content: Mapping[str, Any]) -> ClientAuth:
    """Return how the client authenticates. A client that can do without its key may do so."""
    supported = content.get("token_endpoint_auth_methods_supported")
    methods = {content.get("token_endpoint_auth_method", "none"), *(supported if isinstance(supported, list) else ())}
    if "none" in methods:
        return ClientAuth.NONE
    if ClientAuth.ASSERTION in methods:
        return ClientAuth.ASSERTION
    raise DocumentRefused("The app's description wants a shared secret, which a public document cannot hold.")

"""Looks up and registers OAuth clients."""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from app.domain.oauth import OAuthError
from app.domain.redirects import BadRedirect, check_redirect, is_loopback, shown_host
from app.domain.sign_in import (
    MAX_CLIENT_ID_LENGTH,
    ClientAuth,
    OAuthClient,
    Registration,
    visible_name,
)
from app.ports.sign_in import ClientDocuments, DocumentRefused, DocumentUnavailable, SignInTelemetry
from app.ports.sign_in_store import Clients
from app.services.concurrency import SharedTasks
from app.services.limits.address_limits import AddressLimit
from app.services.sign_in.lazy_token_mint import LazyTokenMint

MAX_REDIRECT_URIS = 10
OUTAGE_SECONDS = 60.0
"""Time for which a stale document is used without another fetch, after its server did not answer."""

_SECRET_METHODS = ("client_secret_post", "client_secret_basic")


class ClientRefused(Exception):
    """The client is unknown or not acceptable. `str()` is a sentence for the person and the client's developer."""


class TooManyRequests(Exception):
    """A network address has reached a rate limit. It may try again after `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__("too many requests")
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class NewClient:
    """The result of a registration.

    Attributes:
        secret: the client's secret, which is not stored and cannot be shown again; None for a public client.
        is_new: whether the client was recorded now; False if an equal client was registered before.

    """

    client: OAuthClient
    secret: str | None = field(repr=False)
    is_new: bool


class ClientRegistry:
    """Registered clients, and clients that a Client ID Metadata Document describes."""

    def __init__(  # noqa: PLR0913, PLR0917 - a client comes from the database, from a document, or is registered
        self,
        clients: Clients,
        documents: ClientDocuments,
        mint: LazyTokenMint,
        fetches: AddressLimit,
        telemetry: SignInTelemetry,
        wall_clock: Callable[[], float],
    ) -> None:
        """Store clients in `clients`. `fetches` limits fetches of documents and keys per network address."""
        self._clients = clients
        self._documents = documents
        self._mint = mint
        self._fetches = fetches
        self._telemetry = telemetry
        self._wall_clock = wall_clock
        self._fetching: SharedTasks[OAuthClient] = SharedTasks()

    async def find(self, client_id: str, address: str) -> OAuthClient:
        """Return the client with this id.

        If the id is the URL of a metadata document, the document is fetched and stored, unless the stored document is
        fresh. If a limit or an outage prevents the fetch, the stale document is used. Concurrent requests for a client
        share one fetch. Raises ClientRefused, TooManyRequests and DatabaseUnavailable.

        `address` is the network address that the request comes from. The fetch counts for it.
        """
        known = await self._known(client_id)
        if not self._documents.is_document_id(client_id):
            if known is None:
                raise ClientRefused(
                    "This app is not registered here, or its registration has ended. Remove this server from the "
                    "app and add it again: it then registers anew."
                )
            return known
        if known is not None and (known.fresh_until or 0.0) > self._wall_clock():
            return known
        if client_id not in self._fetching:
            if (wait_seconds := self._fetches.take(address)) is not None:
                if known is not None:
                    return known
                raise TooManyRequests(wait_seconds)
            self._fetching.start(client_id, self._fetch(client_id, known))
        return await self._fetching.result(client_id)

    async def keys(self, client: OAuthClient, address: str) -> Mapping[str, Any]:
        """Return the client's public keys, a JSON Web Key Set. A fetch of keys counts like a fetch of a document.

        Raises DocumentRefused, DocumentUnavailable and TooManyRequests.
        """
        if (known_keys := self._documents.known_keys(client)) is not None:
            return known_keys
        if (wait_seconds := self._fetches.take(address)) is not None:
            raise TooManyRequests(wait_seconds)
        return await self._documents.fetch_keys(client)

    async def _known(self, client_id: str) -> OAuthClient | None:
        """Return a stored client, also if its document is stale; None if there is none. Raises DatabaseUnavailable."""
        if len(client_id) > MAX_CLIENT_ID_LENGTH or not client_id.isprintable():
            return None
        return await self._clients.client(client_id)

    async def _fetch(self, client_id: str, stale: OAuthClient | None) -> OAuthClient:
        """Fetch and store the document of a client. If it is unavailable, return `stale`, the stored client.

        Raises ClientRefused if the document is refused, or if it is unavailable and nothing is stored. A refused
        document is deleted, so that it is not used in a later outage.
        """
        try:
            client, fresh_seconds = await self._documents.fetch(client_id)
        except DocumentRefused as exc:
            if stale is not None:
                await self._clients.delete_document(stale)
            raise ClientRefused(str(exc)) from None
        except DocumentUnavailable as exc:
            if stale is not None:
                await self._clients.extend_document(stale, OUTAGE_SECONDS)
                return stale
            raise ClientRefused(str(exc)) from None
        await self._clients.keep_document(client, fresh_seconds)
        if stale is None:
            self._telemetry.client_registered(Registration.DOCUMENT)
        return client

    async def register(self, metadata: Mapping[str, Any]) -> NewClient:
        """Register a client by its metadata (RFC 7591). Unknown fields are ignored.

        Public clients with the same name and redirect URIs share one registration. Raises OAuthError and
        DatabaseUnavailable.
        """
        redirects = _redirect_uris(metadata.get("redirect_uris"))
        auth = _auth_method(metadata.get("token_endpoint_auth_method"))
        client_name = metadata.get("client_name")
        name = visible_name(client_name if isinstance(client_name, str) else None, shown_host(redirects[0]))
        mint, secret = await self._mint.load(), None
        client = OAuthClient(f"lmc_{secrets.token_urlsafe(16)}", name, redirects, Registration.DYNAMIC, auth)
        fingerprint = _fingerprint(client) if auth is ClientAuth.NONE else None
        if auth is ClientAuth.SECRET:
            secret = mint.random()
            client = replace(client, secret_digest=mint.digest(secret))
        registered = await self._clients.register(client, fingerprint)
        is_new = registered.id == client.id
        if is_new:
            self._telemetry.client_registered(Registration.DYNAMIC)
        return NewClient(replace(registered, redirect_uris=redirects), secret, is_new)


def _redirect_uris(uris: Any) -> tuple[str, ...]:
    if not isinstance(uris, list) or not 0 < len(uris) <= MAX_REDIRECT_URIS:
        raise OAuthError("invalid_redirect_uri", f"redirect_uris must be a list of 1 to {MAX_REDIRECT_URIS} URIs.")
    checked = []
    for number, uri in enumerate(uris, 1):
        if not isinstance(uri, str):
            raise OAuthError("invalid_redirect_uri", f"Redirect URI {number} is not a string.")
        try:
            checked.append(check_redirect(uri))
        except BadRedirect as exc:
            raise OAuthError("invalid_redirect_uri", f"Redirect URI {number} {exc}.") from None
    return tuple(checked)


def _auth_method(method: Any) -> ClientAuth:
    """Return the authentication method for a client. The default is a public client, which PKCE protects.

    Raises OAuthError for a method that is not supported.
    """
    if method in (None, "none"):
        return ClientAuth.NONE
    if method in _SECRET_METHODS:
        return ClientAuth.SECRET
    raise OAuthError(
        "invalid_client_metadata",
        "token_endpoint_auth_method must be none, client_secret_post or client_secret_basic. A client with a key pair "
        "identifies itself by a metadata document.",
    )


def _fingerprint(client: OAuthClient) -> str:
    """Return a hash that is equal for registrations of one program. It ignores the ports of loopback redirect URIs."""
    redirects = sorted(map(_without_port, client.redirect_uris))
    return hashlib.sha256(json.dumps([redirects, client.name]).encode()).hexdigest()


def _without_port(uri: str) -> str:
    if not is_loopback(uri):
        return uri
    parts = urlsplit(uri)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))

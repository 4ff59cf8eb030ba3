"""Fetches client metadata documents (the draft "OAuth Client ID Metadata Document").

A client may use as its client_id the https URL of a JSON document with its metadata.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from cachetools import TTLCache

from app.adapters.auth.jwt.keys import public_jwks
from app.adapters.auth.public_fetch import Fetched, FetchFailed, FetchRefused, PublicFetcher
from app.domain.redirects import BadRedirect, check_redirect
from app.domain.sign_in import MAX_CLIENT_ID_LENGTH, ClientAuth, OAuthClient, Registration, visible_name
from app.ports.sign_in import DocumentRefused, DocumentUnavailable
from app.services.concurrency import SharedTasks
from app.services.limits.address_limits import AddressLimit

MAX_DOCUMENT_BYTES = 5 * 1024
MAX_KEYS_BYTES = 32 * 1024
MIN_FRESH_SECONDS, DEFAULT_FRESH_SECONDS, MAX_FRESH_SECONDS = 300.0, 3600.0, 86_400.0
"""Limits of the time for which a document is fresh, and its default if the response does not say."""

KEYS_SECONDS = 300.0
"""Time for which a client's keys are cached."""

MAX_KEY_SETS = 200
"""Maximum number of cached key sets. Each has about 40 KB at most, because unused members are left out."""

MAX_CLIENT_KEYS = 20
"""Keys of a client that are read. Further ones are ignored."""

PER_HOST, HOST_SECONDS = 30, 60.0
"""Maximum number of fetches from one host in this time. Without a limit, this service could be used to flood a host."""

TOTAL_TO_HOST_RATIO = 10
"""Ratio of the limit of all hosts together to the limit of one host."""

MAX_REDIRECT_URIS = 20
"""Redirect URIs of a document that are read. Further ones are ignored."""


class HttpClientDocuments:
    """Fetches documents and key sets. Concurrent fetches of one URL share a single request."""

    def __init__(
        self, fetcher: PublicFetcher, clock: Callable[[], float], on_refusal: Callable[[], None] = lambda: None
    ) -> None:
        """Fetch with `fetcher`. `clock` is monotonic. `on_refusal` is called for each fetch that a limit refuses."""
        self._fetcher = fetcher
        self._host_limit = AddressLimit(PER_HOST, TOTAL_TO_HOST_RATIO * PER_HOST, HOST_SECONDS, clock, on_refusal)
        self._fetches: SharedTasks[Fetched] = SharedTasks()
        self._keys: TTLCache[str, Mapping[str, Any]] = TTLCache(MAX_KEY_SETS, KEYS_SECONDS, clock)

    def is_document_id(self, client_id: str) -> bool:
        """Return whether a client id is the URL of a document: https, with a path, without fragment or dot segments.

        A fetcher that allows loopback addresses also allows http there.
        """
        if len(client_id) > MAX_CLIENT_ID_LENGTH or "#" in client_id or "://" not in client_id:
            return False
        if not self._fetcher.may_fetch(client_id):
            return False
        # Decoded twice, because a server or proxy may decode `%252e%252e` to `..` in two steps.
        segments = unquote(unquote(urlsplit(client_id).path)).split("/")
        return len(segments) > 1 and any(segments) and not {".", ".."} & set(segments)

    async def fetch(self, client_id: str) -> tuple[OAuthClient, float]:
        """Return the client and the seconds for which its document is fresh.

        Raises DocumentRefused and DocumentUnavailable.
        """
        fetched = await self._fetch_json(client_id, MAX_DOCUMENT_BYTES, "The app's client metadata document")
        seconds = DEFAULT_FRESH_SECONDS if fetched.fresh_seconds is None else fetched.fresh_seconds
        fresh_seconds = min(max(seconds, MIN_FRESH_SECONDS), MAX_FRESH_SECONDS)
        return self._client(client_id, fetched.content), fresh_seconds

    def known_keys(self, client: OAuthClient) -> Mapping[str, Any] | None:
        """Return the client's public keys, a JSON Web Key Set; None if they are neither in its document nor cached."""
        if client.jwks is not None:
            inline: dict[str, Any] = json.loads(client.jwks)
            return inline
        return self._keys.get(client.jwks_uri or "")

    async def fetch_keys(self, client: OAuthClient) -> Mapping[str, Any]:
        """Fetch the client's public keys, a JSON Web Key Set. Raises DocumentRefused and DocumentUnavailable."""
        if client.jwks_uri is None or not self._fetcher.may_fetch(client.jwks_uri):
            raise DocumentRefused("The client metadata document has no `jwks_uri` with a public https URL.")
        fetched = await self._fetch_json(client.jwks_uri, MAX_KEYS_BYTES, "The key set of the app")
        keys = self._keys[client.jwks_uri] = _public_keys(fetched.content)
        return keys

    def _client(self, client_id: str, content: Mapping[str, Any]) -> OAuthClient:
        """Return the client that a document describes. Raises DocumentRefused."""
        if content.get("client_id") != client_id:
            raise DocumentRefused(
                "The `client_id` in the client metadata document differs from the document's URL. The app's developer "
                "must fix the document."
            )
        name, host = content.get("client_name"), urlsplit(client_id).hostname or client_id
        jwks = content.get("jwks")
        return OAuthClient(
            client_id,
            visible_name(name if isinstance(name, str) else None, host),
            _redirects(content.get("redirect_uris")),
            Registration.DOCUMENT,
            _auth(content),
            jwks_uri=self._jwks_uri(content.get("jwks_uri")),
            jwks=json.dumps(_public_keys(jwks)) if isinstance(jwks, dict) else None,
        )

    def _jwks_uri(self, uri: Any) -> str | None:
        """Return the `jwks_uri` of a document. Raises DocumentRefused unless it may be fetched."""
        if uri is None:
            return None
        if not isinstance(uri, str) or len(uri) > MAX_CLIENT_ID_LENGTH or not self._fetcher.may_fetch(uri):
            raise DocumentRefused(
                "The `jwks_uri` in the client metadata document is no public https URL of at most "
                f"{MAX_CLIENT_ID_LENGTH} characters. The app's developer must fix the document."
            )
        return uri

    async def _fetch_json(self, url: str, max_bytes: int, subject: str) -> Fetched:
        """Fetch the JSON object at `url`, or join a fetch of it in flight. `subject` begins the sentences of errors.

        Raises DocumentRefused, and DocumentUnavailable also if too many documents were fetched, from this host or in
        all.
        """
        if url not in self._fetches:
            if self._host_limit.take(urlsplit(url).hostname or "") is not None:
                raise DocumentUnavailable(
                    f"{subject} was not fetched: too many documents were fetched in the last minute, from its host or "
                    "in all. Try again in a minute."
                )
            self._fetches.start(url, self._fetcher.fetch(url, max_bytes))
        try:
            return await self._fetches.result(url)
        except FetchRefused as exc:
            raise DocumentRefused(
                f"{subject} {exc}, so the app cannot be connected. The app's developer must fix that."
            ) from None
        except FetchFailed as exc:
            raise DocumentUnavailable(f"{subject} {exc}. Try again in a few minutes.") from None


def _public_keys(jwks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key set without unused keys and members: a stranger's key set may be large and deeply nested."""
    return {"keys": public_jwks(jwks)[:MAX_CLIENT_KEYS]}


def _redirects(redirect_uris: Any) -> tuple[str, ...]:
    """Return the redirect URIs that may be used, at least one.

    Unusable URIs are skipped, because a document may list URIs for other authorization servers. Raises DocumentRefused
    if there is no usable one.
    """
    usable = []
    for uri in redirect_uris[:MAX_REDIRECT_URIS] if isinstance(redirect_uris, list) else ():
        try:
            usable.append(check_redirect(uri if isinstance(uri, str) else ""))
        except BadRedirect:
            continue
    if not usable:
        raise DocumentRefused(
            "The client metadata document has no `redirect_uris` to which this server may redirect. The app's "
            "developer must fix the document."
        )
    return tuple(usable)


def _auth(content: Mapping[str, Any]) -> ClientAuth:
    """Return how the client authenticates: with `none` if its document allows that, else with `private_key_jwt`.

    Raises DocumentRefused if the document allows neither.
    """
    supported = content.get("token_endpoint_auth_methods_supported")
    methods = [content.get("token_endpoint_auth_method", "none"), *(supported if isinstance(supported, list) else ())]
    if "none" in methods:
        return ClientAuth.NONE
    if ClientAuth.ASSERTION in methods:
        return ClientAuth.ASSERTION
    raise DocumentRefused(
        "The client metadata document supports neither `none` nor `private_key_jwt` as the authentication method of "
        "the token endpoint. The app's developer must fix the document."
    )

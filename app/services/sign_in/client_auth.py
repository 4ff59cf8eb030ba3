"""Authenticates clients at the token and revocation endpoints."""

import hmac
from dataclasses import dataclass, field

from app.domain.oauth import OAuthError
from app.domain.sign_in import ClientAuth, OAuthClient
from app.ports.sign_in import AssertionCheck, DocumentRefused, DocumentUnavailable
from app.ports.sign_in_store import Clients
from app.services.sign_in.clients import ClientRefused, ClientRegistry
from app.services.sign_in.lazy_token_mint import LazyTokenMint

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class ClientProof:
    """The client credentials in a request. `secret` is from the form or from HTTP Basic authentication."""

    client_id: str | None
    secret: str | None = field(default=None, repr=False)
    assertion_type: str | None = None
    assertion: str | None = field(default=None, repr=False)


class ClientAuthenticator:
    """Authenticates the client of a request by the method that the client is registered with."""

    def __init__(
        self,
        registry: ClientRegistry,
        clients: Clients,
        assertions: AssertionCheck,
        mint: LazyTokenMint,
    ) -> None:
        """Look up clients in `registry`. `clients` stores used assertions, so that each is accepted once.

        `mint` makes the digests of secrets and assertions.
        """
        self._registry = registry
        self._clients = clients
        self._assertions = assertions
        self._mint = mint

    async def authenticate(self, proof: ClientProof, address: str) -> OAuthClient:
        """Return the authenticated client. A stale document is fetched again: the client may have withdrawn a key.

        `address` is the network address that the request comes from: fetches of documents are limited per address.
        Raises OAuthError, TooManyRequests and DatabaseUnavailable.
        """
        if not proof.client_id:
            raise OAuthError("invalid_client", "The request names no client: send client_id.")
        client = await self._find(proof.client_id, address)
        if client.auth is ClientAuth.SECRET:
            await self._check_secret(client, proof)
        elif client.auth is ClientAuth.ASSERTION or proof.assertion is not None:
            await self._check_assertion(client, proof, address)
        return client

    async def _find(self, client_id: str, address: str) -> OAuthClient:
        try:
            return await self._registry.find(client_id, address)
        except ClientRefused as exc:
            raise OAuthError("invalid_client", str(exc)) from None

    async def _check_secret(self, client: OAuthClient, proof: ClientProof) -> None:
        digest = (await self._mint.load()).digest(proof.secret or "")
        if not proof.secret or not hmac.compare_digest(digest, client.secret_digest or ""):
            raise OAuthError("invalid_client", "The client's secret is missing or wrong.")

    async def _check_assertion(self, client: OAuthClient, proof: ClientProof, address: str) -> None:
        if proof.assertion_type != ASSERTION_TYPE or proof.assertion is None:
            raise OAuthError("invalid_client", "This client authenticates with a signed assertion: private_key_jwt.")
        try:
            keys = await self._registry.keys(client, address)
        except DocumentRefused as exc:
            raise OAuthError("invalid_client", str(exc)) from None
        except DocumentUnavailable as exc:
            raise OAuthError("temporarily_unavailable", str(exc)) from None
        verified = self._assertions.verify(proof.assertion, keys, client.id)
        if verified is None:
            raise OAuthError("invalid_client", "The client's assertion is not valid: check its key, audience and time.")
        assertion_id, record_seconds = verified
        digest = (await self._mint.load()).digest(f"{client.id} {assertion_id}")
        if not await self._clients.use_assertion(digest, record_seconds):
            raise OAuthError("invalid_client", "The client's assertion was used before: sign a new one each time.")

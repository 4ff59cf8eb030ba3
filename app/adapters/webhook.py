"""Sends alerts as signed webhooks, as the Standard Webhooks specification defines them (standardwebhooks.com).

The signature is an HMAC-SHA-256 over id, timestamp and body. Its secret is derived from the service's secret key and
the id of the team, so it is stored nowhere. During a rotation, an alert has one signature for each secret key.
"""

import asyncio
import json
import os
from collections.abc import Callable
from functools import partial

import httpx

from app.adapters.auth.resolver import Resolver
from app.adapters.checked_network import CheckedTransport
from app.adapters.network_environment import proxy_for, tls_context
from app.adapters.tls_handshake import strangers_threads
from app.adapters.vault import CannotOpen, Vault
from app.adapters.webhook_signature import PURPOSE, signature
from app.domain.calendar import utc_text
from app.ports.alerts import BudgetAlert, NotDelivered

MAX_CONNECTION_BYTES = 256 * 1024
"""Maximum number of bytes that a receiver of alerts may send: certificates, TLS records and the start of a response."""

SECONDS = 10.0
"""Timeout of one attempt, including the connection."""


class WebhookSender:
    """Sends each alert to the URL of its budget. Redirects are not followed, and bodies of responses are not read."""

    def __init__(
        self,
        vault: Vault,
        secret_keys: tuple[str, ...],
        wall_clock: Callable[[], float],
        transport: httpx.AsyncBaseTransport | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """Unseal URLs with `vault`, and sign under `secret_keys`. `transport` replaces the network in tests.

        `resolver` None means the system's resolver in eight threads for alerts alone, at most two of them for one team.
        """
        self._vault = vault
        self._secret_keys = secret_keys
        self._wall_clock = wall_clock
        self._transport = transport
        self._resolver = resolver or Resolver()
        self._threads = strangers_threads()

    async def send(self, alert: BudgetAlert) -> None:
        """Send an alert once. Raises NotDelivered unless the response has a 2xx status."""
        try:
            url = self._vault.open(PURPOSE, alert.sealed_url or "", alert.team_id).decode()
        except CannotOpen:
            raise NotDelivered("has a URL that was sealed under another secret key: set the budget again") from None
        body = _body(alert)
        try:
            async with asyncio.timeout(SECONDS), httpx.AsyncClient(transport=self._network(url, alert)) as client:
                request = client.build_request("POST", url, content=body, headers=self._headers(alert, body))
                response = await client.send(request, stream=True)
                await response.aclose()
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
            raise NotDelivered(f"does not answer ({type(exc).__name__})") from None
        if not response.is_success:
            raise NotDelivered(f"answered with status {response.status_code}")

    def _network(self, url: str, alert: BudgetAlert) -> httpx.AsyncBaseTransport:
        if self._transport is not None:
            return self._transport
        resolve = partial(self._resolver, tenant=alert.team_id)
        proxy, context = proxy_for(url, os.environ), tls_context(os.environ, is_for_strangers=True)
        return CheckedTransport(
            resolve=resolve,
            proxy=proxy,
            verify=context,
            trust_env=False,
            max_connection_bytes=MAX_CONNECTION_BYTES,
            threads=self._threads,
        )

    def _headers(self, alert: BudgetAlert, body: bytes) -> dict[str, str]:
        message_id, timestamp = f"alert_{alert.team_id}_{alert.id}", str(int(self._wall_clock()))
        signed = b".".join((message_id.encode(), timestamp.encode(), body))
        signatures = (signature(alert.team_id, secret, signed) for secret in self._secret_keys)
        return {
            "content-type": "application/json",
            "user-agent": "luma-mcp",
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(signatures),
        }


def _body(alert: BudgetAlert) -> bytes:
    passed_at = utc_text(alert.created_at)
    return json.dumps({"type": "budget.threshold", "timestamp": passed_at, "data": alert.content}).encode()

"""The registry of OAuth clients: fetches of metadata documents."""

import asyncio
from typing import Any, cast

from app.domain.sign_in import OAuthClient, Registration
from app.ports.sign_in import DocumentUnavailable
from app.services.limits.address_limits import AddressLimit
from app.services.sign_in.clients import ClientRegistry
from tests.support.clock import HandClock

STALE = OAuthClient("https://c.example/d", "C", ("http://localhost/cb",), Registration.DOCUMENT, fresh_until=1.0)


class StoredClient:
    """A repository with STALE alone."""

    def __init__(self) -> None:
        self.extended: list[OAuthClient] = []

    async def client(self, _client_id: str) -> OAuthClient:
        return STALE

    async def extend_document(self, client: OAuthClient, _seconds: float) -> None:
        self.extended.append(client)


class SlowDocuments:
    """A server of documents that does not answer, and says so when `ended` is set."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.fetched: list[str] = []

    def is_document_id(self, _client_id: str) -> bool:
        return True

    async def fetch(self, client_id: str) -> tuple[OAuthClient, float]:
        self.fetched.append(client_id)
        await self.ended.wait()
        raise DocumentUnavailable("no answer")

    async def end(self) -> None:
        self.ended.set()


async def test_concurrent_requests_of_a_client_share_one_fetch_that_counts_once(clock: HandClock) -> None:
    clients, documents, fetches = StoredClient(), SlowDocuments(), AddressLimit(2, 100, 60.0, clock)
    nothing: Any = None
    registry = ClientRegistry(cast("Any", clients), cast("Any", documents), nothing, fetches, nothing, clock)
    found = await asyncio.gather(*(registry.find(STALE.id, "192.0.2.1") for _ in range(25)), documents.end())
    assert found[:-1] == [STALE] * 25
    assert documents.fetched == [STALE.id]
    assert clients.extended == [STALE]
    assert [fetches.take("192.0.2.1") is None for _ in range(2)] == [True, False]

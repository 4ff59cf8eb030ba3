"""Refusals that no quota counts: each is counted under its kind, and a burst of them is one line in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import httpx
import pytest

from app.adapters.acedata.client import Timeouts
from app.adapters.acedata.policy import ACEDATACLOUD, GENERATIONS_AT_ONCE
from app.adapters.auth.client_documents import PER_HOST
from app.adapters.auth.jwt import issuer_keys as jwt_keys
from app.composition.application import Assembly, assemble
from app.composition.quotas import DATABASE_CALLBACKS, DATABASE_PURCHASES, DATABASE_SIGN_IN, database_limits
from app.composition.services import build_submission_limiter
from app.domain.access import Credential, Principal
from app.domain.errors import OutcomeUnknown, RateLimited
from app.domain.generation import GenerateVideo
from app.observability.refusals import Refusals
from app.ports.auth import AuthenticationUnavailable
from app.ports.repositories import DatabaseBusy
from app.services import batched_lookups
from app.services.limits.backend_limits import BackendLimits
from app.services.limits.database_turns import DatabaseLimits, DatabaseTurns
from app.services.purchases import idempotency, limiter
from app.services.purchases.request import PurchaseRequest, fingerprint
from app.services.purchases.unaccepted_rows import MAX_PER_TOKEN
from app.services.sign_in.clients import ClientRefused
from app.services.teams import directory_cache
from tests.support.clock import HandClock, while_time_passes
from tests.support.documents_server import document_server
from tests.support.service import settings

BURST = 3
CALLER = "tenant-7f"
MOMENT_SECONDS = 0.001
"""A wait by the event loop's own clock that is over at once."""

Refuse = Callable[[], Awaitable[None]]


class HangingNetwork(httpx.AsyncBaseTransport):
    """A network whose requests are never answered."""

    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError


class World(AsyncExitStack):
    """One process with a manual clock, and what runs in it until the test ends."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self.clock = clock
        self.numbers = count()
        self.assembly: Assembly

    async def assemble(self, **values: Any) -> Assembly:
        """Build the process, and open its database."""
        self.assembly = assemble(
            settings(**values),
            base_url="http://127.0.0.1",
            transport=HangingNetwork(),
            timeouts=Timeouts(pool=MOMENT_SECONDS),
            clocks=self.clock.clocks,
        )
        await self.enter_async_context(self.assembly.persistence.running())
        return self.assembly

    async def start(self, *work: Coroutine[Any, Any, Any]) -> None:
        """Start work that continues until the test ends."""
        tasks = [asyncio.create_task(one) for one in work]
        self.push_async_callback(asyncio.gather, *tasks, return_exceptions=True)
        for task in tasks:
            self.callback(task.cancel)
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def refusals(self) -> Refusals:
        return Refusals(self.assembly.metrics, self.clock)

    def counted(self, kind: str) -> float:
        """Return how many refusals of `kind` the metrics show."""
        registry = self.assembly.metrics.registry
        return registry.get_sample_value("luma_mcp_limits_reached_total", {"limit": kind}) or 0.0

    async def buy(self, key: str | None, send: Callable[[], Awaitable[str]]) -> None:
        request = PurchaseRequest((CALLER,), "generate", fingerprint("tool", {}), key)
        await self.assembly.persistence.service.buy(request, None, send, _finds_nothing, _inline)


async def _finds_nothing(_callback_id: str) -> None:
    return None


async def _inline(purchase: Coroutine[Any, Any, Any]) -> Any:
    return await purchase


async def hangs(*_about: object) -> Any:
    await asyncio.Event().wait()


async def loses_the_answer() -> str:
    raise ACEDATACLOUD.error(OutcomeUnknown)


async def refused(kind: type[Exception], *calls: Coroutine[Any, Any, Any]) -> None:
    """Run `calls` at once, and expect that one of them is refused with `kind`."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in results if isinstance(one, Exception)] == [kind]


async def submission_queue(world: World) -> Refuse:
    await world.assemble()
    queue = build_submission_limiter(ACEDATACLOUD, world.clock.clocks, world.refusals)
    one = (Principal(CALLER), [Credential(CALLER, "token")], hangs)
    await world.start(*(queue.run(*one) for _ in range(GENERATIONS_AT_ONCE + limiter.MAX_WAITING)))
    return lambda: refused(RateLimited, queue.run(*one))


async def backend_submissions(world: World) -> Refuse:
    backend = (await world.assemble()).backend
    one = (Credential(CALLER, "token"), GenerateVideo("A fox"))
    await world.start(*(backend.submit(*one) for _ in range(GENERATIONS_AT_ONCE)))
    return lambda: refused(RateLimited, backend.submit(*one))


async def keyed_calls(world: World) -> Refuse:
    await world.assemble()
    await world.start(*(world.buy(f"key-{number}", hangs) for number in range(idempotency.MAX_CALLS)))
    return lambda: refused(RateLimited, world.buy("one more", hangs))


async def key_in_use(world: World) -> Refuse:
    await world.assemble()
    await world.start(world.buy("key", hangs))
    waiting = [asyncio.create_task(world.buy("key", hangs)) for _ in range(BURST)]
    await while_time_passes(world.clock, asyncio.wait(waiting), step=idempotency.MAX_WAIT_SECONDS)

    async def refuse() -> None:
        call = waiting.pop() if waiting else while_time_passes(world.clock, world.buy("key", hangs), step=15)
        with pytest.raises(RateLimited):
            await call

    return refuse


async def unknown_outcomes(world: World) -> Refuse:
    await world.assemble()
    for _ in range(MAX_PER_TOKEN):
        with pytest.raises(OutcomeUnknown):
            await world.buy(None, loses_the_answer)
    return lambda: refused(RateLimited, world.buy(None, hangs))


async def database_waits(world: World) -> Refuse:
    limits = await _impatient(world)
    return await _busy(world, limits.purchases, DATABASE_PURCHASES.per_tenant)


async def callback_waits(world: World) -> Refuse:
    limits = await _impatient(world)
    return await _busy(world, limits.callbacks, DATABASE_CALLBACKS.per_tenant)


async def sign_in_waits(world: World) -> Refuse:
    limits = await _impatient(world)
    return await _busy(world, limits.sign_in, DATABASE_SIGN_IN.per_tenant)


async def _impatient(world: World) -> DatabaseLimits:
    await world.assemble()
    backend_limits = BackendLimits(world.clock, GENERATIONS_AT_ONCE)
    return database_limits(ACEDATACLOUD, world.refusals, backend_limits, MOMENT_SECONDS)


async def _busy(world: World, turns: DatabaseTurns, most: int) -> Refuse:
    await world.start(*(turns.run(CALLER, hangs) for _ in range(most)))
    return lambda: refused(DatabaseBusy, turns.run(CALLER, hangs))


async def directory_lookups(world: World) -> Refuse:
    directory = (await world.assemble(auth="keys")).directory
    assert directory is not None
    cache = directory.cache
    await world.start(*(cache.run_lookup(hangs) for _ in range(directory_cache.MAX_WAITING)))

    async def refuse() -> None:
        if next(world.numbers) % 2:
            await refused(AuthenticationUnavailable, cache.run_lookup(hangs))
        else:
            names = [f"key-{next(world.numbers)}-{other}" for other in range(batched_lookups.MAX_WAITING + 1)]
            await refused(AuthenticationUnavailable, *map(cache.key, names))

    return refuse


async def token_lookups(world: World) -> Refuse:
    values = {"acedata_client_id": "client", "public_url": "http://127.0.0.1:53111"}
    sign_in = (await world.assemble(sign_in="acedata", **values)).sign_in
    assert sign_in is not None
    cache = sign_in.cache

    async def refuse() -> None:
        names = [f"token-{next(world.numbers)}" for _ in range(batched_lookups.MAX_WAITING + 1)]
        await refused(AuthenticationUnavailable, *map(cache.token, names))

    return refuse


async def issuer_keys(world: World) -> Refuse:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await world.enter_async_context(await asyncio.start_server(hold, "127.0.0.1", 0))
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    keys = (await world.assemble(auth="jwt", jwt_issuer=url, public_url="https://mcp.example.com")).issuer
    assert keys is not None
    await world.enter_async_context(keys.running())
    await world.start(*(keys.find("key", "RS256") for _ in range(jwt_keys.MAX_WAITING)))
    return lambda: refused(AuthenticationUnavailable, keys.find("key", "RS256"))


async def document_fetches(world: World) -> Refuse:
    documents = await world.enter_async_context(document_server())
    values = {"acedata_client_id": "client", "public_url": "http://127.0.0.1:53111"}
    sign_in = (await world.assemble(sign_in="acedata", **values)).sign_in
    assert sign_in is not None
    registry = sign_in.registry

    async def fetch(number: int) -> None:
        with pytest.raises(ClientRefused):
            await registry.find(f"{documents.url}/client-{number}", f"192.0.2.{number}")

    for _ in range(PER_HOST):
        await fetch(next(world.numbers))
    assert len(documents.fetched) == PER_HOST

    async def refuse() -> None:
        await fetch(next(world.numbers))

    return refuse


KINDS = (
    submission_queue,
    backend_submissions,
    keyed_calls,
    key_in_use,
    unknown_outcomes,
    database_waits,
    callback_waits,
    sign_in_waits,
    directory_lookups,
    token_lookups,
    issuer_keys,
    document_fetches,
)


@pytest.mark.parametrize("fill", KINDS, ids=lambda kind: kind.__name__)
async def test_refusals_by_waiting_places_are_counted_and_a_burst_is_one_line(
    fill: Callable[[World], Awaitable[Refuse]], clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    kind = fill.__name__
    async with World(clock) as world:
        with caplog.at_level(logging.WARNING, logger="app"):
            refuse = await fill(world)
            for _ in range(BURST):
                await refuse()
            assert (world.counted(kind), len(caplog.records)) == (BURST, 1)
        assert CALLER not in caplog.text
        assert "(1 times since" in caplog.text

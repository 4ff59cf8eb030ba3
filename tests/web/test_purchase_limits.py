"""Limits of purchases: memory and concurrency while their callers disconnect, and rows left in the database."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from app.adapters.acedata.client import Timeouts
from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.engine import Sandbox
from app.composition.application import assemble
from app.composition.quotas import SHARE_OF_UNACCEPTED
from app.services.limits.token_status import REFUSED_SECONDS
from app.services.purchases.service import MAX_UNDER_WAY
from app.services.purchases.unaccepted_rows import MAX_PER_TOKEN, WINDOW_SECONDS
from app.web.app import create_app
from app.web.middleware.request_memory import REQUEST_BYTES
from tests.support.clock import HandClock, while_time_passes
from tests.support.eventually import eventually
from tests.support.postgres_server import PostgresServer
from tests.support.service import Service, listening, sandbox, serving, settings

KEYED = {"prompt": "A fox", "idempotency_key": "fox-1"}
REFUSAL = {"error": {"code": "invalid_token", "message": "The specified token is invalid or wrong."}, "trace_id": "t"}


class Network(httpx.AsyncBaseTransport):
    """A backend that answers reads, and whose submissions wait for the test, which also chooses their outcome."""

    def __init__(self, backend: Sandbox) -> None:
        self._inner = httpx.ASGITransport(sandbox_app(backend))
        self.tokens: list[str] = []
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()
        self.end: Callable[[httpx.Request], httpx.Response] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/luma/videos":
            self.tokens.append(request.headers["authorization"].removeprefix("Bearer "))
            self.arrived.set()
            await self.go_on.wait()
            if self.end is not None:
                return self.end(request)
        return await self._inner.handle_async_request(request)


def refusing(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(401, json=REFUSAL)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def losing_the_answer(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


@pytest.fixture
def network(clock: HandClock) -> Network:
    return Network(sandbox(clock))


async def rows(service: Service, token: str = "token-a") -> int:
    tenant = service.assembly.authenticator.hash_token(token)
    return len(await service.assembly.persistence.purchases.newest([tenant], 100))


async def make_accepted(service: Service, token: str) -> None:
    """Make a read, after which the service counts the token as accepted by the backend."""
    await service.call("luma_get_task", {"task_id": "anything"}, token=token)


@pytest.mark.parametrize("arguments", [KEYED, {"prompt": "A fox"}])
async def test_request_memory_is_held_until_the_purchase_ends(
    clock: HandClock, network: Network, arguments: dict[str, str]
) -> None:
    async with serving(settings(), network, clock) as service:
        lent = service.assembly.request_memory
        params = {"name": "luma_generate_video", "arguments": arguments}
        leaving = asyncio.create_task(service.request("tools/call", params))
        await network.arrived.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        in_flight = service.assembly.metrics.registry.get_sample_value
        await eventually(lambda: in_flight("luma_mcp_calls_in_flight") == 0)
        await service.http.get(f"{service.url}/livez")
        assert lent.in_use >= REQUEST_BYTES
        network.go_on.set()
        await eventually(lambda: lent.in_use == 0)


@pytest.mark.parametrize("key", ["fox-1", None])
async def test_invented_tokens_share_a_part_of_the_purchases_in_flight(
    clock: HandClock, network: Network, key: str | None
) -> None:
    arguments = {"prompt": "A fox"} | ({"idempotency_key": key} if key is not None else {})
    share = MAX_UNDER_WAY // SHARE_OF_UNACCEPTED
    limits = httpx.Limits(max_connections=share + 20)
    values = settings()
    parts = assemble(
        values, base_url="http://127.0.0.1", transport=network, timeouts=Timeouts(pool=30.0), clocks=clock.clocks
    )
    async with listening(create_app(values, parts)) as url, httpx.AsyncClient(timeout=60, limits=limits) as http:
        service = Service(url, parts, http)
        await make_accepted(service, "honest")
        calls = [
            asyncio.create_task(service.fail("luma_generate_video", arguments, token=f"invented-{number}"))
            for number in range(share + 10)
        ]
        await eventually(lambda: any(call.done() for call in calls))
        honest = asyncio.create_task(service.fail("luma_generate_video", arguments, token="honest"))
        await eventually(lambda: "honest" in network.tokens)
        network.end = refusing
        network.go_on.set()
        errors = await while_time_passes(clock, asyncio.gather(*calls))
        await honest
    refused = [error for error in errors if "as many submissions under way as it takes" in error["message"]]
    assert len(refused) == 10
    assert {error["code"] for error in refused} == {"rate_limited"}


@pytest.mark.parametrize("arguments", [KEYED, {"prompt": "A fox"}])
async def test_a_purchase_with_a_refused_token_leaves_no_row(
    clock: HandClock, network: Network, database_url: str, arguments: dict[str, str]
) -> None:
    network.go_on.set()
    network.end = refusing
    values = settings(database_url=database_url)
    async with serving(values, network, clock) as one, serving(values, network, clock) as other:
        for replica in (one, other):
            assert (await replica.fail("luma_generate_video", arguments))["code"] == "unauthorized"
        assert await rows(one) == 0
        network.end = None
        clock.advance(REFUSED_SECONDS)
        assert (await other.ask("luma_generate_video", KEYED))["state"] == "pending", "the key is free everywhere"
        assert (await one.ask("luma_generate_video", KEYED))["replayed"] is True


async def test_a_purchase_with_a_recently_refused_token_is_not_recorded(
    clock: HandClock, network: Network, fragile_postgres: PostgresServer
) -> None:
    network.go_on.set()
    network.end = refusing
    async with serving(settings(database_url=fragile_postgres.url), network, clock) as service:
        await service.fail("luma_generate_video", KEYED)
        fragile_postgres.stop()
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "unauthorized", "without the database"
    assert network.tokens == ["token-a"]


@pytest.mark.parametrize(("accepted", "kept"), [(False, 0), (True, 1)])
async def test_a_refused_purchase_is_recorded_only_for_an_accepted_token(
    clock: HandClock, network: Network, *, accepted: bool, kept: int
) -> None:
    network.go_on.set()
    network.end = unreachable
    async with serving(settings(), network, clock) as service:
        if accepted:
            await make_accepted(service, "token-a")
        assert "Nothing was sent" in (await service.fail("luma_generate_video", KEYED))["message"]
        assert await rows(service) == kept


async def test_unknown_outcomes_are_recorded_in_small_number_for_an_unaccepted_token(
    clock: HandClock, network: Network
) -> None:
    network.go_on.set()
    network.end = losing_the_answer
    async with serving(settings(), network, clock) as service:
        keyed = [{**KEYED, "idempotency_key": f"fox-{number}"} for number in range(MAX_PER_TOKEN + 1)]
        for arguments in keyed[:-1]:
            assert (await service.fail("luma_generate_video", arguments))["code"] == "backend_timeout"
        refused = await service.fail("luma_generate_video", keyed[-1])
        assert refused["code"] == "rate_limited"
        assert "has not accepted this token" in refused["message"]
        assert (await service.fail("luma_generate_video", keyed[-1], token="another"))["code"] == "backend_timeout"
        clock.advance(WINDOW_SECONDS)
        assert (await service.fail("luma_generate_video", keyed[-1]))["code"] == "backend_timeout"
        await make_accepted(service, "token-a")
        for number in range(MAX_PER_TOKEN):
            error = await service.fail("luma_generate_video", {**KEYED, "idempotency_key": f"cat-{number}"})
            assert error["code"] == "backend_timeout"

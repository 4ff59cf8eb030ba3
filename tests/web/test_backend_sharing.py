"""Fair use of the backend: tokens that it refuses, and abandoned calls, neither delay others nor cause requests."""

import asyncio
import re
from collections import Counter
from operator import itemgetter
from typing import Any

import httpx

from app.adapters.acedata.policy import GENERATIONS_AT_ONCE
from app.adapters.sandbox.backend import sandbox_app
from app.services.limits.backend_limits import PURCHASE_PLACES, READS, UNACCEPTED_PURCHASES
from app.services.limits.token_status import REFUSED_SECONDS
from app.services.tasks.queued_ids import LOOKUP_WEIGHT, MAX_UNACCEPTED
from tests.support.acedata import finding_every_task
from tests.support.clock import HandClock, while_time_passes
from tests.support.redis_server import RedisServer
from tests.support.service import sandbox, serving, settings
from tests.web.test_subscriptions import listening

TOKEN_REFUSED = {"error": {"code": "invalid_token", "message": "No."}}


class SharedBackend(httpx.AsyncBaseTransport):
    """A backend that holds the reads of tokens that begin with "junk", and refuses the tokens in `revoked`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.in_flight = 0
        self.peak = 0
        self.revoked: set[str] = set()
        self.may_answer = asyncio.Event()
        self.is_full = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.calls[token] += 1
        if token in self.revoked:
            return httpx.Response(401, json=TOKEN_REFUSED)
        if request.url.path == "/luma/videos":
            return httpx.Response(200, json={"task_id": "new-task"})
        return await (self._held(request) if token.startswith("junk") else finding_every_task(request))

    async def _held(self, request: httpx.Request) -> httpx.Response:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        if self.in_flight == READS.unaccepted:
            self.is_full.set()
        await self.may_answer.wait()
        self.in_flight -= 1
        return httpx.Response(200, json={"items": [], "count": 0})


IDS = 60
JUNK_BATCHES = MAX_UNACCEPTED * 3 // 4 // (IDS + LOOKUP_WEIGHT)
"""The number of calls that may wait for the backend at the same time.

One more of a token that has one already would be refused at once, because the last quarter is for small callers.
"""


def ids(number: int) -> list[str]:
    return [f"task-{number}-{each}" for each in range(IDS)]


async def test_batches_of_unknown_tokens_leave_backend_concurrency_for_accepted_ones_and_purchases() -> None:
    backend = SharedBackend()
    async with serving(settings(), backend) as service:
        await service.ask("luma_get_task", {"task_id": "mine-0"}, token="honest")
        junk = [
            asyncio.create_task(
                service.call("luma_get_tasks_batch", {"task_ids": ids(number)}, token=f"junk-{number % 30}")
            )
            for number in range(JUNK_BATCHES)
        ]
        await backend.is_full.wait()
        found: Any = await service.ask("luma_get_task", {"task_id": "mine-1"}, token="honest")
        started = await service.ask("luma_generate_video", {"prompt": "A fox"}, token="honest")
        assert (found["task_id"], started["task_id"]) == ("mine-1", "new-task")
        assert not any(call.done() for call in junk)
        backend.may_answer.set()
        await asyncio.gather(*junk)
    assert backend.peak <= READS.unaccepted


async def test_queued_batches_of_disconnected_callers_are_never_sent() -> None:
    backend = SharedBackend()
    batches = 30
    async with serving(settings(), backend) as service:
        calls = [
            asyncio.create_task(service.call("luma_get_tasks_batch", {"task_ids": ids(number)}, token="junk-0"))
            for number in range(batches)
        ]
        while service.assembly.flights.in_flight < batches:
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        while service.assembly.flights.in_flight > READS.per_tenant:
            await asyncio.sleep(0)
        backend.may_answer.set()
        await service.call("luma_get_task", {"task_id": "mine"}, token="junk-0")
        assert backend.calls["junk-0"] <= 2 * READS.per_tenant + 1, "two chunks of each batch that was under way"


async def test_a_token_that_was_just_refused_costs_no_further_call(clock: HandClock) -> None:
    backend = SharedBackend()
    backend.revoked = {"stranger"}
    async with serving(settings(), backend, clock) as service:
        for number in range(5):
            error = await service.fail("luma_get_task", {"task_id": f"task-{number}"}, token="stranger")
            assert error["code"] == "unauthorized"
        assert (await service.fail("luma_generate_video", {"prompt": "A fox"}, token="stranger"))[
            "code"
        ] == "unauthorized"
        assert backend.calls["stranger"] == 1
        clock.advance(REFUSED_SECONDS)
        await service.fail("luma_generate_video", {"prompt": "A fox"}, token="stranger")
        assert backend.calls["stranger"] == 2


async def test_a_revoked_token_gets_no_cached_results(clock: HandClock) -> None:
    backend = SharedBackend()
    async with serving(settings(), backend, clock) as service:
        await service.ask("luma_get_task", {"task_id": "task-1"}, token="mine")
        backend.revoked = {"mine"}
        await service.fail("luma_get_task", {"task_id": "task-2"}, token="mine")
        for wait_seconds in (0, 20):
            arguments = {"task_id": "task-1"} | ({"wait_seconds": wait_seconds} if wait_seconds else {})
            error = await service.fail("luma_get_task", arguments, token="mine")
            assert error["code"] == "unauthorized"
        assert backend.calls["mine"] == 2
        backend.revoked = set()
        clock.advance(REFUSED_SECONDS)
        await service.ask("luma_get_task", {"task_id": "task-1"}, token="mine")
        assert backend.calls["mine"] == 3, "one read of what is cached shows that the token is good again"
        await service.ask("luma_get_task", {"task_id": "task-1"}, token="mine")
        assert backend.calls["mine"] == 3


async def test_a_revoked_token_gets_nothing_by_other_requests_and_each_is_counted(clock: HandClock) -> None:
    backend = SharedBackend()
    declared: dict[str, Any] = {
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    }
    async with serving(settings(), backend, clock) as service:
        bought = {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}, "_meta": declared}
        handle = (await service.request("tools/call", bought, token="mine"))["result"]["taskId"]
        await service.ask("luma_get_task", {"task_id": "new-task"}, token="mine")
        backend.revoked = {"mine"}
        await service.fail("luma_get_task", {"task_id": "task-2"}, token="mine")
        asked: dict[str, dict[str, Any]] = {
            "resources/read": {"uri": "luma://tasks/new-task"},
            "completion/complete": {
                "ref": {"type": "ref/resource", "uri": "luma://tasks/{task_id}"},
                "argument": {"name": "task_id", "value": ""},
            },
            "tasks/get": {"taskId": handle},
            "tasks/cancel": {"taskId": handle},
        }
        answers = {
            method: await service.request(method, {**params, "_meta": declared}, token="mine")
            for method, params in asked.items()
        }
        page = (await service.http.get(f"{service.url}/metrics")).text
    assert "new-task" not in str([answer.get("result") for answer in answers.values()])
    assert answers["completion/complete"]["result"]["completion"]["values"] == []
    outcomes = re.findall(r'luma_mcp_calls_total\{[^}]*outcome="(\w+)",tool="(\w+/\w+)"\} 1\.0', page)
    assert sorted(outcomes, key=itemgetter(1)) == [
        ("ok", "completion/complete"),
        ("unauthorized", "resources/read"),
        ("unauthorized", "tasks/cancel"),
        ("unauthorized", "tasks/get"),
    ]


async def test_a_refused_token_gets_no_stream_until_the_backend_accepts_it_again(clock: HandClock) -> None:
    backend, watched = SharedBackend(), {"resourceSubscriptions": ["luma://tasks/task-1"]}
    async with serving(settings(), backend, clock) as service:
        await service.ask("luma_get_task", {"task_id": "task-1"}, token="mine")
        backend.revoked = {"mine"}
        await service.fail("luma_get_task", {"task_id": "task-2"}, token="mine")
        refused = await service.request("subscriptions/listen", {"notifications": watched}, token="mine")
        backend.revoked = set()
        clock.advance(REFUSED_SECONDS)
        async with listening(service.url, service.http, watched, "mine") as events:
            accepted = [(await events.next_message())["method"] for _ in range(2)]
        page = (await service.http.get(f"{service.url}/metrics")).text
    assert "token" in refused["error"]["message"]
    assert "task-1" not in str(refused)
    assert accepted == ["notifications/subscriptions/acknowledged", "notifications/resources/updated"]
    assert 'outcome="unauthorized",tool="subscriptions/listen"} 1.0' in page


async def test_an_open_stream_of_a_token_that_is_refused_ends_without_news_from_the_cache(
    clock: HandClock, redis_server: RedisServer
) -> None:
    """The other replica learns the end of the task under the same token, which this one has seen refused."""
    made, values = sandbox(clock, seconds=30), settings(redis_url=redis_server.url)
    backend = Revoking(httpx.ASGITransport(sandbox_app(made)))
    async with serving(values, backend, clock) as service, serving(values, made, clock) as other:
        started = await service.ask("luma_generate_video", {"prompt": "A fox"}, token="mine")
        watched = {"resourceSubscriptions": [f"luma://tasks/{started['task_id']}"]}
        async with listening(service.url, service.http, watched, "mine") as events:
            await events.next_message()
            backend.is_revoked = True
            await service.fail("luma_get_task", {"task_id": "another"}, token="mine")
            arguments = {"task_id": started["task_id"], "wait_seconds": 50}
            found = await while_time_passes(clock, other.ask("luma_get_task", arguments, token="mine"))
            last = await while_time_passes(clock, events.next_message())
    assert found["state"] == "completed"
    assert "result" in last, last


class Revoking(httpx.AsyncBaseTransport):
    """A network to a backend that refuses every token while `is_revoked`."""

    def __init__(self, network: httpx.AsyncBaseTransport) -> None:
        self._network = network
        self.is_revoked = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_revoked:
            return httpx.Response(401, json=TOKEN_REFUSED)
        return await self._network.handle_async_request(request)


def test_purchases_have_a_concurrency_limit_of_their_own() -> None:
    assert PURCHASE_PLACES > UNACCEPTED_PURCHASES >= GENERATIONS_AT_ONCE
    assert READS.places > READS.unaccepted >= READS.per_tenant

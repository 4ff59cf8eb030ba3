"""FairScheduler: many requests with one token do not delay those of others."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from mcp.server.lowlevel import Server
from starlette.types import Message, Receive, Scope, Send

from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.memory_budget import MemoryBudget
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.mcp_endpoint import McpEndpoint
from app.web.middleware.bearer_auth import CALLER
from app.web.middleware.fair_scheduling import (
    CONTENTION_SECONDS,
    MAX_STARTS_PER_TURN,
    QUEUED_REQUEST_BYTES,
    SMALL_PROBE_BYTES,
    FairScheduler,
    FairSchedulingMiddleware,
    RequestQueue,
    client_key_of,
)
from app.web.middleware.request_memory import REQUEST_MEMORY, RequestMemory
from tests.support.callers import caller
from tests.support.clock import HandClock

REFUSED: list[int] = []


async def _nothing(*_: object) -> None:
    """Do nothing: a receive or send that no request here uses."""


class RecordingScheduler(FairScheduler):
    """A scheduler that records the client keys of the requests that wait to start, and starts them at once."""

    def __init__(self) -> None:
        super().__init__(nobody_accepted)
        self.client_keys: list[str] = []

    async def wait_to_start(self, client_key: str) -> None:
        self.client_keys.append(client_key)


class RecordingApp:
    """An application that records, for each request, the iteration of the event loop (turn) in which it began."""

    def __init__(self) -> None:
        self.turn = 0
        self.began: list[tuple[str, int]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began.append((scope["name"], self.turn))

    async def count_turns(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


def request(app: FairSchedulingMiddleware, name: str, path: str = "/mcp", send: Send = _nothing) -> asyncio.Task[None]:
    headers = [(b"authorization", f"Bearer {name}".encode())] if name else []
    scope = {"type": "http", "path": path, "headers": headers, "name": name}
    return asyncio.ensure_future(app(scope, _nothing, send))  # type: ignore[arg-type]


def scheduled(
    app: RecordingApp, scheduler: FairScheduler, memory: MemoryBudget | None = None
) -> FairSchedulingMiddleware:
    return FairSchedulingMiddleware(app, scheduler, RequestQueue(memory or MemoryBudget(2**30), str, REFUSED.append))


def nobody_accepted(_client_key: str) -> bool:
    return False


async def test_queued_requests_count_in_the_memory_budget_or_are_refused() -> None:
    recorder, memory, responses = (
        RecordingApp(),
        MemoryBudget(64 * QUEUED_REQUEST_BYTES, "Bearer known".__eq__),
        list[Message](),
    )
    app = scheduled(recorder, FairScheduler(nobody_accepted), memory)

    async def send(message: Message) -> None:
        responses.append(message)

    invented = [request(app, f"invented-{n}", send=send) for n in range(100)]
    known, probe = request(app, "known", send=send), request(app, "", "/livez", send=send)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 15 * QUEUED_REQUEST_BYTES < memory.in_use <= 64 * QUEUED_REQUEST_BYTES
    await asyncio.gather(*invented, known, probe)
    refused = [message["status"] for message in responses if message["type"] == "http.response.start"]
    assert set(refused) == {429}
    assert len(refused) + len(recorder.began) == 102
    assert {"known", ""} <= {name for name, _ in recorder.began}
    assert memory.in_use == 0


async def test_a_token_starts_one_request_in_each_loop_turn_and_others_start_at_once() -> None:
    recorder = RecordingApp()
    app = scheduled(recorder, FairScheduler(nobody_accepted))
    counting = asyncio.create_task(recorder.count_turns())
    await asyncio.gather(*(request(app, name) for name in ["many"] * 30 + ["one"]))
    counting.cancel()
    began = Counter(turn for name, turn in recorder.began if name == "many")
    assert began.total() == 30
    assert max(began.values()) == 1
    (other,) = (turn for name, turn in recorder.began if name == "one")
    assert other == min(began)


async def test_a_single_token_is_not_scheduled(clock: HandClock) -> None:
    recorder = RecordingApp()
    app = scheduled(recorder, FairScheduler(nobody_accepted, clock))
    await asyncio.gather(*(request(app, name) for name in ("many", "one", "many")))
    clock.advance(CONTENTION_SECONDS)
    counting = asyncio.create_task(recorder.count_turns())
    recorder.began.clear()
    await asyncio.gather(*(request(app, "many") for _ in range(30)))
    counting.cancel()
    assert len({turn for _, turn in recorder.began}) == 1


async def test_scheduling_ends_for_a_client_that_stays_alone_with_requests_in_the_queue(clock: HandClock) -> None:
    recorder, scheduler = RecordingApp(), FairScheduler(nobody_accepted, clock)
    app = scheduled(recorder, scheduler)
    requests = [request(app, name) for name in ["other"] + ["many"] * 60]
    await asyncio.sleep(0)
    counting = asyncio.create_task(recorder.count_turns())
    clock.advance(CONTENTION_SECONDS)
    await asyncio.gather(*requests)
    counting.cancel()
    assert len({turn for _, turn in recorder.began}) <= 60 // (MAX_STARTS_PER_TURN // 2) + 1
    while not scheduler.is_idle:
        await asyncio.sleep(0)
    recorder.began.clear()
    await asyncio.gather(*(request(app, "many") for _ in range(30)))
    assert len({turn for _, turn in recorder.began}) == 1


async def test_a_request_cancelled_in_the_queue_is_removed_and_blocks_no_other() -> None:
    recorder = RecordingApp()
    scheduler = FairScheduler(nobody_accepted)
    app = scheduled(recorder, scheduler)
    requests = [request(app, "many") for _ in range(10)]
    await asyncio.sleep(0)
    for leaving in requests[1::2]:
        leaving.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    assert len(recorder.began) == 5
    for _ in range(3):
        await asyncio.sleep(0)
    assert scheduler.is_idle


async def test_requests_without_a_token_are_one_client_and_probes_another() -> None:
    recorder = RecordingApp()
    app = scheduled(recorder, FairScheduler(nobody_accepted))
    counting = asyncio.create_task(recorder.count_turns())
    await asyncio.gather(
        request(app, "one"), *(request(app, "", f"/{n}") for n in range(30)), request(app, "", "/livez")
    )
    counting.cancel()
    began = Counter(turn for name, turn in recorder.began if not name)
    assert began.total() == 31
    assert sorted(began.values()) == [1] * 29 + [2]


async def test_starts_per_turn_are_limited_and_accepted_tokens_do_not_wait_for_invented_ones() -> None:
    recorder = RecordingApp()
    app = scheduled(recorder, FairScheduler("Bearer known".__eq__))
    counting = asyncio.create_task(recorder.count_turns())
    await asyncio.gather(*(request(app, f"invented-{n}") for n in range(300)), request(app, "known"))
    counting.cancel()
    began = Counter(turn for _, turn in recorder.began)
    assert max(began.values()) <= MAX_STARTS_PER_TURN
    assert [name for name, _ in recorder.began].index("known") <= 2 * MAX_STARTS_PER_TURN


async def test_a_client_with_one_request_does_not_queue_behind_clients_with_many() -> None:
    recorder = RecordingApp()
    app = scheduled(recorder, FairScheduler(nobody_accepted))
    often = [request(app, f"often-{n}") for n in range(300) for _ in range(20)]
    while len(recorder.began) < 600:
        await asyncio.sleep(0)
    await request(app, "seldom")
    assert [name for name, _ in recorder.began].index("seldom") <= 600 + 8 * MAX_STARTS_PER_TURN
    await asyncio.gather(*often)


@pytest.mark.parametrize("client_key", ["/livez", ""])
async def test_the_newest_request_of_a_key_of_many_clients_starts_first(client_key: str) -> None:
    scheduler, began = FairScheduler(nobody_accepted), list[str]()

    async def ask(name: str) -> None:
        await scheduler.wait_to_start(client_key)
        began.append(name)

    await scheduler.wait_to_start("Bearer other")
    flood = [asyncio.create_task(ask("flood")) for _ in range(500)]
    await asyncio.sleep(0)
    await asyncio.gather(ask("new"), *flood)
    assert began.index("new") <= 2


async def test_cancelled_requests_leave_the_queue_at_once() -> None:
    scheduler = FairScheduler(nobody_accepted)
    await scheduler.wait_to_start("Bearer other")
    for _ in range(50):
        leaving = [asyncio.create_task(scheduler.wait_to_start("/livez")) for _ in range(20)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
    assert scheduler.queue_length("/livez") == 0
    await asyncio.wait_for(scheduler.wait_to_start("/livez"), 5)


async def test_each_message_of_a_batch_is_scheduled() -> None:
    scheduler, sent = RecordingScheduler(), list[Message]()
    messages = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(5)]
    received: list[Message] = [{"type": "http.request", "body": json.dumps(messages).encode(), "more_body": False}]

    async def receive() -> Message:
        return received.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer x"), (b"content-type", b"application/json")]
    memory = RequestMemory(CallerQuota(QuotaLimits(10**7, 10**7, 10**7), nobody_accepted), "x")
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers}
    scope |= {REQUEST_MEMORY: memory, CALLER: caller("x")}
    endpoint = McpEndpoint(Server("test"), scheduler, lambda _status: None)
    async with endpoint.running():
        await endpoint(scope, receive, send)
    assert [answer["id"] for answer in json.loads(sent[1]["body"])] == list(range(5))
    assert scheduler.client_keys == ["Bearer x"] * 4, "the first message is scheduled with its request"


@pytest.mark.parametrize("written", ["Bearer token", "bearer token", "BEARER    token", "Bearer token  "])
def test_a_token_is_one_client_in_any_spelling_of_its_header(written: str) -> None:
    scope: Scope = {"type": "http", "path": "/mcp", "headers": [(b"authorization", written.encode())]}
    assert client_key_of(scope) == "Bearer token"


@pytest.mark.parametrize("written", [None, "J17", "Basic dXNlcjpwYXNz", "Bearer", "Bearer two words"])
def test_requests_without_a_token_are_one_client(written: str | None) -> None:
    headers = [] if written is None else [(b"authorization", written.encode())]
    assert client_key_of({"type": "http", "path": "/mcp", "headers": headers}) == ""


async def test_a_request_without_memory_is_refused_at_once_and_its_connection_closed() -> None:
    """To hold back the refusal would take the memory that is missing."""
    queue = RequestQueue(MemoryBudget(QUEUED_REQUEST_BYTES), str, REFUSED.append)
    scope: Scope = {"type": "http", "path": "/mcp", "headers": [], DISCONNECT_SIGNAL: DisconnectSignal()}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    assert not await queue.wait_or_refuse(FairScheduler(nobody_accepted), "", scope, send)
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"connection"]) == (429, b"close")


@pytest.mark.parametrize(("head_bytes", "is_counted"), [(SMALL_PROBE_BYTES, False), (SMALL_PROBE_BYTES + 1, True)])
async def test_a_queued_probe_is_not_counted_if_its_head_is_small(head_bytes: int, *, is_counted: bool) -> None:
    memory, scheduler = MemoryBudget(2**30), FairScheduler(nobody_accepted)
    queue = RequestQueue(memory, str, REFUSED.append)
    scope: Scope = {"type": "http", "path": "/livez", "headers": [], DISCONNECT_SIGNAL: DisconnectSignal(head_bytes)}
    waiting = asyncio.create_task(queue.wait_or_refuse(scheduler, "/livez", scope, _nothing))
    await asyncio.sleep(0)
    assert (memory.in_use > 0) is is_counted
    waiting.cancel()
    await asyncio.wait([waiting])
    assert memory.in_use == 0

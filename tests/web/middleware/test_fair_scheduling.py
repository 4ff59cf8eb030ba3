"""FairScheduler: one token does not keep the event loop from the others."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from mcp.server.lowlevel import Server
from starlette.types import Message, Receive, Scope, Send

from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.memory_budget import SHARE_OF_ONE_CALLER, MemoryBudget
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.mcp_endpoint import McpEndpoint
from app.web.middleware.bearer_auth import CALLER
from app.web.middleware.fair_scheduling import (
    LONGEST_PAUSE_SECONDS,
    MOST_IN_A_TURN,
    QUEUED_BYTES,
    REFUSALS_PER_SECOND,
    SHARED_SECONDS,
    SMALL_PROBE_BYTES,
    FairScheduler,
    FairSchedulingMiddleware,
    RequestQueue,
    caller_of,
)
from app.web.middleware.request_memory import REQUEST_MEMORY, RequestMemory
from tests.support.callers import caller
from tests.support.clock import HandClock

REFUSED: list[int] = []


async def _nothing(*_: object) -> None:
    """Do nothing: a receive or send that no request here uses."""


class CountingTurns(FairScheduler):
    """A scheduler that counts the requests for a turn."""

    def __init__(self) -> None:
        super().__init__(nobody)
        self.taken: list[str] = []

    async def turn(self, caller: str) -> None:
        self.taken.append(caller)


class Busy:
    """An application that records, for each request, the iteration of the event loop in which it began."""

    def __init__(self) -> None:
        self.turn = 0
        self.began: list[tuple[str, int]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began.append((scope["name"], self.turn))

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


def request(app: FairSchedulingMiddleware, name: str, path: str = "/mcp", send: Send = _nothing) -> asyncio.Task[None]:
    headers = [(b"authorization", f"Bearer {name}".encode())] if name else []
    scope = {"type": "http", "path": path, "headers": headers, "name": name}
    return asyncio.ensure_future(app(scope, _nothing, send))  # type: ignore[arg-type]


def in_turn(busy: Busy, turns: FairScheduler, memory: MemoryBudget | None = None) -> FairSchedulingMiddleware:
    return FairSchedulingMiddleware(busy, turns, RequestQueue(memory or MemoryBudget(2**30), str, REFUSED.append))


def nobody(_caller: str) -> bool:
    return False


async def test_requests_that_wait_for_their_turn_are_lent_memory_or_refused() -> None:
    busy, memory, answers = Busy(), MemoryBudget(64 * QUEUED_BYTES, "Bearer known".__eq__), list[Message]()
    app = in_turn(busy, FairScheduler(nobody), memory)

    async def hear(message: Message) -> None:
        answers.append(message)

    asked = [request(app, f"invented-{n}", send=hear) for n in range(100)]
    known, probe = request(app, "known", send=hear), request(app, "", "/livez", send=hear)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 15 * QUEUED_BYTES < memory.in_use <= 64 * QUEUED_BYTES
    await asyncio.gather(*asked, known, probe)
    refused = [message["status"] for message in answers if message["type"] == "http.response.start"]
    assert set(refused) == {429}
    assert len(refused) + len(busy.began) == 102
    assert {"known", ""} <= {name for name, _ in busy.began}
    assert memory.in_use == 0


async def test_a_token_starts_one_request_in_each_loop_turn_and_others_start_at_once() -> None:
    busy = Busy()
    app = in_turn(busy, FairScheduler(nobody))
    counting = asyncio.create_task(busy.count())
    await asyncio.gather(*(request(app, name) for name in ["many"] * 30 + ["one"]))
    counting.cancel()
    began = Counter(turn for name, turn in busy.began if name == "many")
    assert began.total() == 30
    assert max(began.values()) == 1
    (other,) = (turn for name, turn in busy.began if name == "one")
    assert other == min(began)


async def test_a_single_token_is_not_scheduled(clock: HandClock) -> None:
    busy = Busy()
    app = in_turn(busy, FairScheduler(nobody, clock))
    await asyncio.gather(*(request(app, name) for name in ("many", "one", "many")))
    clock.advance(SHARED_SECONDS)
    counting = asyncio.create_task(busy.count())
    busy.began.clear()
    await asyncio.gather(*(request(app, "many") for _ in range(30)))
    counting.cancel()
    assert len({turn for _, turn in busy.began}) == 1


async def test_a_request_cancelled_in_the_queue_blocks_no_other_and_is_removed() -> None:
    busy = Busy()
    turns = FairScheduler(nobody)
    app = in_turn(busy, turns)
    requests = [request(app, "many") for _ in range(10)]
    await asyncio.sleep(0)
    for leaving in requests[1::2]:
        leaving.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    assert len(busy.began) == 5
    for _ in range(3):
        await asyncio.sleep(0)
    assert turns.is_idle


async def test_requests_without_a_token_are_one_caller_and_probes_another() -> None:
    busy = Busy()
    app = in_turn(busy, FairScheduler(nobody))
    counting = asyncio.create_task(busy.count())
    await asyncio.gather(
        request(app, "one"), *(request(app, "", f"/{n}") for n in range(30)), request(app, "", "/livez")
    )
    counting.cancel()
    began = Counter(turn for name, turn in busy.began if not name)
    assert began.total() == 31
    assert sorted(began.values()) == [1] * 29 + [2]


async def test_however_many_callers_there_are_few_begin_in_a_turn_and_the_accepted_go_between() -> None:
    busy = Busy()
    app = in_turn(busy, FairScheduler("Bearer known".__eq__))
    counting = asyncio.create_task(busy.count())
    await asyncio.gather(*(request(app, f"invented-{n}") for n in range(300)), request(app, "known"))
    counting.cancel()
    began = Counter(turn for _, turn in busy.began)
    assert max(began.values()) <= MOST_IN_A_TURN
    assert [name for name, _ in busy.began].index("known") <= 2 * MOST_IN_A_TURN


async def test_an_infrequent_caller_does_not_queue_behind_frequent_ones() -> None:
    busy = Busy()
    app = in_turn(busy, FairScheduler(nobody))
    often = [request(app, f"often-{n}") for n in range(300) for _ in range(20)]
    while len(busy.began) < 600:
        await asyncio.sleep(0)
    await request(app, "seldom")
    assert [name for name, _ in busy.began].index("seldom") <= 600 + 8 * MOST_IN_A_TURN
    await asyncio.gather(*often)


@pytest.mark.parametrize("shared", ["/livez", ""])
async def test_the_newest_request_of_callers_that_stand_for_many_clients_starts_first(shared: str) -> None:
    scheduler, began = FairScheduler(nobody), list[str]()

    async def ask(name: str) -> None:
        await scheduler.turn(shared)
        began.append(name)

    await scheduler.turn("Bearer other")
    flood = [asyncio.create_task(ask("flood")) for _ in range(500)]
    await asyncio.sleep(0)
    await asyncio.gather(ask("new"), *flood)
    assert began.index("new") <= 2


async def test_queued_requests_whose_clients_have_left_are_forgotten_at_once() -> None:
    scheduler = FairScheduler(nobody)
    await scheduler.turn("Bearer other")
    for _ in range(50):
        leaving = [asyncio.create_task(scheduler.turn("/livez")) for _ in range(20)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
    assert scheduler.queued("/livez") == 0
    await asyncio.wait_for(scheduler.turn("/livez"), 5)


async def test_each_message_of_a_batch_takes_a_turn() -> None:
    turns, sent = CountingTurns(), list[Message]()
    messages = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(5)]
    received: list[Message] = [{"type": "http.request", "body": json.dumps(messages).encode(), "more_body": False}]

    async def receive() -> Message:
        return received.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer x"), (b"content-type", b"application/json")]
    held = RequestMemory(CallerQuota(QuotaLimits(10**7, 10**7, 10**7), nobody), "x")
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers}
    scope |= {REQUEST_MEMORY: held, CALLER: caller("x")}
    endpoint = McpEndpoint(Server("test"), turns, lambda _status: None)
    async with endpoint.running():
        await endpoint(scope, receive, send)
    assert [answer["id"] for answer in json.loads(sent[1]["body"])] == list(range(5))
    assert turns.taken == ["Bearer x"] * 4, "the request itself has taken the first one's"


@pytest.mark.parametrize("written", ["Bearer token", "bearer token", "BEARER    token", "Bearer token  "])
def test_a_token_is_one_caller_in_any_spelling_of_its_header(written: str) -> None:
    scope: Scope = {"type": "http", "path": "/mcp", "headers": [(b"authorization", written.encode())]}
    assert caller_of(scope) == "Bearer token"


@pytest.mark.parametrize("written", [None, "J17", "Basic dXNlcjpwYXNz", "Bearer", "Bearer two words"])
def test_requests_without_a_token_are_one_caller(written: str | None) -> None:
    headers = [] if written is None else [(b"authorization", written.encode())]
    assert caller_of({"type": "http", "path": "/mcp", "headers": headers}) == ""


async def test_clients_that_are_refused_a_place_in_line_are_read_again_one_after_the_other(clock: HandClock) -> None:
    line = RequestQueue(MemoryBudget(SHARE_OF_ONE_CALLER * QUEUED_BYTES - 1), str, REFUSED.append, clock)
    refused = [DisconnectSignal() for _ in range(1000)]
    for one in refused:
        scope: Scope = {"type": "http", "path": "/mcp", "headers": [], DISCONNECT_SIGNAL: one}
        assert not await line.wait(FairScheduler(nobody), "", scope, _nothing)
    rests = [one.pause_seconds for one in refused]
    assert rests == pytest.approx([number / REFUSALS_PER_SECOND for number in range(1, 1001)], abs=1e-3)
    clock.advance(10)
    again = DisconnectSignal()
    await line.wait(FairScheduler(nobody), "", {**scope, DISCONNECT_SIGNAL: again}, _nothing)
    assert again.pause_seconds == pytest.approx(1 / REFUSALS_PER_SECOND, abs=1e-3)


async def test_the_pause_after_a_refusal_is_bounded(clock: HandClock) -> None:
    line = RequestQueue(MemoryBudget(SHARE_OF_ONE_CALLER * QUEUED_BYTES - 1), str, REFUSED.append, clock)
    for _ in range(3000):
        refused = DisconnectSignal()
        scope: Scope = {"type": "http", "path": "/mcp", "headers": [], DISCONNECT_SIGNAL: refused}
        await line.wait(FairScheduler(nobody), "", scope, _nothing)
    assert refused.pause_seconds == LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize(("head_bytes", "is_counted"), [(SMALL_PROBE_BYTES, False), (SMALL_PROBE_BYTES + 1, True)])
async def test_a_probe_waits_uncounted_only_with_a_small_head(head_bytes: int, *, is_counted: bool) -> None:
    memory, scheduler = MemoryBudget(2**30), FairScheduler(nobody)
    line = RequestQueue(memory, str, REFUSED.append)
    scope: Scope = {"type": "http", "path": "/livez", "headers": [], DISCONNECT_SIGNAL: DisconnectSignal(head_bytes)}
    waiting = asyncio.create_task(line.wait(scheduler, "/livez", scope, _nothing))
    await asyncio.sleep(0)
    assert (memory.in_use > 0) is is_counted
    waiting.cancel()
    await asyncio.wait([waiting])
    assert memory.in_use == 0

"""Scenarios with badly behaved clients: idle connections, slow readers, slow writers, and disconnects."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.faults.calls import Fate, Reply, read
from tests.faults.crowd import CALLERS
from tests.faults.purchases import LEFT, Attempt, Purchase
from tests.faults.replica import Replica
from tests.faults.scenario import Scenario, Stage
from tests.faults.truth import mismatch_in, token_of
from tests.support.eventually import eventually
from tests.support.raw_http import answer_head
from tests.support.service import call_bytes

IDLE_CONNECTIONS = 2_000
SLOW_CLIENTS = 20
STALLED_READERS = 4
"""Clients that send 20 requests at once and read almost nothing of the answers."""

READING_SECONDS = 0.02
SLOWLY_READ_BYTES = 2_048
"""A slow reader reads this much every READING_SECONDS."""

WRITING_SECONDS = 0.002
"""A slow writer sends one byte each time."""

LEAVING_SECONDS = 0.02
"""How long after its request a client disconnects."""

LEAVING_CLIENTS = 4
GONE_SECONDS = 10.0
"""How long the service may take to accept the idle connections, and to close those whose client is gone."""

BUFFER_BYTES = 4_096


@asynccontextmanager
async def idle_connections(stage: Stage) -> AsyncIterator[None]:
    """Open IDLE_CONNECTIONS connections and send nothing."""
    async with _all_closed_after(stage):
        idle = await asyncio.to_thread(_connect, stage.world.replicas)
        try:
            async with asyncio.timeout(GONE_SECONDS):
                while (accepted := sum(one.open_connections() for one in stage.world.replicas)) < IDLE_CONNECTIONS:
                    await asyncio.sleep(0.1)
            stage.saw("connections accepted", of=accepted)
            yield
        finally:
            for connection in idle:
                connection.close()


def _connect(replicas: list[Replica]) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", replicas[number % 2].port)) for number in range(IDLE_CONNECTIONS)]


@asynccontextmanager
async def slow_readers(stage: Stage) -> AsyncIterator[None]:
    """Ask for large batches and read the answers slowly; some clients hardly read at all."""
    answered: list[float] = []
    readers = [_read_slowly(stage, number, answered) for number in range(SLOW_CLIENTS)]
    stalled = [_hardly_read(stage.world.replicas[number % 2]) for number in range(STALLED_READERS)]
    async with _all_closed_after(stage), stage.run_clients([*readers, *stalled]):
        yield
        await eventually(lambda: bool(answered))
    stage.saw("answers read slowly", of=len(answered))
    stage.saw("s for the slowest", of=max(answered) if max(answered) > 0.5 else 0)


async def _read_slowly(stage: Stage, number: int, answered: list[float]) -> None:
    token, task_ids = token_of(number), [f"f-slow-{one}" for one in range(100)]
    while True:
        reader, writer = await _connect_with_small_buffer(stage.world.replicas[number % 2])
        started = time.monotonic()
        writer.write(_batch(token, task_ids))
        reply = await _answer(reader, started, SLOWLY_READ_BYTES, READING_SECONDS)
        writer.close()
        _check_reply(stage, token, task_ids, reply)
        answered.append(reply.ended - started)


async def _hardly_read(replica: Replica) -> None:
    reader, writer = await _connect_with_small_buffer(replica)
    writer.write(_batch(token_of(0), [f"f-slow-{one}" for one in range(100)]) * 20)
    with contextlib.suppress(ConnectionError):
        while await reader.read(100):
            await asyncio.sleep(0.05)
    writer.close()


async def _connect_with_small_buffer(replica: Replica) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect with a small receive buffer, so that unread answers pile up in the service and not in the kernel."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    raw.setblocking(False)  # noqa: FBT003 - the socket's own form
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", replica.port))
    return await asyncio.open_connection(sock=raw, limit=BUFFER_BYTES)


@asynccontextmanager
async def slow_writers(stage: Stage) -> AsyncIterator[None]:
    """Send requests one byte at a time."""
    answered: list[float] = []
    writers = [_write_slowly(stage, number, answered) for number in range(SLOW_CLIENTS)]
    async with _all_closed_after(stage), stage.run_clients(writers):
        yield
        await eventually(lambda: bool(answered))
    stage.saw("requests written slowly were answered", of=len(answered))
    stage.saw("s for the slowest", of=max(answered) if max(answered) > 1 else 0)


async def _write_slowly(stage: Stage, number: int, answered: list[float]) -> None:
    token, task_ids = token_of(number), [f"f-slow-{number}", f"x-slow-{number}"]
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.world.replicas[number % 2].port)
        started = time.monotonic()
        for byte in _batch(token, task_ids):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(WRITING_SECONDS)
        reply = await _answer(reader, started, 65_536, 0)
        writer.close()
        _check_reply(stage, token, task_ids, reply)
        answered.append(reply.ended - started)


@asynccontextmanager
async def leaving_clients(stage: Stage) -> AsyncIterator[None]:
    """Disconnect before the answer: during a wait, a read, and a purchase."""
    before = await stage.world.metric("calls", 'outcome="cancelled"')
    clients = [_ask_and_leave(stage, number) for number in range(LEAVING_CLIENTS)]
    async with _all_closed_after(stage), stage.run_clients(clients):
        yield
    stage.saw("waits given up", of=await stage.world.metric("calls", 'outcome="cancelled"') - before)
    left = [one for one in stage.crowd.purchases if any(attempt.outcome == LEFT for attempt in one.attempts)]
    stage.saw("purchases left", of=len(left))


async def _ask_and_leave(stage: Stage, number: int) -> None:
    token, replica, turn = token_of(number), stage.world.replicas[number % 2], 0
    while True:
        turn += 1
        if turn % 3 == 0:
            await _send_and_leave(replica, _abandoned_purchase(stage, token, f"left {stage.random.random()}"))
        else:
            wait_seconds = 30 * (turn % 3 - 1)
            await _send_and_leave(replica, _batch(token, [f"r-left-{number}-{turn}"], wait_seconds=wait_seconds))


def _abandoned_purchase(stage: Stage, token: str, name: str) -> bytes:
    """Return the request of a purchase, and register it with the crowd, which repeats it after the fault."""
    purchase = Purchase(token, f"secret prompt {name}", f"secret-key-{name}")
    purchase.attempts.append(Attempt(time.monotonic(), time.monotonic(), LEFT))
    stage.crowd.adopt(purchase)
    return _streamed(call_bytes("luma_generate_video", purchase.arguments, token))


def _streamed(request: bytes) -> bytes:
    """Return the request with a progress token, so that its answer is an event stream.

    When the client of a stream disconnects, the service cancels the call.
    """
    head, _, body = request.partition(b"\r\n\r\n")
    message = json.loads(body)
    message["params"].setdefault("_meta", {})["progressToken"] = "left"
    longer = json.dumps(message).encode()
    head = head.replace(b"content-length: %d" % len(body), b"content-length: %d" % len(longer))
    return (
        head.replace(b"accept: application/json", b"accept: application/json, text/event-stream") + b"\r\n\r\n" + longer
    )


async def _send_and_leave(replica: Replica, request: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    writer.write(request)
    await writer.drain()
    await asyncio.sleep(LEAVING_SECONDS)
    writer.transport.abort()


@asynccontextmanager
async def _all_closed_after(stage: Stage) -> AsyncIterator[None]:
    """Wait on exit until the service has closed the scenario's connections. Raises TimeoutError after GONE_SECONDS.

    The crowd's own connections, at most 3 for each caller, may stay open.
    """
    yield
    async with asyncio.timeout(GONE_SECONDS):
        while any(replica.open_connections() > 3 * CALLERS for replica in stage.world.replicas):
            await asyncio.sleep(0.1)


async def _answer(reader: asyncio.StreamReader, started: float, size: int, pause_seconds: float) -> Reply:
    """Read one HTTP response, `size` bytes at a time, with a pause after each part."""
    (status, length), content = await answer_head(reader), bytearray()
    while len(content) < length:
        part = await reader.read(min(size, length - len(content)))
        if not part:
            return Reply(Fate.CUT, started, time.monotonic(), words="cut off in the midst of its body")
        content += part
        await asyncio.sleep(pause_seconds)
    return read(status, bytes(content), started)


def _check_reply(stage: Stage, token: str, wanted: list[str], reply: Reply) -> None:
    """Check the answer to a batch: every id must be there, in order, with its true state."""
    score = stage.crowd.score
    if reply.fate is not Fate.ANSWERED or reply.error is not None:
        score.lose(f"a slow call was {reply.words or reply.error}")
        return
    shown = {task["task_id"]: task for task in reply.result["tasks"]}
    if list(shown) != wanted:
        score.lose(f"a slow call for {len(wanted)} ids was told about {len(shown)}")
    for task_id, task in shown.items():
        if (mismatch := mismatch_in(token, task_id, task)) is not None:
            score.find_wrong(mismatch)


def _batch(token: str, task_ids: list[str], **arguments: Any) -> bytes:
    return call_bytes("luma_get_tasks_batch", {"task_ids": task_ids, "detail": "full", **arguments}, token)


CLIENT_SCENARIOS = (
    Scenario("Service", "2,000 idle connections", idle_connections),
    Scenario("Service", "slow readers", slow_readers, seconds=4.0),
    Scenario("Service", "slow writers", slow_writers, seconds=4.0),
    Scenario("Service", "clients that leave", leaving_clients),
)

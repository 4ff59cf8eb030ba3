"""The faults of the fake backend. Each one writes a broken HTTP response to the socket."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from tests.faults.truth import record
from tests.support.raw_http import reset

HANG_SECONDS = 90.0
"""Longer than any timeout of the service."""

TRICKLE_SECONDS = 0.5
TEN_MEGABYTES = 10 * 1024 * 1024
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Broken:
    """A response to break: its correct JSON, the caller's token, and its number among the broken ones of its kind.

    `number` counts from 1; faults with several variants choose one by it.
    """

    writer: asyncio.StreamWriter
    answer: Any
    token: str
    number: int
    random: random.Random

    @property
    def whole(self) -> bytes:
        """The correct body."""
        return json.dumps(self.answer).encode()


async def write(writer: asyncio.StreamWriter, content: bytes) -> None:
    """Write to the socket, and wait while its buffer is full."""
    writer.write(content)
    await writer.drain()


def head(status: int, length: int | None, kind: str = "application/json", extra: str = "") -> bytes:
    """Return the head of a response. Without a `length` the body ends when the connection closes."""
    counted = "" if length is None else f"content-length: {length}\r\n"
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{counted}{extra}\r\n".encode()


async def send(
    writer: asyncio.StreamWriter, answer: Any, status: int = 200, kind: str = "application/json", extra: str = ""
) -> None:
    """Write a correct response; `answer` is sent as JSON, or unchanged if it is bytes."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    await write(writer, head(status, len(body), kind, extra) + body)


async def _hang_before_headers(_it: Broken) -> None:
    await asyncio.sleep(HANG_SECONDS)


async def _hang_after_headers(it: Broken) -> None:
    await write(it.writer, head(200, len(it.whole)))
    await asyncio.sleep(HANG_SECONDS)


async def _reset(it: Broken) -> None:
    """Close the connection with RST: in the middle of the body if `number` is odd, else before the headers."""
    if it.number % 2:
        await write(it.writer, head(200, len(it.whole)) + it.whole[: len(it.whole) // 2])
        await asyncio.sleep(0.02)  # the client must read the half body before the RST discards it
    reset(it.writer)


async def _truncated(it: Broken) -> None:
    """Close the connection in the middle of the body, with a content-length if `number` is odd, else without."""
    length = len(it.whole) if it.number % 2 else None
    await write(it.writer, head(200, length) + it.whole[: len(it.whole) // 2])
    it.writer.close()


async def _never_ending(it: Broken) -> None:
    """Send an endless body as fast as the client reads it."""
    await write(it.writer, head(200, None) + b"[")
    while True:
        await write(it.writer, b"1," * 500_000)


async def _trickle(it: Broken) -> None:
    """Send one byte of the body every TRICKLE_SECONDS, below any timeout of a single read."""
    await write(it.writer, head(200, None) + b"[")
    for _ in range(int(HANG_SECONDS / TRICKLE_SECONDS)):
        await asyncio.sleep(TRICKLE_SECONDS)
        await write(it.writer, b" ")


async def _html(it: Broken) -> None:
    await send(it.writer, b"<html><body><h1>502 Bad Gateway</h1></body></html>", 502, "text/html")


async def _too_many(it: Broken) -> None:
    await send(it.writer, _error("too_many_requests"), 429)


async def _too_many_for_now(it: Broken) -> None:
    await send(it.writer, _error("too_many_requests"), 429, extra=f"retry-after: {RETRY_AFTER_SECONDS}\r\n")


async def _unauthorized(it: Broken) -> None:
    await send(it.writer, _error("invalid_token"), 401)


async def _wrong_id(it: Broken) -> None:
    """Replace some or all records of a batch, a single record, or a receipt by a task that was not asked for.

    A receipt (the answer to a purchase) may also get a task_id of the wrong type or an empty one.
    """
    other, answer = record(it.token, f"f-wrong-{it.number}"), it.answer
    if "items" in answer:
        kept = it.number % 3
        items = [item if kept and place % kept else other for place, item in enumerate(answer["items"])]
        await send(it.writer, {**answer, "items": items})
    elif "task_id" in answer:
        wrong = (other, {**answer, "task_id": it.number}, {**answer, "task_id": ""})
        await send(it.writer, wrong[it.number % 3])
    else:
        await send(it.writer, other)


async def _ten_megabytes(it: Broken) -> None:
    await send(it.writer, _large_body())


@cache
def _large_body() -> bytes:
    return b'{"items": [' + b'{"id": "f-0"},' * (TEN_MEGABYTES // 14) + b"{}]}"


async def _shuffled(it: Broken) -> None:
    """Send each record of a batch twice, in random order. A single record and a receipt stay correct."""
    answer = it.answer
    if "items" in answer:
        items = [*answer["items"], *answer["items"]]
        it.random.shuffle(items)
        answer = {**answer, "items": items}
    await send(it.writer, answer)


def _error(code: str) -> Any:
    return {"success": False, "error": {"code": code, "message": "No."}, "trace_id": "t"}


FAULTS: Final[Mapping[str, Callable[[Broken], Awaitable[None]]]] = {
    "hang before headers": _hang_before_headers,
    "hang after headers": _hang_after_headers,
    "reset": _reset,
    "truncated body": _truncated,
    "never-ending body": _never_ending,
    "body of a byte now and then": _trickle,
    "HTML 502": _html,
    "429": _too_many,
    "429 with Retry-After": _too_many_for_now,
    "401": _unauthorized,
    "wrong id": _wrong_id,
    "10 MB": _ten_megabytes,
    "duplicated and reordered": _shuffled,
}
REFUSALS: Final = ("429", "429 with Retry-After", "401")
"""Faults under which the backend starts no task. Under every other fault a purchase starts one."""

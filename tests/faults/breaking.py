"""The ways in which the backend breaks an answer: written to the connection by hand, as no framework would."""

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
"""Longer than anybody waits: whoever hangs is let go by its caller."""

TRICKLE_SECONDS = 0.5
TEN_MEGABYTES = 10 * 1024 * 1024
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Broken:
    """An answer that is to be broken: its true content, whose it is, and how many were broken before it."""

    writer: asyncio.StreamWriter
    answer: Any
    token: str
    number: int
    random: random.Random

    @property
    def whole(self) -> bytes:
        """The true body."""
        return json.dumps(self.answer).encode()


async def write(writer: asyncio.StreamWriter, content: bytes) -> None:
    """Write and wait until there is room again."""
    writer.write(content)
    await writer.drain()


def head(status: int, length: int | None, kind: str = "application/json", extra: str = "") -> bytes:
    """Return the head of an answer; without a length its body ends with the connection."""
    counted = "" if length is None else f"content-length: {length}\r\n"
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{counted}{extra}\r\n".encode()


async def send(
    writer: asyncio.StreamWriter, answer: Any, status: int = 200, kind: str = "application/json", extra: str = ""
) -> None:
    """Answer as one should, with JSON, or with bytes as they are."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    await write(writer, head(status, len(body), kind, extra) + body)


async def _hang_before_headers(_it: Broken) -> None:
    await asyncio.sleep(HANG_SECONDS)


async def _hang_after_headers(it: Broken) -> None:
    await write(it.writer, head(200, len(it.whole)))
    await asyncio.sleep(HANG_SECONDS)


async def _reset(it: Broken) -> None:
    """End the connection with RST: before the headers, and every second time in the midst of the body."""
    if it.number % 2:
        await write(it.writer, head(200, len(it.whole)) + it.whole[: len(it.whole) // 2])
        await asyncio.sleep(0.02)  # what is still on its way when the RST overtakes it never counts as a body
    reset(it.writer)


async def _truncated(it: Broken) -> None:
    """End the connection in the midst of the body, whose length was told or, every second time, was not."""
    length = len(it.whole) if it.number % 2 else None
    await write(it.writer, head(200, length) + it.whole[: len(it.whole) // 2])
    it.writer.close()


async def _never_ending(it: Broken) -> None:
    """Send ever more of a body, as fast as it is taken."""
    await write(it.writer, head(200, None) + b"[")
    while True:
        await write(it.writer, b"1," * 500_000)


async def _trickle(it: Broken) -> None:
    """Send a byte now and then, so that no single wait is long, and never come to an end."""
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
    """Answer about tasks that nobody asked for, in place of some of the records or of all, and of a receipt."""
    stranger, answer = record(it.token, f"f-wrong-{it.number}"), it.answer
    if "items" in answer:
        kept = it.number % 3
        items = [item if kept and place % kept else stranger for place, item in enumerate(answer["items"])]
        await send(it.writer, {**answer, "items": items})
    elif "task_id" in answer:
        unfit = (stranger, {**answer, "task_id": it.number}, {**answer, "task_id": ""})
        await send(it.writer, unfit[it.number % 3])
    else:
        await send(it.writer, stranger)


async def _ten_megabytes(it: Broken) -> None:
    await send(it.writer, _much())


@cache
def _much() -> bytes:
    return b'{"items": [' + b'{"id": "f-0"},' * (TEN_MEGABYTES // 14) + b"{}]}"


async def _shuffled(it: Broken) -> None:
    """Send each record twice, in any order; a receipt, or a record alone, is sent as it is."""
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
"""With these nothing is bought; with every other fault the video is made all the same."""

"""The recovery check: a read and a purchase through both replicas, repeated until they work."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from typing import Any

import httpx

from tests.faults.calls import Fate, Question, Reply, ask
from tests.faults.truth import CANARY, OTHER_CANARY, mismatch_in
from tests.faults.world import World
from tests.support.service import MODERN

PAUSE_SECONDS = 0.05
CALL_SECONDS = 5.0

_numbers = itertools.count()


async def wait_until_recovered(world: World, seconds: float) -> float:
    """Repeat the check until it passes; return the time at which it did (monotonic seconds).

    Raises TimeoutError with the last failure if that takes longer than `seconds`.
    """
    give_up_at, why = time.monotonic() + seconds, ""
    async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0)) as client:
        for number in _numbers:
            why = await _failure(client, world, number)
            if not why:
                return time.monotonic()
            if time.monotonic() > give_up_at:
                break
            await asyncio.sleep(PAUSE_SECONDS)
    raise TimeoutError(f"not back to normal after {seconds:g} s: {why}")


async def _failure(client: httpx.AsyncClient, world: World, number: int) -> str:
    """Run the check once; return what failed, or an empty string."""
    first, second = world.urls if number % 2 else world.urls[::-1]
    try:
        await _read(client, world, (first, second), f"f-canary-{number}")
        await _buy(client, (first, second), f"canary-{number}")
    except AssertionError as why:
        return str(why)
    return ""


async def _read(client: httpx.AsyncClient, world: World, urls: tuple[str, str], task_id: str) -> None:
    """Read a task through one replica, through the other, and under another token.

    Raises AssertionError if the second replica asks the backend: it must find the result in Redis.
    """
    calls: list[int] = []
    for token, url in ((CANARY, urls[0]), (CANARY, urls[1]), (OTHER_CANARY, urls[1])):
        shown = await _result(client, url, Question(token, "luma_get_task", {"task_id": task_id}, MODERN))
        assert (mismatch := mismatch_in(token, task_id, dict(shown))) is None, mismatch
        calls.append((await world.oracle_state())["calls"][CANARY])
    assert calls[0] == calls[1], "one replica asked the backend for what the other had read"


async def _buy(client: httpx.AsyncClient, urls: tuple[str, str], name: str) -> None:
    """Buy with one key through one replica, through the other, and under another token.

    Raises AssertionError unless the first two calls return the same task and the third another.
    """
    task_ids: list[str] = []
    arguments = {"prompt": f"secret prompt {name}", "idempotency_key": f"secret-key-{name}"}
    for token, url in ((CANARY, urls[0]), (CANARY, urls[1]), (OTHER_CANARY, urls[1])):
        bought = await _result(client, url, Question(token, "luma_generate_video", arguments, MODERN))
        task_ids.append(bought["task_id"])
    assert task_ids[0] == task_ids[1], "one key bought two videos"
    assert task_ids[0] != task_ids[2], "two callers with the same key got one video"


async def _result(client: httpx.AsyncClient, url: str, question: Question) -> Mapping[str, Any]:
    """Return the result of a call. Raises AssertionError if the call fails."""
    reply = await ask(client, url, question, CALL_SECONDS)
    assert _is_answer(reply), f"{question.tool} was not answered: {reply.words or reply.error}"
    return reply.result


def _is_answer(reply: Reply) -> bool:
    return reply.fate is Fate.ANSWERED and reply.error is None

"""The canary: what must work when all is well, tried until it does."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from typing import Any

import httpx

from tests.faults.calls import Fate, Question, Reply, ask
from tests.faults.truth import CANARY, OTHER_CANARY, untruth_in
from tests.faults.world import World
from tests.support.service import MODERN

PAUSE_SECONDS = 0.05
CALL_SECONDS = 5.0

_numbers = itertools.count()


async def until_well(world: World, seconds: float) -> float:
    """Return the moment at which a purchase was taken and what one replica read the other knew.

    Raises TimeoutError, with what was last amiss, where that took longer.
    """
    give_up_at, why = time.monotonic() + seconds, ""
    async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0)) as client:
        for number in _numbers:
            why = await _amiss(client, world, number)
            if not why:
                return time.monotonic()
            if time.monotonic() > give_up_at:
                break
            await asyncio.sleep(PAUSE_SECONDS)
    raise TimeoutError(f"not back to normal after {seconds:g} s: {why}")


async def _amiss(client: httpx.AsyncClient, world: World, number: int) -> str:
    """Return what does not work, in words."""
    first, second = world.urls if number % 2 else world.urls[::-1]
    try:
        await _read(client, world, (first, second), f"f-canary-{number}")
        await _buy(client, (first, second), f"canary-{number}")
    except AssertionError as why:
        return str(why)
    return ""


async def _read(client: httpx.AsyncClient, world: World, urls: tuple[str, str], task_id: str) -> None:
    """Read a task through one replica, then through the other, and then as somebody else."""
    calls: list[int] = []
    for token, url in ((CANARY, urls[0]), (CANARY, urls[1]), (OTHER_CANARY, urls[1])):
        shown = await _taken(client, url, Question(token, "luma_get_task", {"task_id": task_id}, MODERN))
        assert (untruth := untruth_in(token, task_id, dict(shown))) is None, untruth
        calls.append((await world.oracle())["calls"][CANARY])
    assert calls[0] == calls[1], "one replica asked the backend for what the other had read"


async def _buy(client: httpx.AsyncClient, urls: tuple[str, str], name: str) -> None:
    """Buy through one replica, again through the other, and then under the same key as somebody else."""
    task_ids: list[str] = []
    arguments = {"prompt": f"secret prompt {name}", "idempotency_key": f"secret-key-{name}"}
    for token, url in ((CANARY, urls[0]), (CANARY, urls[1]), (OTHER_CANARY, urls[1])):
        bought = await _taken(client, url, Question(token, "luma_generate_video", arguments, MODERN))
        task_ids.append(bought["task_id"])
    assert task_ids[0] == task_ids[1], "one key bought two videos"
    assert task_ids[0] != task_ids[2], "two callers with the same key got one video"


async def _taken(client: httpx.AsyncClient, url: str, question: Question) -> Mapping[str, Any]:
    """Return the result of a call. Raises AssertionError where it has none."""
    reply = await ask(client, url, question, CALL_SECONDS)
    assert _is_answer(reply), f"{question.tool} was not answered: {reply.words or reply.error}"
    return reply.result


def _is_answer(reply: Reply) -> bool:
    return reply.fate is Fate.ANSWERED and reply.error is None

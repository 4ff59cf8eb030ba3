"""The canary: what must work when all is well, tried until it does."""

import asyncio
import itertools
import time

import httpx

from tests.faults.calls import Fate, Question, Reply, ask
from tests.faults.truth import CANARY, untruth_in
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
    return await _reading(client, world, (first, second), f"f-canary-{number}") or await _buying(
        client, (first, second), f"canary-{number}"
    )


async def _reading(client: httpx.AsyncClient, world: World, urls: tuple[str, str], task_id: str) -> str:
    calls: list[int] = []
    for url in urls:
        reply = await ask(client, url, Question(CANARY, "luma_get_task", {"task_id": task_id}, MODERN), CALL_SECONDS)
        if not _is_answer(reply):
            return f"a task was not read: {_words(reply)}"
        if (untruth := untruth_in(CANARY, task_id, dict(reply.result))) is not None:
            return untruth
        calls.append((await world.oracle())["calls"][CANARY])
    return "" if calls[0] == calls[1] else "one replica asked the backend for what the other had read"


async def _buying(client: httpx.AsyncClient, urls: tuple[str, str], name: str) -> str:
    task_ids: list[str] = []
    arguments = {"prompt": f"secret prompt {name}", "idempotency_key": f"secret-key-{name}"}
    for url in urls:
        reply = await ask(client, url, Question(CANARY, "luma_generate_video", arguments, MODERN), CALL_SECONDS)
        if not _is_answer(reply):
            return f"a purchase was not taken: {_words(reply)}"
        task_ids.append(reply.result["task_id"])
    return "" if task_ids[0] == task_ids[1] else "one key bought two videos"


def _is_answer(reply: Reply) -> bool:
    return reply.fate is Fate.ANSWERED and reply.error is None


def _words(reply: Reply) -> str:
    return reply.words or str(reply.error)

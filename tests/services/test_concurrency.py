"""SharedTasks: concurrent calls share a task, which survives them."""

import asyncio
import gc
from typing import Any

import pytest

from app.services.concurrency import SharedTasks


async def test_a_failed_task_whose_callers_have_left_is_no_warning_and_is_forgotten() -> None:
    loop, warnings, go_on = asyncio.get_running_loop(), list[dict[str, Any]](), asyncio.Event()
    loop.set_exception_handler(lambda _loop, context: warnings.append(context))
    tasks: SharedTasks[None] = SharedTasks()

    async def fail() -> None:
        await go_on.wait()
        raise ValueError

    tasks.start("key", fail())
    callers = [asyncio.create_task(tasks.result("key")) for _ in range(2)]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert "key" in tasks
    go_on.set()
    while "key" in tasks:
        await asyncio.sleep(0)
    gc.collect()
    assert warnings == []


async def test_calls_share_the_exception_of_a_task() -> None:
    tasks: SharedTasks[None] = SharedTasks()

    async def fail() -> None:
        raise ValueError

    tasks.start("key", fail())
    results = await asyncio.gather(*(tasks.result("key") for _ in range(3)), return_exceptions=True)
    assert list(map(type, results)) == [ValueError] * 3
    with pytest.raises(KeyError):
        await tasks.result("key")

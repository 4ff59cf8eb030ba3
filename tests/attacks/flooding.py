"""Clients of an attack in a process of their own, so that their work does not slow down the honest caller."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from multiprocessing.synchronize import Event
from typing import Any

from tests.attacks.target import Target
from tests.faults.__main__ import more_descriptors

Client = Callable[[int, int], Coroutine[Any, Any, None]]
"""One client of an attack. It receives the port of the service and its own number, and is called again when it ends."""

WARM_UP_SECONDS = 3.0
"""Time between the start of the clients and the first measurement."""


@asynccontextmanager
async def flood(target: Target, client: Client, clients: int) -> AsyncIterator[None]:
    """Run `clients` clients in a process while the block runs. `client` is a function of a module."""
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_run, args=(client, target.port, clients, started))
    process.start()
    try:
        await asyncio.to_thread(started.wait, 30)
        await asyncio.sleep(WARM_UP_SECONDS)
        yield
    finally:
        process.kill()
        await asyncio.to_thread(process.join)


def _run(client: Client, port: int, clients: int, started: Event) -> None:
    more_descriptors()
    started.set()
    asyncio.run(_all(client, port, clients))


async def _all(client: Client, port: int, clients: int) -> None:
    await asyncio.gather(*(_again_and_again(client, port, number) for number in range(clients)))


async def _again_and_again(client: Client, port: int, number: int) -> None:
    while True:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await client(port, number)
        await asyncio.sleep(0.01)

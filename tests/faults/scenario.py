"""The definition of a scenario, and the context that its fault runs in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.faults.crowd import CALLERS, Crowd
from tests.faults.terms import STRICT, Terms
from tests.faults.world import USUAL, Form, World

MAX_HIT_SECONDS = 10.0
"""How much longer a fault may last until it has had its effect."""


@dataclass(slots=True)
class Stage:
    """The context of a fault: the processes, the load, and the evidence (`signs`) that the fault took effect.

    `seconds` is how long the fault lasts.
    """

    world: World
    crowd: Crowd
    random: Random
    seconds: float
    signs: list[str] = field(default_factory=list)

    def saw(self, sign: str, *, of: object = True) -> None:
        """Record evidence that the fault took effect, or was lifted. Raises AssertionError if `of` is falsy.

        `of` is the number that goes before `sign` in the report, or True for none.
        """
        if not of:
            raise AssertionError(f"The fault had no visible effect: no {sign}.")
        self.signs.append(sign if of is True else f"{of:,.0f} {sign}")

    async def extend_until(self, hit: Callable[[], Awaitable[bool]]) -> None:
        """Prolong the fault until `hit` returns True, at most by MAX_HIT_SECONDS.

        Faults that are drawn at random may not have hit any call yet.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_HIT_SECONDS):
                while not await hit():
                    await asyncio.sleep(0.1)

    @asynccontextmanager
    async def run_clients(self, clients: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        """Run clients while the block runs, then cancel them. Raises the exception of a client that failed."""
        tasks = [asyncio.ensure_future(client) for client in clients]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task


Fault = Callable[[Stage], AbstractAsyncContextManager[None]]
"""A context manager that injects a fault on entry and lifts it on exit, also after an exception.

It raises AssertionError if the fault had no visible effect.
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault, and what is expected of the service.

    fault: injects it.
    terms: the failures that it excuses, and the limits.
    seconds: how long the fault lasts after its injection.
    quiet: calls mostly wait in this scenario, so that others may run beside it.
    callers: the number of concurrent callers.
    form: the processes that it needs.
    """

    group: str
    name: str
    fault: Fault
    terms: Terms = STRICT
    seconds: float = 2.5
    quiet: bool = False
    callers: int = CALLERS
    form: Form = USUAL

    @property
    def title(self) -> str:
        """The name in reports."""
        return f"{self.group}: {self.name}"

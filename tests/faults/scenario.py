"""One way in which things break, and what its fault finds when it enters."""

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

LONGEST_HIT_SECONDS = 10.0


@dataclass(slots=True)
class Stage:
    """What a fault has to break and to look at; it writes down the signs by which it was seen to hit."""

    world: World
    crowd: Crowd
    random: Random
    seconds: float
    signs: list[str] = field(default_factory=list)

    def saw(self, sign: str, *, of: object = True) -> None:
        """Note a sign that the fault hit, or was mended. Raises AssertionError where there is nothing `of` it."""
        if not of:
            raise AssertionError(f"The fault was not seen to hit: no {sign}.")
        self.signs.append(sign if of is True else f"{of:,.0f} {sign}")

    async def go_on_until(self, hit: Callable[[], Awaitable[bool]]) -> None:
        """Let a fault that was too short for the lots that are drawn go on until it has hit, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_HIT_SECONDS):
                while not await hit():
                    await asyncio.sleep(0.1)

    @asynccontextmanager
    async def meanwhile(self, clients: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        """Let clients do something while entered; then end them. Raises what any of them raised."""
        tasks = [asyncio.ensure_future(client) for client in clients]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task


Break = Callable[[Stage], AbstractAsyncContextManager[None]]
"""Entered, the fault is there; left, it is gone, whatever happened in between, and its sign was seen."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way in which things break. `seconds` is how long the load goes on while they are broken.

    What breaks in a moment is `at_once`: the way back counts from there. One that is `quiet` mostly waits, so that
    others may run beside it, and that more callers are needed to meet it.
    """

    group: str
    name: str
    broken: Break
    terms: Terms = STRICT
    seconds: float = 2.5
    at_once: bool = False
    quiet: bool = False
    callers: int = CALLERS
    form: Form = USUAL

    @property
    def title(self) -> str:
        """What the table calls it."""
        return f"{self.group}: {self.name}"

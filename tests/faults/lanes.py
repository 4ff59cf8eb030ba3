"""The scheduler of scenarios: runs a few at a time, on processes that scenarios of the same form share in turn."""

import asyncio
import time
import traceback
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

from tests.faults.play import play
from tests.faults.report import Outcome
from tests.faults.scenario import Scenario
from tests.faults.world import Form, World, running

BUSY, QUIET = 2, 1
"""The concurrency limits of scenarios that load the machine, and of those that mostly wait. Higher ones would slow the
service so much that calls miss their time limits."""

MAX_SECONDS = 180.0
"""The time limit of one scenario. In a quiet one a call may wait up to a minute for the outcome of a purchase."""


class _Worlds:
    """The processes of scenarios that ended without an exception, by form, for the next scenario of that form."""

    def __init__(self, stack: AsyncExitStack) -> None:
        """`stack` ends all processes."""
        self._stack = stack
        self._starting = asyncio.Lock()
        self._idle: defaultdict[Form, list[tuple[World, AsyncExitStack]]] = defaultdict(list)

    @asynccontextmanager
    async def lend(self, form: Form) -> AsyncIterator[World]:
        """Lend idle processes of this form, or start new ones. They end with the block if it raises an exception."""
        world, own = self._idle[form].pop() if self._idle[form] else await self._start(form)
        try:
            yield world
        except BaseException:
            await own.aclose()
            raise
        self._idle[form].append((world, own))

    async def _start(self, form: Form) -> tuple[World, AsyncExitStack]:
        """Start one form at a time, because a start keeps several cores busy."""
        own = await self._stack.enter_async_context(AsyncExitStack())
        async with self._starting:
            return await own.enter_async_context(running(form)), own


async def play_all(scenarios: Sequence[Scenario], seed: int, on_outcome: Callable[[Outcome], None]) -> list[Outcome]:
    """Run all scenarios and return their outcomes in the same order; `on_outcome` is called when each one ends."""
    limiters = {False: asyncio.Semaphore(BUSY), True: asyncio.Semaphore(QUIET)}

    async def limited(scenario: Scenario, worlds: _Worlds) -> Outcome:
        async with limiters[scenario.quiet]:
            outcome = await _outcome(scenario, worlds, seed)
        on_outcome(outcome)
        return outcome

    async with AsyncExitStack() as stack:
        worlds = _Worlds(stack)
        return await asyncio.gather(*(limited(scenario, worlds) for scenario in scenarios))


async def _outcome(scenario: Scenario, worlds: _Worlds, seed: int) -> Outcome:
    """Run one scenario. An exception becomes its outcome, so that the other scenarios go on."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(MAX_SECONDS), worlds.lend(scenario.form) as world:
            episode = await play(world, scenario, _own_seed(scenario, seed))
    except Exception as exc:  # noqa: BLE001 - the other scenarios go on
        return Outcome(scenario, None, tuple(_words(exc)), time.monotonic() - started)
    return Outcome(scenario, episode, episode.trouble, time.monotonic() - started)


def _own_seed(scenario: Scenario, seed: int) -> int:
    """Return a seed for this scenario, so that it asks for no task that another one on the same processes read."""
    return Random(f"{seed}-{scenario.title}").getrandbits(32)


def _words(exc: BaseException) -> list[str]:
    """Return a description of the exception and its last place in the tests, or one for each exception in a group."""
    if isinstance(exc, BaseExceptionGroup):
        return [words for one in exc.exceptions for words in _words(one)]
    frames = [one for one in traceback.extract_tb(exc.__traceback__) if "/tests/" in one.filename]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return [f"{type(exc).__name__}{place}: {exc}"]

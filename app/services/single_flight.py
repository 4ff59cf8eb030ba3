"""One fetch per key, however many callers want it at once.

A flight belongs to nobody: it goes on when the caller that started it leaves, so the others still land.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Joins concurrent fetches of the same keys."""

    def __init__(self) -> None:
        self._landing: dict[K, asyncio.Future[V]] = {}
        self._flights: set[asyncio.Task[Mapping[K, V]]] = set()

    async def get_many(
        self, keys: Sequence[K], fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]
    ) -> tuple[dict[K, V], int]:
        """Return a value for each key, and how many were already in the air.

        `fetch` is called at most once, with the keys that nobody is fetching yet, and must answer each of them;
        what it raises is raised to everyone who waits for one of its keys.
        """
        led = [key for key in keys if key not in self._landing]
        if led:
            self._take_off(led, fetch)
        waiting = {key: self._landing[key] for key in keys}
        await asyncio.wait(waiting.values())
        return {key: future.result() for key, future in waiting.items()}, len(keys) - len(led)

    def _take_off(self, keys: list[K], fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        loop = asyncio.get_running_loop()
        landing: dict[K, asyncio.Future[V]] = {key: loop.create_future() for key in keys}
        self._landing |= landing
        flight = loop.create_task(_fly(keys, fetch))
        self._flights.add(flight)
        # A callback, because a flight that is stopped before its first step runs no code of its own.
        flight.add_done_callback(lambda landed: self._land(landed, landing))

    def _land(self, flight: "asyncio.Task[Mapping[K, V]]", landing: dict[K, "asyncio.Future[V]"]) -> None:
        self._flights.discard(flight)
        fault = _fault(flight)
        values = flight.result() if fault is None else {}
        for key, future in landing.items():
            del self._landing[key]
            if key in values:
                future.set_result(values[key])
            else:
                future.set_exception(fault or KeyError(key))
                future.exception()  # marks it as seen: every waiter may have left

    async def aclose(self) -> None:
        """Stop every flight that is still in the air; those who wait for one are told."""
        for flight in self._flights:
            flight.cancel()
        if self._flights:
            await asyncio.wait(self._flights)


async def _fly(keys: list[K], fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> Mapping[K, V]:
    return await fetch(keys)


def _fault(flight: "asyncio.Task[Mapping[K, V]]") -> Exception | None:
    """Return what those who wait are told, if the flight came to grief."""
    fault = asyncio.CancelledError() if flight.cancelled() else flight.exception()
    return fault if fault is None or isinstance(fault, Exception) else ConnectionAbortedError("the service is stopping")

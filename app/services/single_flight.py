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
        self._flights: set[asyncio.Task[None]] = set()

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
        for key in keys:
            self._landing[key] = loop.create_future()
        flight = loop.create_task(self._fly(keys, fetch))
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)

    async def _fly(self, keys: list[K], fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        landing = {key: self._landing[key] for key in keys}
        try:
            values = await fetch(keys)
            for key, future in landing.items():
                future.set_result(values[key])
        except BaseException as fault:  # whatever it was, those who wait must not wait for ever
            for future in landing.values():
                if not future.done():
                    future.set_exception(_shareable(fault))
                    future.exception()  # marks it as seen: every waiter may have left
            if not isinstance(fault, Exception):
                raise
        finally:
            for key in keys:
                del self._landing[key]

    async def aclose(self) -> None:
        """Stop every flight that is still in the air; those who wait for one are told."""
        for flight in self._flights:
            flight.cancel()
        if self._flights:
            await asyncio.wait(self._flights)


def _shareable(fault: BaseException) -> Exception:
    return fault if isinstance(fault, Exception) else ConnectionAbortedError("the service is stopping")

"""Single flight: one fetch per key for all concurrent callers.

A flight belongs to nobody: it goes on when the caller that started it leaves, so the others still land. One that has
sent nothing yet ends with the last caller who waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(eq=False, slots=True)
class _Flight:
    keys: list[Any]
    has_sent: Callable[[], bool]
    on_landed: Callable[[], None]
    waiting: int = 0
    task: "asyncio.Task[Any]" = field(init=False)


class _Seat(NamedTuple):
    flight: _Flight
    landed: "asyncio.Future[Any]"


def _always() -> bool:
    return True


def _nothing() -> None:
    return None


class SingleFlight(Generic[K, V]):
    """Joins concurrent fetches of the same keys."""

    def __init__(self) -> None:
        self._landing: dict[K, _Seat] = {}
        self._flights: set[asyncio.Task[Mapping[K, V]]] = set()

    async def get_many(
        self,
        keys: Sequence[K],
        fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]],
        has_sent: Callable[[], bool] = _always,
        on_landed: Callable[[], None] = _nothing,
    ) -> tuple[dict[K, V], int]:
        """Return a value for each key, and the number of keys whose fetch was under way.

        `fetch` is called at most once, with the keys that nobody is fetching yet, and must answer each of them;
        what it raises is raised to everyone who waits for one of its keys. Until `has_sent`, it is stopped when nobody
        waits for any of its keys. `on_landed` is called when a fetch is over, however it ended.
        """
        led = self.not_in_flight(keys)
        if led:
            self._take_off(fetch, _Flight(led, has_sent, on_landed))
        seats = {key: self._landing[key] for key in keys}
        flights = {seat.flight for seat in seats.values()}
        for flight in flights:
            flight.waiting += 1
        try:
            await asyncio.wait([seat.landed for seat in seats.values()])
        finally:
            for flight in flights:
                self._leave(flight)
        return {key: seat.landed.result() for key, seat in seats.items()}, len(keys) - len(led)

    @property
    def flights(self) -> int:
        """Number of fetches under way."""
        return len(self._flights)

    def not_in_flight(self, keys: Sequence[K]) -> list[K]:
        """Return the keys without a fetch under way."""
        return [key for key in keys if key not in self._landing]

    def _take_off(self, fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]], flight: _Flight) -> None:
        loop = asyncio.get_running_loop()
        landing = {key: _Seat(flight, loop.create_future()) for key in flight.keys}
        self._landing |= landing
        flight.task = loop.create_task(_fly(flight.keys, fetch))
        self._flights.add(flight.task)
        # A callback, because a flight that is stopped before its first step runs no code of its own.
        flight.task.add_done_callback(lambda landed: self._land(landed, landing, flight.on_landed))

    def _leave(self, flight: _Flight) -> None:
        """Count one caller out; nobody may join a flight that is stopped with it."""
        flight.waiting -= 1
        if flight.waiting == 0 and not flight.task.done() and not flight.has_sent():
            flight.task.cancel()
            for key in flight.keys:
                del self._landing[key]

    def _land(
        self, flight: "asyncio.Task[Mapping[K, V]]", landing: dict[K, _Seat], on_landed: Callable[[], None]
    ) -> None:
        self._flights.discard(flight)
        on_landed()
        error = _fault(flight)
        values = flight.result() if error is None else {}
        for key, seat in landing.items():
            if self._landing.get(key) is seat:
                del self._landing[key]
            if key in values:
                seat.landed.set_result(values[key])
            else:
                seat.landed.set_exception(error or KeyError(key))
                seat.landed.exception()  # marks it as seen: every waiter may have left

    async def aclose(self) -> None:
        """Cancel every fetch under way. Its callers get an error."""
        for flight in self._flights:
            flight.cancel()
        if self._flights:
            await asyncio.wait(self._flights)


async def _fly(keys: list[K], fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> Mapping[K, V]:
    return await fetch(keys)


def _fault(flight: "asyncio.Task[Mapping[K, V]]") -> Exception | None:
    """Return what those who wait are told, if the flight came to grief."""
    error = asyncio.CancelledError() if flight.cancelled() else flight.exception()
    return error if error is None or isinstance(error, Exception) else ConnectionAbortedError("the service is stopping")

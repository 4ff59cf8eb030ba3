"""Single flight: one fetch per key for all concurrent callers.

A fetch continues if the caller that started it disconnects, because others may wait for it. If its last caller is
cancelled before the fetch has sent a request, the fetch is cancelled too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(eq=False, slots=True)
class _Flight:
    """One fetch.

    Attributes:
        keys: the keys that it fetches.
        has_sent: returns whether the fetch has sent a request. Once it has, the fetch is cancelled only by `aclose`.
        on_done: called at the end of the fetch, also after an error.
        callers: number of callers that wait for at least one of the keys.

    """

    keys: list[Any]
    has_sent: Callable[[], bool]
    on_done: Callable[[], None]
    callers: int = 0
    task: "asyncio.Task[Any]" = field(init=False)


class _PendingKey(NamedTuple):
    flight: _Flight
    future: "asyncio.Future[Any]"


def _always_true() -> bool:
    return True


def _noop() -> None:
    return None


class SingleFlight(Generic[K, V]):
    """Shares one fetch per key among concurrent callers."""

    def __init__(self) -> None:
        self._pending: dict[K, _PendingKey] = {}
        self._tasks: set[asyncio.Task[Mapping[K, V]]] = set()

    async def get_many(
        self,
        keys: Sequence[K],
        fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]],
        has_sent: Callable[[], bool] = _always_true,
        on_done: Callable[[], None] = _noop,
    ) -> tuple[dict[K, V], int]:
        """Return a value for each key, and the number of keys whose fetch was already in flight.

        `fetch` is called at most once, with the keys that have no fetch in flight. It must return a value for each;
        a missing one raises KeyError. Its exception is raised in every caller that waits for one of its keys.
        If its last caller is cancelled while `has_sent()` is false, the fetch is cancelled too. By default it never is,
        as if a request were sent at once. `on_done` is called at the end of the fetch, also after an error.
        """
        new_keys = self.not_in_flight(keys)
        if new_keys:
            self._start(fetch, _Flight(new_keys, has_sent, on_done))
        pending_keys = {key: self._pending[key] for key in keys}
        flights = {pending.flight for pending in pending_keys.values()}
        for flight in flights:
            flight.callers += 1
        try:
            await asyncio.wait([pending.future for pending in pending_keys.values()])
        finally:
            for flight in flights:
                self._remove_caller(flight)
        return {key: pending.future.result() for key, pending in pending_keys.items()}, len(keys) - len(new_keys)

    @property
    def in_flight(self) -> int:
        """Number of fetches in flight."""
        return len(self._tasks)

    def not_in_flight(self, keys: Sequence[K]) -> list[K]:
        """Return the keys without a fetch in flight."""
        return [key for key in keys if key not in self._pending]

    def _start(self, fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]], flight: _Flight) -> None:
        loop = asyncio.get_running_loop()
        pending_keys = {key: _PendingKey(flight, loop.create_future()) for key in flight.keys}
        self._pending |= pending_keys
        flight.task = loop.create_task(_run(flight.keys, fetch))
        self._tasks.add(flight.task)
        # A callback and not a `finally`: a task that is cancelled before its first step runs none of its code.
        flight.task.add_done_callback(lambda task: self._finish(task, pending_keys, flight.on_done))

    def _remove_caller(self, flight: _Flight) -> None:
        """Remove one caller.

        After the last one, cancel a fetch that has sent no request, and remove its keys, so that later callers start a
        new fetch.
        """
        flight.callers -= 1
        if flight.callers == 0 and not flight.task.done() and not flight.has_sent():
            flight.task.cancel()
            for key in flight.keys:
                del self._pending[key]

    def _finish(
        self, task: "asyncio.Task[Mapping[K, V]]", pending_keys: dict[K, _PendingKey], on_done: Callable[[], None]
    ) -> None:
        self._tasks.discard(task)
        on_done()
        error = _error_of(task)
        values = task.result() if error is None else {}
        for key, pending in pending_keys.items():
            if self._pending.get(key) is pending:
                del self._pending[key]
            if key in values:
                pending.future.set_result(values[key])
            else:
                pending.future.set_exception(error or KeyError(key))
                pending.future.exception()  # avoids asyncio's warning if all callers have disconnected

    async def aclose(self) -> None:
        """Cancel all fetches in flight, and wait for their end. Their callers get ConnectionAbortedError."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _run(keys: list[K], fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> Mapping[K, V]:
    return await fetch(keys)


def _error_of(task: "asyncio.Task[Mapping[K, V]]") -> Exception | None:
    """Return the error for the callers of a fetch that failed; None if it succeeded.

    A cancelled fetch that still has callers was cancelled by `aclose`.
    """
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    return error if error is None or isinstance(error, Exception) else ConnectionAbortedError("the service is stopping")

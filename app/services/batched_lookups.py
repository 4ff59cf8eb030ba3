"""Looks up uncached tokens in the database. One query reads many of those that wait.

Anybody can make up well-formed team keys, and a queue of single queries would be full of them. Access tokens cannot be
made up, but many are looked up at once after each change of a grant.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from app.ports.auth import AuthenticationUnavailable

MAX_WAITING = 2_000
"""Limit of tokens that wait for a query. Beyond it, the token that has waited longest is refused.

A first use of a real token is refused if so many connections send made-up ones during one query.
"""

MAX_READ = 500
"""Number of tokens that one query reads, because databases limit the parameters of a statement."""

TOO_MANY_LOOKUPS = "This service is looking up too many tokens right now. Try again in a moment."

T = TypeVar("T")


class BatchedLookups(Generic[T]):
    """Runs one query at a time. Concurrent calls for one token share its result."""

    def __init__(
        self,
        read: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]],
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Look up with `read`, which returns the values that exist, by digest.

        `on_refusal` is called for each refusal.
        """
        self._on_refusal = on_refusal
        self._read = read
        self._waiting: dict[str, asyncio.Future[T | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def find(self, digest: str) -> T | None:
        """Return the value of a digest, read after this call; None if there is none.

        Raises AuthenticationUnavailable if too many wait, and what `read` raises.
        """
        future = self._waiting.get(digest)
        if future is None:
            if len(self._waiting) >= MAX_WAITING:
                self._on_refusal()
                self._waiting.pop(next(iter(self._waiting))).set_exception(AuthenticationUnavailable(TOO_MANY_LOOKUPS))
            future = self._waiting[digest] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_retrieve_exception)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())
        return await asyncio.shield(future)

    async def _read_all(self) -> None:
        while self._waiting:
            digests = list(islice(self._waiting, MAX_READ))
            waiting = {digest: self._waiting.pop(digest) for digest in digests}
            try:
                values = await self._read(digests)
            except Exception as exc:  # noqa: BLE001 - it is raised in all callers
                for future in waiting.values():
                    future.set_exception(exc)
            else:
                for digest, future in waiting.items():
                    future.set_result(values.get(digest))


def _retrieve_exception(future: "asyncio.Future[T | None]") -> None:
    if not future.cancelled():
        future.exception()  # avoids asyncio's warning if every caller has disconnected

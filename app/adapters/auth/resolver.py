"""Resolves host names that strangers or members of teams name, in threads of its own.

A name whose server does not answer holds a thread for as long as the system's resolver tries, often 10 s and more. The
threads of the event loop, four in uvloop, resolve the backend's name too, so no caller may hold them.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread

from app.services.limits.fair_limiter import FairLimiter, Shares

PLACES = Shares(places=8, per_tenant=2, unaccepted=8)
"""Maximum number of threads, in all and for one tenant. `unaccepted` has no effect: every tenant counts as accepted.

For names that no tenant has given, the domain (the last two labels) counts as the tenant.
"""

MAX_WAITING = 100
"""Maximum number of names that wait for a thread. Further ones are not resolved."""


def system_addresses(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host from the system's resolver, which blocks. Raises OSError and UnicodeError."""
    records = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in records))


def _start_thread(run: Callable[[], None]) -> None:
    Thread(target=run, name="resolver", daemon=True).start()


class Resolver:
    """Resolves names in daemon threads, which do not keep the process from ending."""

    def __init__(
        self,
        look_up: Callable[[str, int], list[str]] = system_addresses,
        start_thread: Callable[[Callable[[], None]], None] = _start_thread,
    ) -> None:
        """`look_up` resolves one name and may block.

        `start_thread` runs a function in a new thread. It raises RuntimeError if the system allows no more threads.
        """
        self._look_up = look_up
        self._start_thread = start_thread
        self._places = FairLimiter(PLACES, lambda _tenant: True)
        self._waiting = 0

    async def __call__(self, host: str, port: int, tenant: str | None = None) -> list[str]:
        """Return the IP addresses of `host`. Raises OSError and UnicodeError.

        `tenant` is the tenant that has named the host; None if a stranger has. If the caller is cancelled, its thread
        goes on, and counts until it ends.
        """
        if self._waiting >= MAX_WAITING:
            raise OSError("too many names are being resolved")
        holder = tenant or ".".join(host.lower().rstrip(".").split(".")[-2:])
        self._waiting += 1
        try:
            accepted = await self._places.take(holder)
        finally:
            self._waiting -= 1
        loop = asyncio.get_running_loop()
        addresses: asyncio.Future[list[str]] = loop.create_future()
        addresses.add_done_callback(lambda _done: self._places.give_back(holder, accepted=accepted))
        try:
            self._start_thread(partial(self._resolve, host, port, loop, addresses))
        except RuntimeError as exc:
            _set_outcome(addresses, OSError(str(exc)))
        return await asyncio.shield(addresses)

    def _resolve(
        self, host: str, port: int, loop: asyncio.AbstractEventLoop, addresses: "asyncio.Future[list[str]]"
    ) -> None:
        result: list[str] | BaseException
        try:
            result = self._look_up(host, port)
        except Exception as exc:  # noqa: BLE001 - it is raised for the caller
            result = exc
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(_set_outcome, addresses, result)


def _set_outcome(addresses: "asyncio.Future[list[str]]", result: "list[str] | BaseException") -> None:
    if isinstance(result, BaseException):
        addresses.set_exception(result)
        addresses.exception()  # prevents a warning about an unretrieved exception if the caller was cancelled
    else:
        addresses.set_result(result)

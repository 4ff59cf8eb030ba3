"""Resolves host names that strangers or members of teams name, in threads of its own.

A name whose server does not answer holds a thread for as long as the system's resolver tries, often 10 s and more. The
threads of the event loop, four in uvloop, resolve the backend's name too, so no caller may hold them.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from app.services.limits.fair_limiter import FairLimiter, Shares

PLACES = Shares(places=8, per_tenant=2, unaccepted=8)
"""Threads, in all and for one tenant, or for names of one domain (the last two labels) that are of no tenant."""

MAX_WAITING = 100
"""Maximum number of names that wait for a thread. Further ones are not resolved."""


def system_addresses(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host from the system's resolver, which blocks. Raises OSError and UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Resolver:
    """Resolves names in daemon threads, which do not keep the process from ending."""

    def __init__(self, look_up: Callable[[str, int], list[str]] = system_addresses) -> None:
        """`look_up` resolves one name and may block."""
        self._look_up = look_up
        self._places = FairLimiter(PLACES, lambda _domain: True)
        self._waiting = 0

    async def __call__(self, host: str, port: int, tenant: str | None = None) -> list[str]:
        """Return the IP addresses of `host`, which `tenant` has named if it is given. Raises OSError and UnicodeError.

        A caller that is cancelled leaves its thread, which keeps its place until it ends.
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
        found: asyncio.Future[list[str]] = loop.create_future()
        found.add_done_callback(lambda _found: self._places.give_back(holder, accepted=accepted))
        Thread(target=self._resolve, args=(host, port, loop, found), name="resolver", daemon=True).start()
        return await asyncio.shield(found)

    def _resolve(
        self, host: str, port: int, loop: asyncio.AbstractEventLoop, found: "asyncio.Future[list[str]]"
    ) -> None:
        result: list[str] | BaseException
        try:
            result = self._look_up(host, port)
        except Exception as exc:  # noqa: BLE001 - it belongs to the caller
            result = exc
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(_set_outcome, found, result)


def _set_outcome(found: "asyncio.Future[list[str]]", result: "list[str] | BaseException") -> None:
    if isinstance(result, BaseException):
        found.set_exception(result)
        found.exception()  # retrieved, also where the caller has left
    else:
        found.set_result(result)

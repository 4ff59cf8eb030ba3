"""A network backend of httpcore that resolves names by a function, in place of the threads of the event loop.

The certificate is still checked for the name, and the name is still the Host of the request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import httpcore

MAX_ADDRESSES = 3
"""Maximum number of addresses of one host that are tried, each for an equal part of the time."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a host. Raises OSError and UnicodeError."""


class ResolvingBackend(httpcore.AsyncNetworkBackend):
    """Resolves each host, and connects to the first of its addresses that accepts."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, resolve: Resolve) -> None:
        """Resolve names with `resolve`, and connect with `backend`."""
        self._backend = backend
        self._resolve = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve the name within `timeout`, then connect to one of its addresses within the same time again.

        Raises ConnectError and ConnectTimeout.
        """
        addresses = await self._addresses(host, port, timeout)
        seconds = None if timeout is None else timeout / len(addresses)
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._backend.connect_tcp(address, port, seconds, local_address, socket_options)
        return await self._backend.connect_tcp(addresses[-1], port, seconds, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a socket in the file system."""
        return await self._backend.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await self._backend.sleep(seconds)

    async def _addresses(self, host: str, port: int, seconds: float | None) -> list[str]:
        """Return at least one address. Raises ConnectError and ConnectTimeout of httpcore."""
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from None
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError(type(exc).__name__) from None
        if not addresses:
            raise httpcore.ConnectError("the name has no address")
        return addresses[:MAX_ADDRESSES]

"""A TCP proxy whose target a test can change, like the one in front of a Redis that fails over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager


class Forwarder:
    """A TCP proxy on a loopback port. `target` is the port for new connections; open ones keep theirs.

    With `turns`, each new connection gets the next port of those.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        self.turns: Iterator[int] | None = None
        self._copying: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client to the current target and copy bytes both ways in the background."""
        self.connections += 1
        target = self.target if self.turns is None else next(self.turns)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", target)
        for source, sink in ((reader, server_writer), (server_reader, writer)):
            copying = asyncio.create_task(_copy(source, sink))
            self._copying.add(copying)
            copying.add_done_callback(self._copying.discard)

    async def close(self) -> None:
        """Stop copying on all connections."""
        for copying in self._copying:
            copying.cancel()
        await asyncio.gather(*self._copying, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        try:
            while part := await source.read(65536):
                sink.write(part)
        finally:
            sink.close()


@asynccontextmanager
async def forwarding(target: int) -> AsyncIterator[Forwarder]:
    """Run a proxy to the port `target` on a free loopback port until the block ends."""
    forwarder = Forwarder(target)
    server = await asyncio.start_server(forwarder.accept, "127.0.0.1", 0)
    forwarder.port = server.sockets[0].getsockname()[1]
    try:
        yield forwarder
    finally:
        server.close()
        await forwarder.close()

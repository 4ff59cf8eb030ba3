"""A TCP proxy between the service and a server, which can delay answers and change its target."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class TcpProxy:
    """A proxy on a free loopback `port` to the loopback port `target`.

    `delay_seconds` is added to each part that the server sends. A new `target` counts for new connections.
    """

    def __init__(self) -> None:
        self.port = self.target = 0
        self.delay_seconds = 0.0

    @asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[None]:
        """Run the proxy until the block ends, with `port` as its first target."""
        self.target = port

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
            except OSError:  # nothing listens there: the client sees a closed connection
                writer.close()
                return
            with suppress(asyncio.CancelledError):  # asyncio would log a traceback when the loop ends
                await asyncio.gather(
                    self._copy(reader, server_writer, delayed=False), self._copy(server_reader, writer, delayed=True)
                )

        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delayed: bool) -> None:
        with suppress(ConnectionError):
            while part := await reader.read(65536):
                if delayed:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(part)
                await writer.drain()
        writer.close()

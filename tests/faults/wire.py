"""The way to a server, on which every answer takes its time, and which can lead to another server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Wire:
    """Carries bytes between the service and a server at `target`, a port."""

    def __init__(self) -> None:
        self.port = self.target = 0
        self.delay_seconds = 0.0

    @asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[None]:
        """Carry what comes while entered, to `port` until `target` is set anew."""
        self.target = port

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", self.target)
            except OSError:  # nobody is there, which the caller sees by its own connection
                writer.close()
                return
            with suppress(asyncio.CancelledError):  # asyncio makes a traceback of a connection that ends with the loop
                await asyncio.gather(self._carry(reader, back, slowly=False), self._carry(there, writer, slowly=True))

        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowly: bool) -> None:
        with suppress(ConnectionError):
            while part := await reader.read(65536):
                if slowly:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(part)
                await writer.drain()
        writer.close()

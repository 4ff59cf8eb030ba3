"""`python -m tests.support.reusing_proxy PORT`: an HTTP proxy that sends the requests of all callers on one connection.

It passes every header on, Upgrade too, and sends a body after its head, as some proxies do. It prints its own port, and
ends when its input does.
"""

import asyncio
import contextlib
import sys


class ReusingProxy:
    """Forwards requests and responses with a Content-Length. The upstream connection is kept until either side ends it.

    Each caller has a connection of its own to the proxy.
    """

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._turn = asyncio.Lock()
        self._upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the requests of one caller."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await _message(reader)
                async with self._turn:
                    writer.write(await self._forward(request))
        writer.close()

    async def _forward(self, request: bytes) -> bytes:
        if self._upstream is None:
            self.connections += 1
            self._upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        reader, writer = self._upstream
        head, _, body = request.partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        if body:
            await self._round_trip()
            writer.write(body)
        response = await _message(reader)
        if b"\r\nconnection: close" in response.partition(b"\r\n\r\n")[0].lower():
            writer.close()
            self._upstream = None
        # The next request goes out only now: the proxy does not pipeline, and trusts the boundaries of responses.
        return response.replace(b"\r\n", b"\r\nx-upstream: %d\r\n" % self.connections, 1)

    async def _round_trip(self) -> None:
        """Wait for an answer on another connection. The service has then read what was sent on the shared one."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Return a whole request or response. One without a Content-Length has no body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0] or 0)
    return head + await reader.readexactly(length)


async def _main(upstream_port: int) -> None:
    async with await asyncio.start_server(ReusingProxy(upstream_port).serve, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the parent reads it
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))

"""A minimal HTTP server on a loopback socket, whose handler writes raw bytes and can break the connection anywhere."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Misbehaviour = Callable[[asyncio.StreamWriter, dict[str, Any]], Awaitable[None]]
"""A handler: writes a response, whole or broken, to a request with this JSON body."""


class RawServer:
    """A server that parses well-formed requests, passes them to `answer`, and counts connections and requests."""

    def __init__(self, answer: Misbehaviour) -> None:
        self._answer = answer
        self.url = ""
        self.connections = 0
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side closes it."""
        self.connections += 1
        try:
            while not writer.is_closing():
                body = await _request(reader)
                self.requests += 1
                await self._answer(writer, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client closed the connection
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
    content = await reader.readexactly(int(fields.get(b"content-length", 0)))
    body: dict[str, Any] = json.loads(content) if content else {}
    return body


@asynccontextmanager
async def raw_server(answer: Misbehaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Run a RawServer on a free loopback port until the block ends, over TLS if a context is given."""
    raw = RawServer(answer)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=tls)
    raw.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield raw
    finally:
        server.close()
        await server.wait_closed()


async def answer_head(reader: asyncio.StreamReader) -> tuple[int, int]:
    """Read the head of a response; return its status and content-length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    return int(head.split()[1]), int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])


def write_json(writer: asyncio.StreamWriter, body: Any) -> None:
    """Write a 200 response with `body` as JSON."""
    content = json.dumps(body).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
    writer.write(b"content-length: %d\r\n\r\n%s" % (len(content), content))


def reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection with RST instead of FIN."""
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

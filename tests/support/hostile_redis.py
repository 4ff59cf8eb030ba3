"""A server in place of Redis, which responds to each command with bytes of a test's choice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Reply = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]


@asynccontextmanager
async def server_replying(reply: Reply) -> AsyncIterator[str]:
    """Yield the URL of a server that responds to each command with the result of `reply`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readline():
                parts = []
                for _ in range(int(head[1:])):
                    size = int((await reader.readline())[1:])
                    parts.append((await reader.readexactly(size + 2))[:-2])
                if parts[0] in (b"CLIENT", b"SELECT"):
                    writer.write(b"+OK\r\n")
                else:
                    await reply(writer, parts[0])
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def always(form: bytes) -> Reply:
    async def reply(writer: asyncio.StreamWriter, _command: bytes) -> None:
        writer.write(form)

    return reply

"""An HTTP/1.1 client that sends raw bytes and parses the responses."""

import asyncio
from types import TracebackType
from typing import Self

from app.mcp_server.tools.arguments import MAX_WAIT_SECONDS
from tests.fuzz.request import EVENTS, Answer

SILENCE_SECONDS = MAX_WAIT_SECONDS + 12.0
"""The timeout of a whole response. A call may wait for a running task whose callback the run has not sent yet."""

FIRST_BYTES_SECONDS = 0.3
"""The time for a response to bytes that may be no complete request. After it the client sends EOF."""

MAX_HEAD_BYTES = 65_536


class Silence(Exception):
    """There was no response, or only a part of one, within SILENCE_SECONDS."""


class Connection:
    """A connection to the service, which is reopened after the service has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, sent: bytes, *, listens: bool, no_body: bool) -> Answer:
        """Send a request and return its response.

        `listens` marks a request whose stream does not end: only its first event is read, then the connection is
        closed. `no_body` marks a HEAD request. Raises Silence if there is no whole response; closing the connection
        without one counts as silence too.
        """
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                reader, writer = await self._open()
                writer.write(sent)
                answer = await _answer(reader, listens=listens, no_body=no_body)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError) as exc:
            self.close()
            raise Silence(repr(exc)) from exc
        if b"connection: close" in answer.head or (listens and EVENTS in answer.head):
            self.close()
        return answer

    @property
    def is_open(self) -> bool:
        """Whether the connection is still usable."""
        return self._writer is not None

    async def ask_in_vain(self, sent: bytes) -> bytes:
        """Send bytes that may be no request; return all that is received.

        Raises Silence if the service does not close the connection after EOF.
        """
        received = b""
        try:
            async with asyncio.timeout(FIRST_BYTES_SECONDS + SILENCE_SECONDS):
                reader, writer = await self._open()
                writer.write(sent)
                try:
                    async with asyncio.timeout(FIRST_BYTES_SECONDS):
                        received = await reader.read(MAX_HEAD_BYTES)
                except TimeoutError:  # the service waits for the rest of the request
                    pass
                writer.write_eof()
                received += await reader.read()
        except TimeoutError as exc:
            raise Silence(repr(exc)) from exc
        except OSError:  # the service closed the connection before it had read everything
            pass
        finally:
            self.close()
        return received

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        return self._reader, self._writer

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()


async def _answer(reader: asyncio.StreamReader, *, listens: bool, no_body: bool) -> Answer:
    status = 100
    while status < 200:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
    if no_body or status in (204, 304):
        return Answer(status, head, b"")
    if b"transfer-encoding: chunked" in head:
        return Answer(status, head, await _chunks(reader, only_first=listens and EVENTS in head))
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return Answer(status, head, await reader.readexactly(int(length)))


async def _chunks(reader: asyncio.StreamReader, *, only_first: bool) -> bytes:
    """Return a chunked body; with `only_first`, only up to the first event with data."""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
        if only_first and b"data:" in body:
            return body
    await reader.readexactly(2)
    return body

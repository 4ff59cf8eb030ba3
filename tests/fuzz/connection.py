"""A client that does as it is told: it sends bytes as they are, and reads what comes as HTTP/1.1 says."""

import asyncio
from types import TracebackType
from typing import Self

from tests.fuzz.request import EVENTS, Answer

SILENCE_SECONDS = 12.0
"""After this long without the whole of an answer, a call hangs; no call asks to wait for more than 10 s."""

FIRST_BYTES_SECONDS = 0.3
"""Time for an answer to what may be no request; after it the client has no more to send, and says so."""

MOST_HEAD_BYTES = 65_536


class Silence(Exception):
    """No answer came, or no whole one."""


class Connection:
    """One connection to the service, made anew where the service closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, sent: bytes, *, listens: bool, no_body: bool) -> Answer:
        """Send a request and return its answer; of a stream that goes on, the first event, and then leave.

        Raises Silence where the service neither answers nor says why, which closing the connection is not.
        """
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                reader, writer = await self._open()
                writer.write(sent)
                answer = await _answer(reader, listens=listens, no_body=no_body)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError) as fault:
            self.close()
            raise Silence(repr(fault)) from fault
        if b"connection: close" in answer.head or (listens and EVENTS in answer.head):
            self.close()
        return answer

    @property
    def is_open(self) -> bool:
        """Whether the service may answer more on it."""
        return self._writer is not None

    async def ask_in_vain(self, sent: bytes) -> bytes:
        """Send what may be no request; return all that comes. Raises Silence where the service does not let go."""
        come = b""
        try:
            async with asyncio.timeout(FIRST_BYTES_SECONDS + SILENCE_SECONDS):
                reader, writer = await self._open()
                writer.write(sent)
                try:
                    async with asyncio.timeout(FIRST_BYTES_SECONDS):
                        come = await reader.read(MOST_HEAD_BYTES)
                except TimeoutError:  # it waits for the rest of the request
                    pass
                writer.write_eof()
                come += await reader.read()
        except TimeoutError as fault:
            raise Silence(repr(fault)) from fault
        except OSError:  # closed before the end of what was sent
            pass
        finally:
            self.close()
        return come

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        return self._reader, self._writer

    def close(self) -> None:
        """Leave, whatever is still to come."""
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
    """Return the body; of a stream of events only until the first that says something."""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
        if only_first and b"data:" in body:
            return body
    await reader.readexactly(2)
    return body

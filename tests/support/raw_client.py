"""An HTTP client that sends raw bytes on one connection and reads all responses until the server closes it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class RawAnswer:
    """One HTTP response; `head` is in lower case."""

    status: int
    head: bytes
    body: bytes


async def exchange(url: str, *parts: bytes) -> list[RawAnswer]:
    """Send each part after the service has read the one before; return all responses on the connection.

    Raises TimeoutError if the service does not close it within 30 seconds after the last part.
    """
    port = urlsplit(url).port or 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            if part is not parts[-1]:
                await _round_trip(port)
        received = await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
    return list(answers_in(received))


async def _round_trip(port: int) -> None:
    """Wait for the answer to a request on another connection.

    The service's event loop has then handled what was sent on the first one.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()


def answers_in(received: bytes) -> Iterable[RawAnswer]:
    """Yield the responses in `received`, interim (1xx) ones included.

    Raises AssertionError if one is chunked or cut short. A response without content-length has no body.
    """
    while received:
        head, separator, received = received.partition(b"\r\n\r\n")
        assert separator, received
        head = head.lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        assert b"transfer-encoding" not in head
        yield RawAnswer(int(head.split()[1]), head, received[:length])
        assert len(received) >= length, "the answer is cut"
        received = received[length:]

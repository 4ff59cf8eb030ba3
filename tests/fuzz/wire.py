"""HTTP itself, right and wrong: the bytes of a request grown from one number, and what comes back for them."""

import asyncio
import re
from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.grammar import Request, grown

AT_ONCE = 100
FIRST_BYTES_SECONDS = 0.3
"""Time for an answer to begin; after it the client has no more to send, and says so."""

Lines = list[bytes]
Change = Callable[[Random, Lines, bytes], tuple[Lines, bytes]]
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def on_the_wire(seed: int) -> bytes:
    """Return the bytes of the request that grows from `seed`: framed as HTTP/1.1 says, and more often not."""
    random, request = Random(str(seed)), grown(seed)
    lines, body = random.choice(_CHANGES)(random, _head(request), request.body)
    whole = b"\r\n".join([*lines, b"", b""]) + body
    return random.choice((_whole, _whole, _cut, _flipped, _twice, _bare_feeds))(random, whole)


def _head(request: Request) -> Lines:
    fields = {**request.headers, "host": "127.0.0.1", "content-length": str(len(request.body))}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return [
        f"{request.method} {request.path} HTTP/1.1".encode(),
        *(line.encode("latin-1", "replace") for line in lines),
    ]


def _nothing(_random: Random, lines: Lines, body: bytes) -> tuple[Lines, bytes]:
    return lines, body


def _first_line(random: Random, lines: Lines, body: bytes) -> tuple[Lines, bytes]:
    method = random.choice((b"POST", b"post", b"", b"P OST", b"G" * 9_000, b"PRI", b"CONNECT", b"\xff"))
    target = random.choice((b"/mcp", b"*", b"mcp", b"http://127.0.0.1/mcp", b"/\x00", b"/mcp\xff", b"/" * 70_000, b""))
    version = random.choice((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"", b"HTTP/1.1 x"))
    return [b" ".join((method, target, version)), *lines[1:]], body


def _field(random: Random, lines: Lines, body: bytes) -> tuple[Lines, bytes]:
    strange = (
        b"no colon", b": no name", b"space : x", b" folded", b"x: \x00", b"x: a\rb", b"\xff: \xff",
        b"host: elsewhere.example", b"expect: 100-continue", b"connection: close", b"authorization: Basic x",
        b"upgrade: h2c\r\nconnection: upgrade", b"x: " + b"y" * 70_000,
        b"\r\n".join(b"x-%d: y" % number for number in range(500)),
    )  # fmt: skip
    at = random.randrange(1, len(lines) + 1)
    return [*lines[:at], random.choice(strange), *lines[at:]], body


def _length(random: Random, lines: Lines, body: bytes) -> tuple[Lines, bytes]:
    lengths = (b"0", b"1", b"-1", b"+5", b"x", b"", b"1e3", b"99999999999999999999", b"%d" % (len(body) + 5))
    lengths_told = [b"content-length: " + random.choice(lengths) for _ in range(random.choice((1, 1, 2)))]
    return [*_without_length(lines), *lengths_told], body


def _chunked(random: Random, lines: Lines, body: bytes) -> tuple[Lines, bytes]:
    coding = random.choice((b"chunked", b"chunked", b"gzip, chunked", b"chunked, gzip", b"Chunked", b"xchunked", b""))
    size = random.choice((b"%x" % len(body),) * 3 + (b"0", b"-1", b"z", b"f" * 20, b"%x;extension=1" % len(body)))
    end = random.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nx: trailer\r\n\r\n", b""))
    kept = random.choice((lines, _without_length(lines), _without_length(lines)))
    return [*kept, b"transfer-encoding: " + coding], size + b"\r\n" + body + b"\r\n" + end


def _without_length(lines: Lines) -> Lines:
    return [line for line in lines if not line.startswith(b"content-length")]


_CHANGES: tuple[Change, ...] = (_nothing, _first_line, _field, _length, _chunked)


def _whole(_random: Random, whole: bytes) -> bytes:
    return whole


def _cut(random: Random, whole: bytes) -> bytes:
    return whole[: random.randrange(1, len(whole))]


def _flipped(random: Random, whole: bytes) -> bytes:
    spoilt = bytearray(whole)
    for _ in range(random.randrange(1, 9)):
        spoilt[random.randrange(len(spoilt))] = random.randrange(256)
    return bytes(spoilt)


def _twice(_random: Random, whole: bytes) -> bytes:
    return whole * 2


def _bare_feeds(_random: Random, whole: bytes) -> bytes:
    return whole.replace(b"\r\n", b"\n")


def statuses(answer: bytes) -> list[int]:
    """Return the status of each answer that came on one connection."""
    return [int(found) for found in _STATUS.findall(answer)]


async def answers(port: int, seeds: Sequence[int], silence_seconds: float) -> list[bytes]:
    """Send the request of each seed on a connection of its own; return what came back, which may be nothing.

    Raises TimeoutError where the service neither answers nor closes the connection.
    """
    come: list[bytes] = []
    for start in range(0, len(seeds), AT_ONCE):
        async with asyncio.timeout(FIRST_BYTES_SECONDS + silence_seconds):
            come += await asyncio.gather(*(_send(port, seed) for seed in seeds[start : start + AT_ONCE]))
    return come


async def _send(port: int, seed: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(on_the_wire(seed))
        try:
            async with asyncio.timeout(FIRST_BYTES_SECONDS):
                answer = await reader.read(65_536)
        except TimeoutError:  # it waits for the rest of the request
            pass
        writer.write_eof()
        answer += await reader.read()
    except OSError:  # closed before the end of what was sent
        pass
    finally:
        writer.close()
    return answer

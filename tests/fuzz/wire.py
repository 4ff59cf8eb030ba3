"""HTTP framing, valid and invalid: the raw bytes of a request, generated from its number."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.fuzz.request import Request

Lines = list[bytes]
Change = Callable[[Random, Lines, bytes], tuple[Lines, bytes]]


@dataclass(frozen=True, slots=True)
class Framed:
    """The bytes to send on a new connection, and the number of responses that must come; 0 if it may be no request."""

    sent: bytes
    owed: int


def framed(request: Request) -> Framed:
    """Return the request with valid HTTP/1.1 framing or, more often, with invalid framing."""
    random = Random(~request.number)
    change, spoil = random.choice(_CHANGES), random.choice((_whole, _whole, _cut, _flipped, _twice, _bare_feeds))
    lines, body = change(random, request.head(), request.body)
    sent = spoil(random, b"\r\n".join([*lines, b"", b""]) + body)
    requests = 1 if spoil is _whole else 2 if spoil is _twice else 0
    return Framed(sent, requests if change in (_nothing, _rightly_chunked) else 0)


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
    fields = [b"content-length: " + random.choice(lengths) for _ in range(random.choice((1, 1, 2)))]
    return [*_without_length(lines), *fields], body


def _chunked(random: Random, lines: Lines, body: bytes) -> tuple[Lines, bytes]:
    coding = random.choice((b"chunked", b"chunked", b"gzip, chunked", b"chunked, gzip", b"Chunked", b"xchunked", b""))
    size = random.choice((b"%x" % len(body),) * 3 + (b"0", b"-1", b"z", b"f" * 20, b"%x;extension=1" % len(body)))
    end = random.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nx: trailer\r\n\r\n", b""))
    kept = random.choice((lines, _without_length(lines), _without_length(lines)))
    return [*kept, b"transfer-encoding: " + coding], size + b"\r\n" + body + b"\r\n" + end


def _rightly_chunked(random: Random, lines: Lines, body: bytes) -> tuple[Lines, bytes]:
    size = random.choice((1, 7, 4_096)) if len(body) < 9_000 else 4_096
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return [*_without_length(lines), b"transfer-encoding: chunked"], chunks + b"0\r\n\r\n"


def _without_length(lines: Lines) -> Lines:
    return [line for line in lines if not line.startswith(b"content-length")]


_CHANGES: tuple[Change, ...] = (_nothing, _rightly_chunked, _first_line, _field, _length, _chunked)


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

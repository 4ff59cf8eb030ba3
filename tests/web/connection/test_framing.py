"""HTTP message boundaries: no part of a body is read as a request (request smuggling)."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.support.clock import HandClock
from tests.support.raw_client import RawAnswer, answers_in, exchange
from tests.support.service import Service, sandbox, serving, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[3]
PING = b'{"jsonrpc":"2.0","id":"%s","method":"tools/list"}'
LAST = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
HIDDEN = b"DELETE /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
"""A request that is sent only inside bodies. If the service reads it as a request, it answers 404."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    clock = HandClock()
    async with serving(settings(), sandbox(clock), clock) as running:
        yield running


def post(body: bytes, *lines: bytes, version: bytes = b"1.1", target: bytes = b"/mcp") -> bytes:
    """Return a POST of `body`. `lines` are further header lines, which state its length."""
    head = (
        b"POST %s HTTP/%s" % (target, version),
        b"Host: 127.0.0.1",
        b"Authorization: Bearer token-a",
        b"Content-Type: application/json",
        *lines,
    )
    return b"\r\n".join((*head, b"", body))


def upgrading(body: bytes, offer: bytes = b"h2c") -> bytes:
    return post(body, b"Connection: Upgrade", b"Upgrade: " + offer, b"Content-Length: %d" % len(body))


def statuses(answers: Sequence[RawAnswer]) -> list[int]:
    return [answer.status for answer in answers]


def ids(answers: Sequence[RawAnswer]) -> list[str | None]:
    return [json.loads(answer.body)["id"] for answer in answers if b"jsonrpc" in answer.body]


JAVA = (
    b"POST /mcp HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: %d\r\nHost: 127.0.0.1:8000\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\nUpgrade: h2c\r\n"
    b"User-Agent: Java-http-client/17.0.15\r\nAuthorization: Bearer token-a\r\nContent-Type: application/json\r\n\r\n"
)
"""The upgrade headers that java.net.http.HttpClient of Java 17 sends by default."""

CURL = (
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    b"Authorization: Bearer token-a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
"""The upgrade headers that `curl --http2` sends."""


@pytest.mark.parametrize("head", [JAVA, CURL], ids=["java", "curl"])
async def test_clients_that_offer_http2_are_answered_over_http1(service: Service, head: bytes) -> None:
    body = PING % b"one"
    answers = await exchange(service.url, head % len(body) + body + head % len(body) + body + LAST)
    assert statuses(answers) == [200, 200, 200]
    assert ids(answers) == ["one", "one"]


@pytest.mark.parametrize("offer", [b"h2c", b"websocket", b"foo"])
async def test_a_declined_upgrade_keeps_message_boundaries_in_any_split_of_the_stream(
    service: Service, offer: bytes
) -> None:
    stream = upgrading(HIDDEN, offer) + upgrading(PING % b"two", offer) + LAST
    for at in range(1, len(stream)):
        answers = await exchange(service.url, stream[:at], stream[at:])
        assert statuses(answers) == [400, 200, 200], at
        assert ids(answers)[-1:] == ["two"], at


async def test_a_declined_upgrade_keeps_message_boundaries_byte_by_byte(service: Service) -> None:
    stream = upgrading(HIDDEN) + upgrading(PING % b"two") + LAST
    answers = await exchange(service.url, *(stream[at : at + 1] for at in range(len(stream))))
    assert statuses(answers) == [400, 200, 200]


async def test_requests_behind_an_upgrade_are_answered_in_their_order(service: Service) -> None:
    stream = b"".join(upgrading(PING % (b"n%d" % number)) for number in range(9)) + LAST
    assert ids(await exchange(service.url, stream)) == [f"n{number}" for number in range(9)]


async def test_an_upgrade_without_a_body_ends_at_its_head(service: Service) -> None:
    get = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert statuses(await exchange(service.url, get * 2 + LAST)) == [200, 200, 200]


CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
CHUNKED_PING = b"%x\r\n%s\r\n0\r\n" % (len(PING % b"c"), PING % b"c")
LENGTH = b"Content-Length: %d" % len(HIDDEN)
TE = b"Transfer-Encoding: chunked"
UPGRADE = (b"Connection: Upgrade", b"Upgrade: h2c")

AMBIGUOUS = {
    "upgrade and chunked": post(CHUNKED, *UPGRADE, TE),
    "upgrade, length and chunked": post(CHUNKED, *UPGRADE, TE, LENGTH),
    "upgrade and two lengths": post(HIDDEN, *UPGRADE, LENGTH, b"Content-Length: 0"),
    "upgrade and a signed length": post(HIDDEN, *UPGRADE, b"Content-Length: +5"),
    "connect": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + HIDDEN,
    "two lengths": post(HIDDEN, LENGTH, b"Content-Length: 0"),
    "the same length twice": post(HIDDEN, LENGTH, LENGTH),
    "a list of lengths": post(HIDDEN, LENGTH + b", %d" % len(HIDDEN)),
    "an empty length": post(HIDDEN, b"Content-Length:"),
    "length and chunked": post(CHUNKED, LENGTH, TE),
    "chunked and length": post(CHUNKED, TE, LENGTH),
    "another coding": post(CHUNKED, b"Transfer-Encoding: gzip, chunked"),
    "a coding behind": post(CHUNKED, b"Transfer-Encoding: chunked, gzip"),
    "an unknown coding": post(CHUNKED, b"Transfer-Encoding: xchunked"),
    "identity": post(CHUNKED, b"Transfer-Encoding: identity"),
    "an empty element": post(CHUNKED, b"Transfer-Encoding: ,chunked"),
    "chunked twice": post(CHUNKED, TE, TE),
    "chunked in 1.0": post(CHUNKED, TE, version=b"1.0"),
    "a blank before the colon": post(HIDDEN, b"Content-Length : %d" % len(HIDDEN)),
    "a folded line": post(HIDDEN, b"X-A: a", b" b", LENGTH),
    "a folded coding": post(CHUNKED, b"Transfer-Encoding:", b" chunked"),
    "bare line feeds": post(HIDDEN, LENGTH).replace(b"\r\n", b"\n"),
    "a bare line feed": post(HIDDEN, b"X-A: b\n" + LENGTH),
    "a bare line feed at the end": post(b"\n" + HIDDEN, LENGTH).replace(b"\r\n\n", b"\n\n"),
    "a bare carriage return": post(HIDDEN, b"X-A: b\rContent-Length: 0", LENGTH),
    "a NUL": post(HIDDEN, b"X-A: \0", LENGTH),
    "no name": post(HIDDEN, b": a", LENGTH),
    "no colon": post(HIDDEN, b"abc", LENGTH),
    "a bare line feed in a chunk": post(CHUNKED.replace(b"\r\n", b"\n", 1), TE),
    "a chunk size with a prefix": post(b"0x" + CHUNKED, TE),
    "a chunk size with a sign": post(b"+" + CHUNKED, TE),
    "a chunk size with a blank": post(CHUNKED.replace(b"\r\n", b" \r\n", 1), TE),
    "a chunk size that overflows": post(b"1" + b"0" * 15 + CHUNKED, TE),
    "a chunk longer than its size": post(b"1\r\nxyz\r\n0\r\n\r\n", TE),
    "an extension with a line feed": post(CHUNKED.replace(b"\r\n", b";a\n", 1), TE),
    "an extension with a carriage return": post(CHUNKED.replace(b"\r\n", b";a\rb\r\n", 1), TE),
    "two hosts": post(HIDDEN, b"Host: 127.0.0.1", LENGTH),
    "no host": post(HIDDEN, LENGTH).replace(b"Host: 127.0.0.1\r\n", b""),
    "two tokens": post(HIDDEN, b"Authorization: Bearer token-b", LENGTH),
    "a target elsewhere": post(HIDDEN, LENGTH, target=b"http://elsewhere.example/mcp"),
    "a target without a path": post(HIDDEN, LENGTH, target=b"http://127.0.0.1"),
    "HTTP/2 by name": post(HIDDEN, LENGTH, version=b"2.0"),
    "HTTP/0.9 by name": post(HIDDEN, LENGTH, version=b"0.9"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "another protocol": b"DESCRIBE / RTSP/1.0\r\nHost: 127.0.0.1\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("case", AMBIGUOUS)
async def test_a_message_with_ambiguous_framing_closes_its_connection(service: Service, case: str) -> None:
    answers = await exchange(service.url, AMBIGUOUS[case] + LAST)
    assert len(answers) == 1
    assert answers[0].status in (400, 501, 505)
    assert b"connection: close" in answers[0].head
    assert json.loads(answers[0].body)["error"]["message"]


@pytest.mark.parametrize(
    "case", ["upgrade and chunked", "two hosts", "two tokens", "length and chunked", "a chunk longer than its size"]
)
async def test_an_ambiguous_message_is_answered_behind_the_requests_before_it(service: Service, case: str) -> None:
    first = post(PING % b"one", b"Content-Length: %d" % len(PING % b"one"))
    stream = first + AMBIGUOUS[case] + LAST
    for at in range(1, len(stream), 7):
        answers = await exchange(service.url, stream[:at], stream[at:])
        assert statuses(answers) == [200, 400], at
        assert ids(answers) == ["one", None], at


async def test_a_chunked_body_ends_at_its_last_chunk_in_any_split(service: Service) -> None:
    stream = post(CHUNKED, TE) + post(CHUNKED_PING + b"X-Trailer: a\r\n\r\n", TE) + LAST
    for at in range(1, len(stream)):
        answers = await exchange(service.url, stream[:at], stream[at:])
        assert statuses(answers) == [400, 200, 200], at


async def test_a_trailer_field_is_not_a_header(service: Service) -> None:
    without = post(CHUNKED_PING + b"Authorization: Bearer token-b\r\n\r\n", TE)
    without = without.replace(b"Authorization: Bearer token-a\r\n", b"")
    assert statuses(await exchange(service.url, without + LAST)) == [401, 200]


async def test_requests_after_connection_close_are_not_answered(service: Service) -> None:
    ten = b"GET /livez HTTP/1.0\r\n\r\n"
    for last in (LAST, ten):
        for stream in ((last + HIDDEN,), (last, HIDDEN), (last + b"\x00",)):
            assert statuses(await exchange(service.url, *stream)) == [200]


async def test_a_refused_request_with_expect_100_continue_does_not_wait_for_its_body(service: Service) -> None:
    head = post(b"", b"Expect: 100-continue", LENGTH).replace(b"Bearer", b"Basic")
    answers = await exchange(service.url, head + HIDDEN)
    assert statuses(answers) == [401]
    assert b"connection: close" in answers[0].head
    body = PING % b"one"
    answers = await exchange(service.url, post(body, b"Expect: 100-continue", b"Content-Length: %d" % len(body)))
    assert statuses(answers) == [100, 200]


async def test_methods_without_a_body_may_have_one(service: Service) -> None:
    for method in (b"GET", b"DELETE"):
        head = b"%s /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n\r\n" % (method, LENGTH)
        assert statuses(await exchange(service.url, head + HIDDEN + LAST))[1:] == [200]


async def test_an_absolute_target_with_the_right_host_is_treated_as_a_path(service: Service) -> None:
    body = PING % b"one"
    length = b"Content-Length: %d" % len(body)
    assert ids(await exchange(service.url, post(body, length, target=b"http://127.0.0.1/mcp") + LAST)) == ["one"]


async def test_the_number_of_pipelined_requests_is_limited(service: Service) -> None:
    get = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answers = await exchange(service.url, get * 2000)
    assert statuses(answers)[-1] == 503
    assert len(answers) < 30


async def test_callers_behind_a_proxy_process_that_shares_a_connection_get_their_own_answers(service: Service) -> None:
    """One caller hides requests in bodies behind offers of an upgrade. The other one's requests come in between."""
    offers, rounds = (b"h2c", b"websocket", b"foo"), 30
    async with _proxy(urlsplit(service.url).port or 0) as port, _caller(port) as attacker, _caller(port) as victim:

        async def attack() -> list[RawAnswer]:
            stolen = post(PING % b"stolen", b"Content-Length: %d" % len(PING % b"stolen"))
            hidden = [HIDDEN, stolen, post(PING % b"stolen", b"Content-Length: 400")]
            return [await attacker(upgrading(hidden[number % 3], offers[number // 3 % 3])) for number in range(rounds)]

        async def work() -> list[RawAnswer]:
            bodies = [PING % b"mine-%d" % number for number in range(rounds)]
            return [await victim(post(body, b"Content-Length: %d" % len(body))) for body in bodies]

        attacks, works = await asyncio.gather(attack(), work())
    assert ids(works) == [f"mine-{number}" for number in range(rounds)]
    assert statuses(works) == [200] * rounds
    assert statuses(attacks) == [400] * rounds
    assert b"stolen" not in b"".join(answer.body for answer in attacks)
    connections = {answer.head.partition(b"x-upstream: ")[2].partition(b"\r\n")[0] for answer in (*attacks, *works)}
    assert len(connections) < rounds, "the callers shared connections"


@asynccontextmanager
async def _proxy(upstream_port: int) -> AsyncIterator[int]:
    """Run a proxy in a process of its own until the block ends. Yield its port."""
    command = (sys.executable, "-m", "tests.support.reusing_proxy", str(upstream_port))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        await process.communicate(b"")


@asynccontextmanager
async def _caller(port: int) -> AsyncIterator[Callable[[bytes], Awaitable[RawAnswer]]]:
    """Open a connection. Yield a function that sends a request on it and returns the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(request: bytes) -> RawAnswer:
        writer.write(request)
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return next(iter(answers_in(head + await reader.readexactly(length))))

    try:
        yield ask
    finally:
        writer.close()

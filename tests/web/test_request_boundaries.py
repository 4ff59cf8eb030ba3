"""Nothing that follows a request on a connection comes from that request's body, whatever upgrade it asks for."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.support.clock import HandClock
from tests.support.service import Service, call_bytes, sandbox, serving, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAST = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
UPGRADES = [b"h2c", b"websocket", b"foo", b"TLS/1.0", b"h2c, websocket"]
JAVA = (
    b"connection: Upgrade, HTTP2-Settings\r\n"
    b"http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    b"upgrade: h2c\r\n"
)
"""What java.net.http.HttpClient of Java 17 adds to its first request on plain HTTP, and curl --http2 likewise."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    clock = HandClock()
    async with serving(settings(), sandbox(clock), clock) as running:
        yield running


def asking(tool: str, fields: bytes = b"", *, token: str = "token-a", padding: bytes = b"") -> bytes:
    """Return a call with `fields` in its head and `padding` at the end of its body."""
    head, _, body = call_bytes(tool, {}, token).partition(b"\r\n\r\n")
    length = b"content-length: %d" % len(body)
    head = head.replace(length, b"content-length: %d" % (len(body) + len(padding)))
    return head + b"\r\n" + fields + b"\r\n" + body + padding


def upgrade(kind: bytes) -> bytes:
    return b"connection: Upgrade\r\nupgrade: " + kind + b"\r\n"


async def answers(service: Service, parts: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Send `parts` on one connection, each by itself, and return the answers: status and body.

    A last request, which ends the connection, shows that nothing else is to come; its answer is left out.
    """
    async with connection(service) as (reader, writer):
        for part in (*parts, LAST):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        return [answer async for answer in _answers(reader) if b"alive" not in answer[1]]


@asynccontextmanager
async def connection(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port, limit=2**20)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _answers(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        yield int(head.split()[1]), await reader.readexactly(length)


@pytest.mark.parametrize("kind", UPGRADES)
async def test_an_upgrade_that_is_not_taken_is_ignored_and_the_body_is_read(service: Service, kind: bytes) -> None:
    ((status, body),) = await answers(service, [asking("luma_list_actions", upgrade(kind))])
    assert status == 200
    assert b"luma_generate_video" in body


async def test_the_offer_of_java_and_curl_is_served_and_the_connection_goes_on(service: Service) -> None:
    both = await answers(service, [asking("luma_list_actions", JAVA), asking("luma_list_aspect_ratios")])
    assert [status for status, _ in both] == [200, 200]
    assert b"16:9" in both[1][1]


SMUGGLED = asking("luma_list_aspect_ratios", token="token-b")


def smuggling() -> bytes:
    """Return a call whose body ends with a whole request of another caller, and a plain call behind it."""
    return asking("luma_list_actions", upgrade(b"h2c"), padding=b" " * 4 + SMUGGLED) + asking("luma_list_actions")


async def test_a_request_within_a_body_is_never_answered_in_any_split(service: Service) -> None:
    stream = smuggling()
    for split in range(1, len(stream)):
        found = await answers(service, [stream[:split], stream[split:]])
        assert not any(b"16:9" in body for _, body in found), split
        assert len(found) == 2, split
        assert found[1][0] == 200, split


async def test_a_request_within_a_body_is_never_answered_byte_by_byte(service: Service) -> None:
    stream = smuggling()
    found = await answers(service, [stream[n : n + 1] for n in range(len(stream))])
    assert len(found) == 2
    assert not any(b"16:9" in body for _, body in found)


async def test_upgrades_behind_each_other_are_each_read_to_their_end(service: Service) -> None:
    stream = (asking("luma_list_actions", upgrade(b"h2c")) + asking("luma_list_aspect_ratios", upgrade(b"foo"))) * 3
    found = await answers(service, [stream])
    assert [status for status, _ in found] == [200] * 6
    assert [b"16:9" in body for _, body in found] == [False, True] * 3


@pytest.mark.parametrize(
    "fields",
    [
        b"transfer-encoding: chunked\r\n" + upgrade(b"h2c"),
        b"transfer-encoding: identity\r\n" + upgrade(b"h2c"),
        b"transfer-encoding: gzip, chunked\r\n" + upgrade(b"h2c"),
    ],
)
async def test_an_upgrade_with_another_framing_is_refused_and_ends_the_connection(
    service: Service, fields: bytes
) -> None:
    head = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer a\r\ncontent-type: application/json\r\n"
    found = await answers(service, [head + fields + b"\r\n0\r\n\r\n" + SMUGGLED])
    assert [status for status, _ in found] == [400]


async def test_a_tunnel_is_refused_and_ends_the_connection(service: Service) -> None:
    stream = b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" + SMUGGLED
    assert [status for status, _ in await answers(service, [stream])] == [400]


async def test_a_get_with_an_upgrade_has_no_body(service: Service) -> None:
    stream = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n" + upgrade(b"websocket") + b"\r\n" + SMUGGLED
    found = await answers(service, [stream])
    assert [status for status, _ in found] == [200, 200]


async def test_callers_who_share_a_connection_of_a_proxy_get_their_own_answers(service: Service) -> None:
    """A proxy that passes Upgrade on sends the next caller's request when it has the answer to the first one."""
    async with connection(service) as (reader, writer):
        found = []
        incoming = _answers(reader)
        for request in (smuggling()[: -len(asking("luma_list_actions"))], asking("luma_list_actions", token="victim")):
            writer.write(request)
            found.append(await anext(incoming))
    assert b"luma_generate_video" in found[1][1]
    assert not any(b"16:9" in body for _, body in found)

"""Bodies of responses: content codings, limits of size and memory, and decoding."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.adapters.acedata.admission import BackendAdmission
from app.adapters.acedata.backend import AceDataBackend
from app.adapters.acedata.body import (
    MAX_COMMAS,
    MAX_CONTAINERS,
    MAX_NUMBER_LENGTH,
    MAX_RESPONSE_BYTES,
    MAX_STRINGS,
    Reservation,
    ResponseMemory,
    UnusableBody,
    decoded,
    read_body,
)
from app.adapters.acedata.client import AceDataClient, Timeouts
from app.adapters.acedata.policy import GENERATIONS_AT_ONCE
from app.adapters.acedata.pool import BackendHttp
from app.adapters.acedata.sender import MAX_RESPONSES_BYTES, AmbiguousOutcome, Call, RequestSender
from app.domain.errors import BackendError, OutcomeUnknown
from app.domain.generation import GenerateVideo
from app.domain.task import LookupResult, Task
from app.services.limits.backend_limits import BackendLimits
from tests.support.acedata import CREDENTIAL, NOW, Backend
from tests.support.raw_http import raw_server
from tests.support.telemetry import Notes

RECORD = b'{"id": "task-0", "task_id": "task-0", "response": {"state": "processing"}}'
UNHURRIED = Timeouts(connect=60.0, pool=60.0, read=60.0, read_deadline=60.0, submit=60.0, retries=0)
MAX_HELD_BYTES = 4 * MAX_RESPONSE_BYTES


def layered(content: bytes, layers: int) -> bytes:
    for _ in range(layers):
        content = gzip.compress(content, 9)
    return content


def bomb(megabytes: int) -> bytes:
    """Return this number of megabytes of spaces, compressed once."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(megabytes)) + packer.flush()


ENDLESS = zlib.compressobj(wbits=31)
EMPTY_BLOCKS = ENDLESS.compress(b"x") + ENDLESS.flush(zlib.Z_FULL_FLUSH) + b"\x00\x00\x00\xff\xff" * 1_000_000


async def read_over_a_socket(body: bytes, headers: bytes) -> tuple[LookupResult, list[BaseException]]:
    """Reply to a read and a submission with `body`; return the result of the read and what the submission raised."""

    async def answer(writer: asyncio.StreamWriter, _body: dict[str, Any]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (headers, len(body), body))

    raised: list[BaseException] = []
    async with (
        raw_server(answer) as server,
        BackendHttp(server.url, user_agent="tests", connections=4) as http,
    ):
        adapter = AceDataBackend(
            AceDataClient(http, Notes(), UNHURRIED, BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE)), lambda: NOW
        )
        read = (await adapter.find_tasks(CREDENTIAL, ["task-0"])).answers["task-0"]
        try:
            await adapter.submit(CREDENTIAL, GenerateVideo("A fox"))
        except OutcomeUnknown as exc:
            raised.append(exc)
    return read, raised


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (RECORD, b""),
        (RECORD, b"content-encoding: identity\r\n"),
        (gzip.compress(RECORD, mtime=0), b"content-encoding: gzip\r\n"),
        (gzip.compress(RECORD, mtime=0), b"Content-Encoding:  GZIP \r\n"),
    ],
)
async def test_a_response_may_be_plain_or_gzipped_once(body: bytes, headers: bytes) -> None:
    answer, raised = await read_over_a_socket(body, headers)
    assert isinstance(answer, Task)
    assert raised == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (layered(RECORD, 2), b"content-encoding: gzip, gzip\r\n"),
        (layered(RECORD, 2), b"content-encoding: gzip\r\ncontent-encoding: gzip\r\n"),
        (layered(bomb(470), 2), b"content-encoding: gzip, gzip, gzip\r\n"),
        (bomb(50), b"content-encoding: gzip\r\n"),
        (EMPTY_BLOCKS, b"content-encoding: gzip\r\n"),
        (gzip.compress(RECORD, mtime=0) * 2, b"content-encoding: gzip\r\n"),
        (gzip.compress(RECORD, mtime=0)[:-4], b"content-encoding: gzip\r\n"),
        (RECORD, b"content-encoding: gzip\r\n"),
        (zlib.compress(RECORD), b"content-encoding: deflate\r\n"),
        (RECORD, b"content-encoding: br\r\n"),
        (RECORD, b"content-encoding: aes128gcm\r\n"),
        (b" " * (MAX_RESPONSE_BYTES + 1), b""),
    ],
    ids=[
        "two layers", "two headers", "a few bytes for 470 MB", "50 MB", "blocks without content", "two members",
        "truncated", "not gzip at all", "deflate", "brotli", "unknown", "too large",
    ],
)  # fmt: skip
async def test_any_other_content_coding_is_an_error_with_bounded_memory(body: bytes, headers: bytes) -> None:
    tracemalloc.start()
    try:
        answer, raised = await read_over_a_socket(body, headers)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(answer) is BackendError
    assert len(raised) == 1
    assert peak < MAX_HELD_BYTES + 2 * len(body)


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    content = RECORD + b" " * (MAX_RESPONSE_BYTES - len(RECORD))
    packed = httpx.Response(200, stream=httpx.ByteStream(gzip.compress(content)), headers={"content-encoding": "gzip"})
    assert await read_body(packed, MAX_RESPONSE_BYTES, empty_reservation()) == content
    larger = httpx.ByteStream(gzip.compress(content + b" "))
    packed = httpx.Response(200, stream=larger, headers={"content-encoding": "gzip"})
    with pytest.raises(UnusableBody):
        await read_body(packed, MAX_RESPONSE_BYTES, empty_reservation())


async def test_concurrent_responses_do_not_exceed_the_memory_limit() -> None:
    memory = ResponseMemory(1000)
    async with memory.reservation() as first:
        assert await read_body(httpx.Response(200, stream=httpx.ByteStream(b" " * 600)), 600, first)
        async with memory.reservation() as second:
            with pytest.raises(UnusableBody):
                await read_body(httpx.Response(200, stream=httpx.ByteStream(b" " * 600)), 600, second)
    async with memory.reservation() as third:
        assert await read_body(httpx.Response(200, stream=httpx.ByteStream(b" " * 1000)), 1000, third)


def empty_reservation() -> Reservation:
    return Reservation(ResponseMemory(2 * MAX_RESPONSE_BYTES))


@pytest.mark.parametrize(
    "text",
    [
        b"[" * MAX_RESPONSE_BYTES,
        b'{"a":' * (MAX_RESPONSE_BYTES // 5),
        b"[" + b"[]," * (MAX_CONTAINERS + 1) + b"[]]",
        b"[" + b"{}," * (MAX_CONTAINERS + 1) + b"{}]",
        b'{"id": ' + b"1" * 4_000_000 + b"}",
        b'{"id": ' + b"1" * (MAX_NUMBER_LENGTH + 1) + b"}",
        b'{"id": 1.' + b"1" * MAX_NUMBER_LENGTH + b"}",
        b'{"x": [' + b"9" * 4_299 + b"]}",
        b'{"x": {' + b",".join(b'"%06x":0' % number for number in range(360_000)) + b"}}",
        b'{"x": {' + b",".join(b'"%x":0' % number for number in range(MAX_STRINGS)) + b"}}",
        b'{"x": [' + b"-9," * 1_390_000 + b"1]}",
        b'{"x": [' + b"9," * (MAX_COMMAS + 1) + b"1]}",
        ('{"x": ["🦊",' + '"éé",' * 590_000 + "1]}").encode(),
        b'{"x": [' + b'"",' * MAX_STRINGS + b"1]}",
        b'{"x": "' + b"\xed\xa0\x80" * 1_390_000 + b'"}',
        b'["' + rb"\\" * 7 + b'",' + b"{}," * (MAX_CONTAINERS + 1) + b'"{"]',
        rb'["\"",' + b"{}," * (MAX_CONTAINERS + 1) + rb'"\\"]',
        b"[" + b'"{",' * (MAX_STRINGS + 1) + b"{}]",
        ('["\\"",' + "{}," * (MAX_CONTAINERS + 1) + '"{"]').encode("utf-16-le"),
        ('["\\"",' + "{}," * (MAX_CONTAINERS + 1) + '"{"]').encode("utf-32"),
    ],
    ids=[
        "nested arrays", "nested objects", "many arrays", "many objects", "a number of 4 MB",
        "a long number", "a long fraction", "a number in the square of its length", "keys of 4 MB", "many keys",
        "numbers of 4 MB", "many numbers", "strings beside an emoji", "many strings", "halves of characters",
        "objects behind escaped backslashes", "objects behind an escaped quotation mark", "many strings with brackets",
        "UTF-16", "UTF-32",
    ],
)  # fmt: skip
def test_json_beyond_the_limits_is_treated_as_text(text: bytes) -> None:
    content = bytearray(text)
    tracemalloc.start()
    try:
        assert decoded(content) == text[:1024].decode(errors="replace")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_HELD_BYTES


BRACES = "{[" * 2500


@pytest.mark.parametrize(
    "text",
    [
        BRACES,
        BRACES + '"' * 5000,
        "\\" * 4999 + "{" * 5000,
        '\\"' * 2500 + BRACES,
        "}]" * 2500 + BRACES,
        "🦊" * 4999 + BRACES,
    ],
    ids=["brackets", "quotation marks", "backslashes", "escapes", "closing ones", "beyond ASCII"],
)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_brackets_in_strings_are_not_counted_as_containers(text: str, *, is_ascii: bool) -> None:
    records = [{"id": f"task-{number}", "request": {"prompt": text}, "response": {}} for number in range(25)]
    content = bytearray(json.dumps({"items": records, "count": 25}, ensure_ascii=is_ascii).encode())
    assert content.count(b"{") + content.count(b"[") > MAX_CONTAINERS
    assert decoded(content) == {"items": records, "count": 25}


MARKS = {"commas": ",", "quotation marks": '"', "escapes": '\\",', "braces": "{},", "all": '\\"{[,]}"'}


@pytest.mark.parametrize("text", MARKS.values(), ids=MARKS)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_punctuation_in_prompts_does_not_count_as_values(text: str, *, is_ascii: bool) -> None:
    prompt = (text * 5000)[:5000]
    echoed = {"prompt": prompt, "start_image_url": f"https://a.example.com/{'x' * 2000}", "loop": False}
    parts = {f"field-{number}": 1.5 for number in range(20)}
    record = {"id": "task-0", "request": echoed, "response": {"prompt": prompt, **parts}, **parts}
    records = [record] * 50
    content = json.dumps({"items": records, "count": 50}, ensure_ascii=is_ascii).encode()
    assert len(content) <= MAX_RESPONSE_BYTES
    assert decoded(bytearray(content)) == {"items": records, "count": 50}


EXPANDING = {
    "one long string": ('{"x": "🦊' + "a" * 4_000_000 + '"}').encode(),
    "many strings": ('{"x": [' + ",".join('"🦊' + "a" * 200 + '"' for _ in range(MAX_STRINGS - 1)) + "]}").encode(),
    "ASCII": b'{"x": "' + b"a" * 4_000_000 + b'"}',
    "accents": ('{"x": "' + "é" * 2_000_000 + '"}').encode(),
}


@pytest.mark.parametrize(("content", "factor"), list(zip(EXPANDING.values(), (8, 8, 2, 8), strict=True)), ids=EXPANDING)
def test_decoding_takes_at_most_eight_times_the_body(content: bytes, factor: int) -> None:
    body = bytearray(content)
    tracemalloc.start()
    try:
        assert isinstance(decoded(body), dict)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= factor * len(body) + 2_000_000, "and the objects around 20,000 values"


async def test_responses_beyond_the_memory_of_all_are_refused_until_others_end() -> None:
    goes_on, full = asyncio.Event(), asyncio.Semaphore(0)
    filler = b"a" * (MAX_RESPONSE_BYTES - 16)

    async def waiting() -> AsyncIterator[bytes]:
        yield b'{"x": "' + filler
        full.release()
        await goes_on.wait()
        yield b'"}'

    async def answer(request: httpx.Request) -> httpx.Response:
        answers: dict[str, bytes | AsyncIterator[bytes]] = {
            "/waits": waiting(),
            "/expands": '{"x": "🦊'.encode() + filler + b'"}',
            "/task": b'{"task_id": "task-1", "trace_id": "some 27 bytes and more"}',
        }
        return httpx.Response(200, content=answers[request.url.path])

    async with BackendHttp("http://backend", user_agent="tests", connections=1, transport=Backend(answer)) as http:
        exchanges = RequestSender(
            http, http, BackendAdmission(BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE), Notes(), 1.0), Notes()
        )

        async def length_of(path: str) -> int:
            call = Call(path, {"ids": ["task-0"] * 50}, httpx.Timeout(60), lambda body: len(body["x"]))
            return await exchanges.run(CREDENTIAL, call)

        reads = [asyncio.create_task(length_of("/waits")) for _ in range(MAX_RESPONSES_BYTES // MAX_RESPONSE_BYTES)]
        for _ in reads:
            await full.acquire()
        with pytest.raises(AmbiguousOutcome):
            await length_of("/expands")
        submission = Call("/task", {}, httpx.Timeout(60), lambda body: str(body["task_id"]), is_read=False)
        assert await exchanges.run(CREDENTIAL, submission) == "task-1", "reads leave memory for submissions"
        goes_on.set()
        assert await asyncio.gather(*reads) == [len(filler)] * len(reads)
        assert await length_of("/expands") == 1 + len(filler)


def test_a_byte_order_mark_is_ignored() -> None:
    assert decoded(bytearray(b"\xef\xbb\xbf" + RECORD)) == json.loads(RECORD)


async def test_an_endless_response_head_is_an_error() -> None:
    body = RECORD
    answer, raised = await read_over_a_socket(body, b"x-padding: %s\r\n" % (b"x" * 1000) * 1000)
    assert type(answer) is BackendError
    assert len(raised) == 1

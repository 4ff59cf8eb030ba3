"""A server in place of Redis sends replies of other types, or endless ones: the store is unavailable."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from app.adapters.redis.coordination import RedisCoordination
from app.adapters.redis.store import RedisStore, connect
from app.adapters.redis.wire import SMALL_REPLY_BYTES, SMALL_REPLY_ELEMENTS, BoundedParser, ReplyTooLarge
from app.adapters.value_signer import HmacSigner
from app.ports.coordination import EventKind
from app.ports.store import StoreOverfull, StoreUnavailable
from tests.support.hostile_redis import always, server_replying
from tests.support.redis_forms import PATIENT_SECONDS
from tests.support.service import KEY

LARGE_ARRAY = b"*2147483647\r\n$-1\r\n"
BUFFERS_OF_THE_SYSTEM = 16 * 2**20

ODD_REPLIES = [
    b":5\r\n",
    b"+OK\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"%1\r\n+a\r\n+b\r\n",
    b"~1\r\n:1\r\n",
    b"*0\r\n",
    b"*1\r\n:5\r\n",
    b"*2\r\n$-1\r\n$-1\r\n",
    b"*1\r\n-ERR no\r\n",
    b"-MOVED\r\n",
    b"-ASK\r\n",
    b"-\r\n",
    b"?\r\n",
]


def coordination_of(store: RedisStore) -> RedisCoordination:
    return RedisCoordination(store.connection, HmacSigner(KEY), "channel")


@pytest.mark.parametrize("form", ODD_REPLIES)
async def test_a_reply_of_another_type_is_store_unavailable(form: bytes) -> None:
    async with server_replying(always(form)) as url, connect(url) as store:
        coordination = coordination_of(store)
        questions: list[Callable[[], Awaitable[object]]] = [
            lambda: store.get_many(["{a}:1", "{a}:2", "{a}:3"]),
            lambda: coordination.get("{a}:1"),
            lambda: coordination.put_if_absent("{a}:1", b"value", 60.0),
            lambda: coordination.members("{a}:1", 10),
            lambda: coordination.any_key("*"),
        ]
        for ask in questions:
            try:
                answer = await ask()
            except StoreUnavailable:
                continue
            assert answer in (None, [], False, b"OK"), "nothing is a true answer to some, and so is any value"


async def test_an_endless_reply_is_read_up_to_the_size_limit() -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter, _command: bytes) -> None:
        nonlocal sent
        writer.write(b"$2000000000\r\n")
        while True:
            writer.write(bytes(2**20))
            await writer.drain()
            sent += 2**20

    async with server_replying(endless) as url, connect(url) as store:
        with pytest.raises(StoreUnavailable):
            await store.get_many(["{a}:1"])
    assert sent <= 2 * SMALL_REPLY_BYTES + BUFFERS_OF_THE_SYSTEM


@pytest.mark.parametrize("header", [b"*2147483647", b"*1\r\n*2147483647", b"%1000000000", b"*1\r\n>99999"])
@pytest.mark.parametrize("step", [1, 100])
async def test_a_reply_that_announces_a_large_array_is_not_parsed(header: bytes, step: int) -> None:
    async def announce(writer: asyncio.StreamWriter, _command: bytes) -> None:
        sent = header + b"\r\n$-1\r\n"
        for at in range(0, len(sent), step):
            writer.write(sent[at : at + step])
            await writer.drain()
            await asyncio.sleep(0)

    async with server_replying(announce) as url, connect(url) as store:
        with pytest.raises(StoreOverfull):
            await store.get_many(["{a}:1", "{a}:2"])


class Parts:
    """A connection, as far as a parser uses it, which receives these parts one by one."""

    encoder = SimpleNamespace(decode_responses=False)

    def __init__(self, *parts: bytes) -> None:
        self._reader = self
        self._parts = list(parts)

    async def read(self, _size: int) -> bytes:
        return self._parts.pop(0)


async def two_replies(parser: BoundedParser) -> list[object]:
    return [await parser.read_response() for _ in range(2)]


@pytest.mark.parametrize("cut", range(1, len(LARGE_ARRAY)))
async def test_an_announcement_that_begins_in_the_last_part_of_another_reply_is_found(cut: int) -> None:
    parser = BoundedParser(65_536)
    parser.on_connect(Parts(b"*1\r\n$-1\r\n" + LARGE_ARRAY[:cut], LARGE_ARRAY[cut:]))
    with pytest.raises(ReplyTooLarge):
        await two_replies(parser)


@pytest.mark.parametrize("element", [b"-\r\n", b"*0\r\n", b"$0\r\n\r\n", b"_\r\n", b":1\r\n", b"*1\r\n+\r\n"])
async def test_a_reply_of_many_small_elements_is_not_parsed(element: bytes) -> None:
    read = 0

    async def crumble(writer: asyncio.StreamWriter, _command: bytes) -> None:
        nonlocal read
        writer.write(b"*500\r\n")
        for _ in range(500):
            writer.write(b"*9999\r\n" + element * 9999)
            await writer.drain()
            read += 9999

    async with server_replying(crumble) as url, connect(url, PATIENT_SECONDS) as store:
        with pytest.raises(StoreOverfull):
            await store.get_many(["{a}:1"])
    assert read * len(element) <= SMALL_REPLY_ELEMENTS * len(element) + BUFFERS_OF_THE_SYSTEM


async def test_the_replies_to_a_pipeline_of_reads_have_one_limit_together() -> None:
    value = bytes(50_000)
    async with (
        server_replying(always(b"*1\r\n$50000\r\n" + value + b"\r\n")) as url,
        connect(url, PATIENT_SECONDS) as store,
    ):
        few = await asyncio.gather(*(store.get_many([f"{{{number}}}:a"]) for number in range(3)))
        many = (store.get_many([f"{{{number}}}:a"]) for number in range(12))
        failures = await asyncio.gather(*many, return_exceptions=True)
    assert few == [[b""]] * 3
    assert set(map(type, failures)) == {StoreOverfull}


async def test_the_replies_to_a_pipeline_of_writes_have_one_limit_together() -> None:
    values = {f"{{a}}:{number}": b"value" for number in range(50)}
    async with (
        server_replying(always(b"$10000\r\n" + bytes(10_000) + b"\r\n")) as url,
        connect(url, PATIENT_SECONDS) as store,
    ):
        with pytest.raises(StoreOverfull):
            await store.put_many(values, dict.fromkeys(values, 60.0))


async def test_errors_in_the_replies_to_a_pipeline_of_writes_have_one_limit_together() -> None:
    values = {f"{{a}}:{number}": b"value" for number in range(50)}
    async with server_replying(always(b"*100\r\n" + b"-E\r\n" * 100)) as url, connect(url, PATIENT_SECONDS) as store:
        with pytest.raises(StoreOverfull):
            await store.put_many(values, dict.fromkeys(values, 60.0))


@pytest.mark.parametrize("form", [b"*1\r\n-E\r\n", b":1\r\n", b"$-1\r\n", b"+QUEUED\r\n", b"*0\r\n"])
async def test_a_write_that_is_not_answered_with_ok_has_failed(form: bytes) -> None:
    async with server_replying(always(form)) as url, connect(url, PATIENT_SECONDS) as store:
        with pytest.raises(StoreUnavailable):
            await store.put_many({"{a}:1": b"value"}, {"{a}:1": 60.0})


async def test_the_channel_is_reopened_after_a_reply_of_another_type() -> None:
    subscriptions: asyncio.Queue[bytes] = asyncio.Queue()

    async def reply(writer: asyncio.StreamWriter, command: bytes) -> None:
        if command == b"SUBSCRIBE":
            subscriptions.put_nowait(command)
        writer.write(b":5\r\n")

    async with server_replying(reply) as url, connect(url) as store:
        coordination = coordination_of(store)
        coordination.subscribe(EventKind.TASKS, lambda _message: None)
        async with coordination, asyncio.timeout(20):
            for _ in range(3):
                await subscriptions.get()

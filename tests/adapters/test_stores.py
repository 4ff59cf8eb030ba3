"""The stores: one contract for every implementation, and every kind of failure of Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import RedisCluster

from app.adapters.memory.store import MemoryStore
from app.adapters.redis.command_queue import CONNECTIONS
from app.adapters.redis.store import RedisStore, connect
from app.adapters.redis.wire import SMALL_REPLY_BYTES
from app.ports.store import Store, StoreOverfull, StoreUnavailable
from app.services.tasks.sealed_values import MAX_BYTES
from tests.support.clock import HandClock
from tests.support.redis_forms import PATIENT_SECONDS, connected
from tests.support.redis_server import RedisServer, free_port

KEYS = [f"{{tenant-a}}:task:1:{number}" for number in range(5)]
FORMS = ["memory", "redis", "unix", "sentinel", "cluster"]


@pytest.fixture(params=FORMS)
async def store(request: pytest.FixtureRequest, redis_urls: dict[str, str], clock: HandClock) -> AsyncIterator[Store]:
    form: str = request.param
    store = (
        MemoryStore(capacity_bytes=1_000_000, clock=clock) if form == "memory" else await connected(redis_urls[form])
    )
    yield store
    await store.aclose()


async def test_get_many_returns_values_in_the_order_of_the_keys(store: Store) -> None:
    values = {key: f"value of {key}".encode() for key in KEYS}
    await store.put_many(values, dict.fromkeys(KEYS, 60.0))
    assert await store.get_many(KEYS[::-1]) == [values[key] for key in KEYS[::-1]]
    assert await store.get_many([KEYS[1], KEYS[1]]) == [values[KEYS[1]]] * 2


async def test_an_absent_value_is_none(store: Store) -> None:
    await store.put_many({KEYS[0]: b"one"}, {KEYS[0]: 60.0})
    assert await store.get_many(["{tenant-a}:nothing", KEYS[0]]) == [None, b"one"]


async def test_put_many_replaces_values(store: Store) -> None:
    await store.put_many({KEYS[0]: b"old"}, {KEYS[0]: 60.0})
    await store.put_many({KEYS[0]: b"new"}, {KEYS[0]: 60.0})
    assert await store.get_many(KEYS[:1]) == [b"new"]


@pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n$5\r\n", b"x" * MAX_BYTES])
async def test_any_bytes_are_stored_unchanged(store: Store, value: bytes) -> None:
    await store.put_many({KEYS[0]: value}, {KEYS[0]: 60.0})
    assert await store.get_many(KEYS[:1]) == [value]


@pytest.mark.parametrize("form", ["redis", "cluster"])
async def test_a_value_above_the_size_limit_is_not_read(form: str, redis_urls: dict[str, str]) -> None:
    store = connect(redis_urls[form])
    keys = [f"{{tenant-b}}:large:{number}" for number in range(3)]
    await store.put_many({keys[0]: b"x" * (MAX_BYTES + 1), keys[1]: b"mine"}, dict.fromkeys(keys[:2], 60.0))
    assert await store.get_many(keys) == [b"", b"mine", None]
    await store.remove_many(keys)
    await store.aclose()


@pytest.mark.parametrize("form", ["redis", "cluster"])
async def test_large_reads_of_the_largest_values_may_begin_together(form: str, redis_urls: dict[str, str]) -> None:
    store = connect(redis_urls[form], PATIENT_SECONDS)
    values = {f"{{tenant-b}}:largest:{number}": b"x" * MAX_BYTES for number in range(200)}
    await store.put_many(values, dict.fromkeys(values, 60.0))
    reads = await asyncio.gather(*(store.get_many(list(values)) for _ in range(4)))
    assert reads == [list(values.values())] * 4
    await store.remove_many(list(values))
    await store.aclose()


@pytest.mark.parametrize("form", ["redis", "cluster"])
async def test_values_above_the_limit_of_a_reply_are_not_read_until_they_are_replaced(
    form: str, redis_urls: dict[str, str]
) -> None:
    store = connect(redis_urls[form])
    keys = [f"{{tenant-b}}:huge:{number}" for number in range(2)]
    await store.client.set(keys[0], b"x" * 2 * SMALL_REPLY_BYTES)
    for _ in range(2):
        with pytest.raises(StoreOverfull):
            await store.get_many(keys)
    assert await store.get_many(keys[1:]) == [None]
    await store.put_many({keys[0]: b"mine"}, {keys[0]: 60.0})
    assert await store.get_many(keys) == [b"mine", None]
    await store.remove_many(keys)
    await store.aclose()


@pytest.mark.parametrize("form", ["redis", "cluster"])
async def test_a_key_of_another_type_has_no_value(form: str, redis_urls: dict[str, str]) -> None:
    store = connect(redis_urls[form])
    keys = [f"{{tenant-b}}:odd:{number}" for number in range(2)]
    await store.client.rpush(keys[0], b"a list")
    await store.put_many({keys[1]: b"mine"}, {keys[1]: 60.0})
    assert await store.get_many(keys) == [None, b"mine"]
    await store.remove_many(keys)
    await store.aclose()


async def test_remove_many_removes_only_the_given_keys(store: Store) -> None:
    await store.put_many(dict.fromkeys(KEYS[:3], b"x"), dict.fromkeys(KEYS[:3], 60.0))
    await store.remove_many([KEYS[0], KEYS[2], KEYS[4]])
    assert await store.get_many(KEYS[:3]) == [None, b"x", None]


async def test_operations_without_keys_do_nothing(store: Store) -> None:
    await store.put_many({}, {})
    await store.remove_many([])
    assert await store.get_many([]) == []


async def test_concurrent_callers_get_their_own_values(store: Store) -> None:
    async def put_and_get(number: int) -> None:
        key, value = f"{{tenant-{number}}}:k", str(number).encode()
        await store.put_many({key: value}, {key: 60.0})
        assert await store.get_many([key]) == [value]

    await store.ping()  # connected, so that the callers come at once
    await asyncio.gather(*map(put_and_get, range(120)))


@pytest.mark.parametrize("form", FORMS[1:])
async def test_each_value_in_redis_expires_after_its_own_ttl(redis_urls: dict[str, str], form: str) -> None:
    store = connect(redis_urls[form])
    await store.put_many(dict.fromkeys(KEYS[:3], b"x"), {KEYS[0]: 0.0001, KEYS[1]: 3.0, KEYS[2]: 2_592_000.0})
    lives = [await store.client.pttl(key) for key in KEYS[:3]]
    await store.aclose()
    assert lives[0] in (-2, 0, 1)
    assert 0 < lives[1] <= 3_000
    assert 2_591_000_000 < lives[2] <= 2_592_000_000


def unreachable_url(form: str) -> str:
    port = free_port()
    return {
        "redis": f"redis://127.0.0.1:{port}",
        "unix": "unix:///nowhere/redis.sock",
        "sentinel": f"redis+sentinel://127.0.0.1:{port}/luma",
        "cluster": f"redis+cluster://127.0.0.1:{port}",
    }[form]


@pytest.mark.parametrize("form", FORMS[1:])
async def test_a_missing_redis_is_unavailable(form: str) -> None:
    store = connect(unreachable_url(form))
    for operation in (store.ping(), store.get_many(KEYS), store.put_many({KEYS[0]: b"x"}, {KEYS[0]: 1.0})):
        with pytest.raises(StoreUnavailable) as caught:
            await operation
        assert "127.0.0.1" not in str(caught.value)
    await store.aclose()


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("luma", "other"),
        lambda url: url.replace("%23", "%24"),
        lambda url: url.replace(":p%40", ":q%40"),
    ],
    ids=["another service", "another password", "yet another password"],
)
async def test_a_redis_that_refuses_the_login_is_unavailable(
    redis_urls: dict[str, str], change: Callable[[str], str]
) -> None:
    for form in FORMS[1:]:
        if (url := change(redis_urls[form])) != redis_urls[form]:
            store = connect(url)
            with pytest.raises(StoreUnavailable):
                await store.get_many(KEYS)
            await store.aclose()


async def test_a_full_redis_refuses_writes_and_still_serves_reads(fragile_redis: RedisServer) -> None:
    store = connect(fragile_redis.url)
    await store.put_many({KEYS[0]: b"kept"}, {KEYS[0]: 60.0})
    with fragile_redis.client() as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable):
        await store.put_many({KEYS[1]: b"x"}, {KEYS[1]: 60.0})
    assert await store.get_many(KEYS[:2]) == [b"kept", None]
    await store.aclose()


async def test_a_late_reply_of_redis_is_never_returned_to_another_caller(fragile_redis: RedisServer) -> None:
    store: RedisStore = connect(fragile_redis.url)
    await store.put_many({key: key.encode() for key in KEYS}, dict.fromkeys(KEYS, 60.0))
    fragile_redis.hang()
    late = await asyncio.gather(*(store.get_many([key]) for key in KEYS), return_exceptions=True)
    fragile_redis.resume()
    assert [type(answer) for answer in late] == [StoreUnavailable] * len(KEYS)
    for key in KEYS[::-1]:
        assert await store.get_many([key]) == [key.encode()]
    await store.aclose()


async def test_queued_operations_fail_too_if_redis_hangs(fragile_redis: RedisServer) -> None:
    store = connect(fragile_redis.url)
    await store.ping()
    fragile_redis.hang()
    answers = await asyncio.gather(*(store.get_many(KEYS) for _ in range(2 * CONNECTIONS)), return_exceptions=True)
    fragile_redis.resume()
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    causes = [type(answer.__cause__) for answer in answers if isinstance(answer, StoreUnavailable)]
    assert causes.count(TimeoutError) >= CONNECTIONS, "time ran out before their turn, and not at the socket"
    await store.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "secret",
        "http://secret",
        "redis+proxy://secret",
        "redis://secret:port",
        "redis://:pass/secret@host",
        "redis://:pass#secret@host:1",
        "redis://host:99999/secret",
        "redis://host/secret",
        "redis://host/0/secret",
        "redis://host/0#secret",
        "redis://user:12/secret@host:6379/0",
        "redis://user:12/34@secret:6379/0",
        "redis://:12?secret@host:6379/0",
        "redis://user:12#secret@host:6379/0",
        "redis://user:12?secret@host:6379/0",
        "unix://user:12#secret@/run/redis.sock",
        "redis+sentinel://user:12/secret@host:26379/luma/0",
        "redis+sentinel://user:12#secret@host:26379/luma/0",
        "redis+cluster://user:12?secret@host:6379",
        "redis+cluster://a,user:12#secret@host:6379",
        "redis://host?secret=1",
        "redis://host?db=secret",
        "redis://[secret",
        "unix://secret?db=secret",
        "redis+sentinel://secret:26379",
        "redis+sentinel://secret:26379/",
        "redis+sentinel:///secret",
        "redis+sentinel://host/luma/secret",
        "redis+sentinel://host:secret/luma",
        "redis+sentinel://host/luma?secret=1",
        "redis+sentinel://host/luma?socket_timeout=secret",
        "redis+sentinel://[secret/luma",
        "redis+cluster://",
        "redis+cluster://,",
        "redis+cluster://host:secret",
        "redis+cluster://host:1,host:99999",
        "redis+cluster://host?secret=1",
        "redis+cluster://host?max_connections=secret",
    ],
)
def test_an_invalid_redis_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="is none of redis://") as caught:
        connect(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("sign", "#/?")
@pytest.mark.parametrize("form", ["redis://user:12{}34@host:6379/0", "rediss+sentinel://:12{}34@a:1,b:2/luma/0"])
def test_an_unencoded_delimiter_in_a_password_is_explained(form: str, sign: str) -> None:
    with pytest.raises(ValueError, match=r"Percent-encode signs in the user name and the password: # is %23"):
        connect(form.format(sign))


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis:///3",
        "redis://host?password=p@ss",
        "redis://user:p@ss@host_of_redis:6379",
        "unix://user:word@/run/redis@1.sock",
        "rediss://user:word@host:6380/3?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=2",
        "redis+sentinel://host/luma",
        "rediss+sentinel://a:1,b:2/luma/0?sentinel_password=word&socket_timeout=1",
        "redis+cluster://a,b:7000",
        "rediss+cluster://user:word@a:7000/?ssl_cert_reqs=required",
        "redis+cluster://[::1]:7000",
    ],
)
async def test_a_valid_url_is_accepted_without_connecting(url: str) -> None:
    store = connect(url)
    assert isinstance(store.client, RedisCluster) is ("cluster" in url)
    await store.aclose()

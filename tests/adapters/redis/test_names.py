"""The keys of a deployment in Redis: prefixes, ACL permissions, and values that others have written."""

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.adapters.redis.coordination import RedisCoordination
from app.adapters.redis.signed_events import MAX_MESSAGE_BYTES
from app.adapters.redis.store import connect
from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.engine import Sandbox
from app.ports.coordination import EventKind
from app.services.key_namespace import key_namespace
from app.settings import Settings
from tests.support.clock import HandClock, while_time_passes
from tests.support.keeping import CHANNEL, KEYS, SIGNER, until_heard
from tests.support.redis_server import RedisServer
from tests.support.service import KEY, SECONDS, sandbox, serving, settings
from tests.web.test_tasks_extension import handle_of, send

KEYED = {"prompt": "A fox", "idempotency_key": "fox-1"}
SET = KEYS.key("tenant-a", "awaited")
OLD_DIGEST = "e56cfb908bff81990de863342d6d91c94af3d956"
OLD_PRINT = "fcd54a9d921b32a0ed05e7bc09df5fc4cc0c262e0d61d30cd654ad20396492a6"
DOCUMENT = (Path(__file__).parents[3] / "docs" / "redis.md").read_text(encoding="utf-8")


def test_names_begin_with_prefix_and_backend_and_keep_the_hash_tag() -> None:
    keys = key_namespace("luma-mcp", "https://user:word@API.acedata.cloud:8443/v1{x}/*")
    root = "luma-mcp:https:api.acedata.cloud:8443:/v1%7Bx%7D/%2A"
    assert keys.key("tenant", "task:2", "id") == f"{root}:{{tenant}}:task:2:id"
    assert keys.channel(3) == f"{root}:3:events"
    assert key_namespace("luma-mcp", "https://api.acedata.cloud").root == "luma-mcp:https:api.acedata.cloud"
    assert key_namespace("luma-mcp", None).root == "luma-mcp:sandbox"


@pytest.mark.parametrize("prefix", ["", "a*", "{a}", "a b", "a:", ":a", "x" * 65, "a\n"])
def test_a_prefix_that_an_acl_could_not_name_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="redis_prefix"):
        Settings(redis_prefix=prefix)


async def test_every_key_begins_with_the_prefix(clock: HandClock, redis_server: RedisServer) -> None:
    backend = sandbox(clock)
    values = settings(redis_url=redis_server.url, redis_prefix="team:luma", acedata_url="https://a.example.com")
    async with serving(values, backend, clock) as service:
        task = await service.ask("luma_generate_video", KEYED)
        await service.ask("luma_get_task", {"task_id": task["task_id"]})
    with redis_server.client() as client:
        names = [name.decode() for name in client.scan_iter()]
    assert names
    assert [name for name in names if not name.startswith("team:luma:https:a.example.com:{")] == []


async def test_no_key_is_without_a_time_to_live(clock: HandClock, redis_server: RedisServer) -> None:
    """Keys of purchases, handles, cancelled tasks, cached results, running tasks, and of a wait that goes on."""
    async with serving(settings(redis_url=redis_server.url), sandbox(clock), clock) as service:
        finished = (await service.ask("luma_generate_video", KEYED))["task_id"]
        handle = await handle_of(service)
        await send(service, "tasks/cancel", {"taskId": handle["taskId"]})
        clock.advance(SECONDS)
        await service.ask("luma_get_task", {"task_id": finished})
        running = (await service.ask("luma_generate_video", {"prompt": "A dog"}))["task_id"]
        waiting = asyncio.create_task(service.ask("luma_get_task", {"task_id": running, "wait_seconds": 50}))
        with redis_server.client() as client:
            while not any(b":awaited" in name for name in client.scan_iter()):
                await asyncio.sleep(0.01)
            lives = {name: client.ttl(name) for name in client.scan_iter()}
        await while_time_passes(clock, waiting)
    assert len(lives) >= 4, lives
    assert [name for name, seconds in lives.items() if seconds < 0] == []


def transport_under_path(url: str, backend: Sandbox) -> httpx.ASGITransport:
    """Return a transport to a backend at the path of `url`."""
    return httpx.ASGITransport(Starlette(routes=[Mount(urlsplit(url).path, sandbox_app(backend))]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"acedata_url": "https://a.example.com"}, {"acedata_url": "https://b.example.com"}),
        ({"acedata_url": "https://a.example.com"}, {"acedata_url": "https://a.example.com/staging"}),
        ({"acedata_url": "https://a.example.com/v1/x"}, {"acedata_url": "https://a.example.com/v1_x"}),
        ({"acedata_url": "https://a.example.com/v1"}, {"acedata_url": "https://a.example.com/V1"}),
        ({"acedata_url": "https://localhost:8443"}, {"acedata_url": "http://localhost:8443"}),
        ({"redis_prefix": "one"}, {"redis_prefix": "other"}),
    ],
)
async def test_deployments_on_one_redis_with_one_secret_do_not_mix(
    clock: HandClock, redis_server: RedisServer, one: dict[str, str], other: dict[str, str]
) -> None:
    await assert_they_do_not_mix(clock, *(settings(redis_url=redis_server.url, **values) for values in (one, other)))


@pytest.mark.parametrize("other_url", ["https://b.example.com", "https://a.example.com/staging"])
async def test_deployments_on_one_database_and_one_redis_do_not_mix(
    clock: HandClock, redis_server: RedisServer, tmp_path: Path, other_url: str
) -> None:
    shared = {"redis_url": redis_server.url, "database_url": f"sqlite:///{tmp_path}/luma.db"}
    urls = ("https://a.example.com", other_url)
    await assert_they_do_not_mix(clock, *(settings(**shared, acedata_url=url) for url in urls))


async def assert_they_do_not_mix(clock: HandClock, first: Settings, second: Settings) -> None:
    backends = [transport_under_path(values.acedata_url, sandbox(clock)) for values in (first, second)]
    async with serving(first, backends[0], clock) as here, serving(second, backends[1], clock) as there:
        task_id = (await here.ask("luma_generate_video", KEYED))["task_id"]
        clock.advance(SECONDS)
        assert (await here.ask("luma_get_task", {"task_id": task_id}))["state"] == "completed"
        assert (await there.fail("luma_get_task", {"task_id": task_id}))["code"] == "not_found"
        assert "replayed" not in await there.ask("luma_generate_video", KEYED)
        listed = [(await service.ask("luma_list_tasks", {}))["tasks"] for service in (here, there)]
    assert [len(tasks) for tasks in listed] == [1, 1]
    assert listed[0] != listed[1]


def test_each_database_has_its_own_channel(redis_server: RedisServer) -> None:
    databases = [connect(redis_server.url.replace("/0", f"/{number}")).connection.database for number in (0, 3)]
    assert databases == [0, 3]
    assert KEYS.channel(0) != KEYS.channel(3)


async def test_deployments_on_two_databases_of_one_redis_do_not_hear_each_other(
    clock: HandClock, redis_server: RedisServer
) -> None:
    """Channels of Redis belong to no database. The two replicas have one secret, so each would believe the other."""
    urls = [redis_server.url.replace("/0", f"/{number}") for number in (0, 3)]
    heard = list[bytes]()
    async with (
        serving(settings(redis_url=urls[0]), sandbox(clock), clock) as here,
        serving(settings(redis_url=urls[1]), sandbox(clock), clock) as there,
    ):
        speaker, listener = (service.assembly.shared.coordination for service in (here, there))
        await until_heard(listener, listener)
        await until_heard(speaker, speaker)
        listener.subscribe(EventKind.PROBE, heard.append)
        await speaker.publish(EventKind.PROBE, b"from database 0")
        await until_heard(listener, listener)
    assert b"hello" in heard
    assert b"from database 0" not in heard


def kept_by_release_1_0(server: RedisServer, clock: HandClock, **fields: str) -> None:
    """Write a reservation as release 1.0 did, for the key "fox-1" and these arguments."""
    tenant = PassthroughAuthenticator(KEY).hash_token("token-a")
    filed = f"{{{tenant}}}:reservation:1:{OLD_DIGEST}"
    word = {"filed_under": filed, "fingerprint": OLD_PRINT, "holder": "a", "since": clock(), **fields}
    with server.client() as client:
        client.set(filed, json.dumps(word), px=86_000_000)


async def test_an_idempotency_key_of_an_earlier_release_is_valid_for_its_day(
    clock: HandClock, redis_server: RedisServer
) -> None:
    backend = sandbox(clock)
    kept_by_release_1_0(redis_server, clock, state="done", task_id="task-of-before")
    async with serving(settings(redis_url=redis_server.url), backend, clock) as service:
        other = await service.fail("luma_generate_video", {**KEYED, "prompt": "A cat"})
        assert other["code"] == "invalid_request"
        again = await service.ask("luma_generate_video", KEYED)
        assert (again["task_id"], again["replayed"]) == ("task-of-before", True)
        redis_server.flush_all()
        assert (await service.ask("luma_generate_video", KEYED))["task_id"] == "task-of-before", "it is recorded now"
    assert backend.submissions("token-a") == 0


@pytest.mark.parametrize("state", ["unknown", "sent"])
async def test_an_outcome_that_an_earlier_release_left_unknown_refuses_the_key(
    clock: HandClock, redis_server: RedisServer, state: str
) -> None:
    kept_by_release_1_0(redis_server, clock, state=state)
    async with serving(settings(redis_url=redis_server.url), sandbox(clock), clock) as service:
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "backend_timeout"
        bought = await service.ask("luma_generate_video", {**KEYED, "retry_unknown": True})
        again = await service.ask("luma_generate_video", KEYED)
    assert (again["task_id"], again["replayed"]) == (bought["task_id"], True)


@pytest.mark.parametrize("state", ["freed", "held"])
async def test_a_key_under_which_an_earlier_release_bought_nothing_is_free(
    clock: HandClock, redis_server: RedisServer, state: str
) -> None:
    kept_by_release_1_0(redis_server, clock, state=state)
    async with serving(settings(redis_url=redis_server.url), sandbox(clock), clock) as service:
        assert "replayed" not in await service.ask("luma_generate_video", KEYED)


async def test_a_redis_that_goes_out_on_the_day_of_the_upgrade_refuses_keys_that_it_may_hold(
    clock: HandClock, fragile_redis: RedisServer
) -> None:
    kept_by_release_1_0(fragile_redis, clock, state="done", task_id="task-of-before")
    async with serving(settings(redis_url=fragile_redis.url), sandbox(clock), clock) as service:
        fragile_redis.stop()
        assert "upgraded" in (await service.fail("luma_generate_video", KEYED))["message"]
        assert (await service.ask("luma_generate_video", {"prompt": "A fox"}))["state"] == "pending"


async def test_the_documented_acl_permissions_are_sufficient(
    clock: HandClock, fragile_redis: RedisServer, database_url: str
) -> None:
    found = re.search(r"ACL SETUSER luma (.*)", DOCUMENT)
    assert found is not None
    rules = found[1].replace("THE_PASSWORD", "word").replace("+client|setinfo +client|setname", "+client").split()
    with fragile_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "luma", *rules)
    url = fragile_redis.url.replace("redis://", "redis://luma:word@")
    values = settings(redis_url=url, database_url=database_url)
    async with serving(values, sandbox(clock), clock) as one, serving(values, sandbox(clock), clock) as other:
        task = await one.ask("luma_generate_video", KEYED)
        await one.ask("luma_get_task", {"task_id": task["task_id"]})
        assert (await other.ask("luma_generate_video", KEYED))["replayed"] is True
        await one.call("luma_get_task", {"task_id": "nobody-knows", "wait_seconds": 1})
        await until_heard(one.assembly.shared.coordination, other.assembly.shared.coordination)
        ready = await one.http.get(f"{one.url}/readyz")
    with fragile_redis.client() as client:
        denied = client.execute_command("ACL", "LOG")
    assert ready.json()["status"] == "ready"
    assert [entry for entry in denied if b"reservation:1" not in repr(entry).encode()] == []


async def test_invalid_members_of_a_set_are_ignored(redis_server: RedisServer, clock: HandClock) -> None:
    store = connect(redis_server.url)
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL, clock)
    await coordination.add_members(SET, ["mine"], 60)
    with redis_server.client() as client:
        (signed,) = client.zrange(SET, 0, -1)
        junk = [b"\xff\xfe", b"", b"made-up", bytes(16) + b"made-up", signed + b"x", b"x" * 100_000]
        client.zadd(SET, dict.fromkeys(junk, clock() + 50))
        client.zadd(KEYS.key("tenant-b", "awaited"), {signed: clock() + 50})
    assert await coordination.members(SET, 100) == ["mine"]
    assert await coordination.members(KEYS.key("tenant-b", "awaited"), 100) == [], "it counts in its own set only"
    await store.aclose()


async def test_invalid_messages_on_the_channel_are_ignored(redis_server: RedisServer) -> None:
    store = connect(redis_server.url)
    coordination = RedisCoordination(store.connection, SIGNER, CHANNEL)
    heard: list[bytes] = []
    coordination.subscribe(EventKind.TASKS, heard.append)
    coordination.start()
    large = SIGNER.sign(CHANNEL, b"tasks\0" + b"x" * MAX_MESSAGE_BYTES)
    with redis_server.client() as client:
        async with asyncio.timeout(20):
            while b"hello" not in heard:
                for junk in (b"", b"\xff", b'{"tenant":"a","missing":["b"]}', SIGNER.sign("other", b"moved"), large):
                    client.publish(CHANNEL, junk)
                await coordination.publish(EventKind.TASKS, b"hello")
                await asyncio.sleep(0.01)
    await coordination.aclose()
    await store.aclose()
    assert set(heard) == {b"hello"}

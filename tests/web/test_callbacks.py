"""Callbacks of the backend: hints that are worth one read, and never results."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.adapters.sandbox.backend import create_sandbox, sandbox_app
from app.adapters.sandbox.engine import Sandbox
from app.adapters.sql.purchases import MAX_CALLBACK_TASKS
from app.services.tasks.snapshots import SNAPSHOT_KIND
from app.web.callbacks import MAX_CALLBACK_BYTES
from tests.support.clock import HandClock, while_time_passes
from tests.support.postgres_server import PostgresServer
from tests.support.process import environment, serving_process
from tests.support.redis_server import RedisServer
from tests.support.service import FREE, MODERN, SECONDS, Service, envelope, listening, sandbox, serving, settings

PUBLIC = "https://luma.example.com"


def called_on(backend: Sandbox, task_id: str) -> str:
    """Return the path of the callback URL that the backend got for a task."""
    url: str = backend.read("anyone", {"id": task_id})["request"]["callback_url"]
    assert url.startswith(f"{PUBLIC}/callbacks/")
    return url.removeprefix(PUBLIC)


async def call(service: Service, path: str, body: Any) -> int:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (await service.http.post(service.url + path, content=content)).status_code


async def start(service: Service, prompt: str = "A fox", **more: Any) -> str:
    result = await service.ask("luma_generate_video", {"prompt": prompt, **more})
    task_id: str = result["task_id"]
    return task_id


@pytest.fixture
def backend(clock: HandClock) -> Sandbox:
    return sandbox(clock)


@pytest.fixture
async def service(backend: Sandbox, clock: HandClock) -> AsyncIterator[Service]:
    async with serving(settings(public_url=PUBLIC), backend, clock) as running:
        yield running


async def test_a_callback_makes_the_owners_next_call_read_the_backend(
    service: Service, backend: Sandbox, clock: HandClock
) -> None:
    task_id = await start(service)
    await service.ask("luma_get_task", {"task_id": task_id})
    path = called_on(backend, task_id)
    clock.advance(1)
    reads = backend.reads
    await service.ask("luma_get_task", {"task_id": task_id})
    assert backend.reads == reads, "its state is still fresh"
    assert await call(service, path, {"success": True, "task_id": task_id}) == 204
    await service.ask("luma_get_task", {"task_id": task_id})
    assert backend.reads == reads + 1


async def test_the_body_of_a_callback_is_never_shown(service: Service, backend: Sandbox) -> None:
    task_id = await start(service)
    lie = {"success": True, "task_id": task_id, "state": "completed", "video_url": "https://evil.example.com/v.mp4"}
    assert await call(service, called_on(backend, task_id), lie) == 204
    task = await service.ask("luma_get_task", {"task_id": task_id})
    assert task["state"] == "pending"
    assert "video_url" not in task


BODIES: list[tuple[Any, int]] = [
    (b"", 400),
    (b"not json", 400),
    (b"[" * 9000, 400),
    (b"\xff\xfe", 400),
    ([], 400),
    ("task", 400),
    ({}, 400),
    ({"task_id": None}, 400),
    ({"task_id": ["a"]}, 400),
    ({"task_id": ""}, 400),
    ({"task_id": "x" * 129}, 400),
    ({"task_id": "another-task"}, 409),
    (b" " * MAX_CALLBACK_BYTES + b"{}", 413),
]


@pytest.mark.parametrize(("body", "status"), BODIES)
async def test_an_invalid_callback_gets_an_error_status_and_causes_no_read(
    service: Service, backend: Sandbox, body: Any, status: int
) -> None:
    task_id = await start(service)
    await service.ask("luma_get_task", {"task_id": task_id})
    path, reads = called_on(backend, task_id), backend.reads
    assert await call(service, path, body) == status
    await service.ask("luma_get_task", {"task_id": task_id})
    assert backend.reads == reads


@pytest.mark.parametrize("ticket", ["", "x", "v1.abc", "A" * 90, "%00", "é", "A" * 3000])
async def test_an_invalid_callback_token_is_404(service: Service, ticket: str) -> None:
    assert await call(service, f"/callbacks/{ticket}", {"task_id": "a"}) == 404


async def test_a_tampered_callback_token_is_404(service: Service, backend: Sandbox) -> None:
    task_id = await start(service)
    path = called_on(backend, task_id)
    for place in range(len("/callbacks/"), len(path), 7):
        changed = "B" if path[place] == "A" else "A"
        assert await call(service, path[:place] + changed + path[place + 1 :], {"task_id": task_id}) == 404


async def test_other_methods_are_405(service: Service, backend: Sandbox) -> None:
    path = called_on(backend, await start(service))
    assert (await service.http.get(service.url + path)).status_code == 405


async def test_duplicate_callbacks_cause_one_read(service: Service, backend: Sandbox) -> None:
    task_id = await start(service)
    path = called_on(backend, task_id)
    reads = backend.reads
    for _ in range(5):
        assert await call(service, path, {"task_id": task_id}) == 204
        await service.ask("luma_get_task", {"task_id": task_id})
    assert backend.reads == reads + 1


async def test_a_repeated_callback_does_not_read_the_database(
    backend: Sandbox, clock: HandClock, tmp_path: Path
) -> None:
    file = tmp_path / "luma.db"
    async with serving(settings(public_url=PUBLIC, database_url=f"sqlite:///{file}"), backend, clock) as service:
        task_id = await start(service)
        path = called_on(backend, task_id)
        assert await call(service, path, {"success": True, "task_id": task_id}) == 204
        file.unlink()
        assert await call(service, path, {"success": True, "task_id": task_id}) == 204
        assert await call(service, path, {"success": True, "task_id": "another"}) == 409


async def test_a_callback_about_a_finished_task_causes_no_read(
    service: Service, backend: Sandbox, clock: HandClock
) -> None:
    task_id = await start(service)
    path = called_on(backend, task_id)
    clock.advance(SECONDS)
    await service.ask("luma_get_task", {"task_id": task_id})
    reads = backend.reads
    assert await call(service, path, {"task_id": task_id}) == 204
    assert (await service.ask("luma_get_task", {"task_id": task_id}))["state"] == "completed"
    assert backend.reads == reads


async def test_a_callback_url_of_one_tenant_does_not_affect_anothers_task(service: Service, backend: Sandbox) -> None:
    mine = await start(service)
    other = (await service.ask("luma_generate_video", {"prompt": "A cat"}, token="token-b"))["task_id"]
    assert await call(service, called_on(backend, other), {"task_id": mine}) == 409
    assert await call(service, called_on(backend, mine), {"task_id": other}) == 409


@pytest.mark.parametrize("tool", ["luma_generate_video", "luma_extend_video", "luma_extend_video_from_url"])
async def test_a_callers_own_callback_url_is_passed_to_the_backend_unchanged(
    service: Service, backend: Sandbox, clock: HandClock, tool: str
) -> None:
    url = "https://hooks.example.com/luma?x=1"
    arguments = {"prompt": "A fox", "callback_url": url}
    name = {"luma_extend_video": "video_id", "luma_extend_video_from_url": "video_url"}.get(tool)
    if name is not None:
        first = await start(service)
        clock.advance(SECONDS)
        arguments[name] = (await service.ask("luma_get_task", {"task_id": first}))[name]
    task_id = (await service.ask(tool, arguments))["task_id"]
    assert backend.read("anyone", {"id": task_id})["request"]["callback_url"] == url


async def test_without_a_public_url_no_callback_url_is_sent(clock: HandClock, backend: Sandbox) -> None:
    async with serving(settings(), backend, clock) as private:
        task_id = await start(private)
        assert "callback_url" not in backend.read("anyone", {"id": task_id})["request"]
        assert await call(private, "/callbacks/x", {"task_id": task_id}) == 404


@asynccontextmanager
async def calling_back(
    clock: HandClock, redis: RedisServer, database_url: str
) -> AsyncIterator[tuple[Service, Service, Sandbox]]:
    """Two replicas on one Redis and one database, and a backend that calls the second one."""
    client = httpx.AsyncClient()
    addresses: list[str] = []

    async def deliver(url: str, body: dict[str, Any]) -> None:
        await client.post(addresses[0] + url.removeprefix(PUBLIC), json=body)

    backend = Sandbox(
        seconds=40,
        media_url="https://cdn.example.com",
        clock=clock,
        sleep=clock.sleep,
        behaviour=FREE,
        deliver=deliver,
    )
    values = settings(public_url=PUBLIC, redis_url=redis.url, database_url=database_url)
    async with serving(values, backend, clock) as one, serving(values, backend, clock) as other, client:
        addresses.append(other.url)
        yield one, other, backend
        await backend.callbacks.close()


STEP_SECONDS = 0.1
"""By how much the clock advances while Redis, a database and HTTP take 10 ms of real time, or more."""


async def test_ten_tasks_that_end_at_different_times_cost_at_most_a_read_each_and_end_the_wait(
    clock: HandClock, redis_server: RedisServer, database_url: str
) -> None:
    async with calling_back(clock, redis_server, database_url) as (one, _, backend):
        task_ids = []
        for number in range(10):
            task_ids.append(await start(one, f"Fox {number}"))
            clock.advance(2)
        ends = clock.now - 2 + 40
        questions = [one.ask("luma_get_tasks_batch", {"task_ids": task_ids, "wait_seconds": 50}) for _ in range(3)]
        batches = await while_time_passes(clock, asyncio.gather(*questions), step=STEP_SECONDS)
    assert [batch["counts"]["completed"] for batch in batches] == [10, 10, 10]
    assert backend.reads <= 10
    assert clock.now - ends <= 1.5, "the wait ended with the last callback, not with a schedule"


async def test_a_call_without_a_wait_before_the_wait_adds_one_read(
    clock: HandClock, redis_server: RedisServer, database_url: str
) -> None:
    async with calling_back(clock, redis_server, database_url) as (one, _, backend):
        task_id = await start(one)
        await one.ask("luma_get_task", {"task_id": task_id})
        answer = one.ask("luma_get_task", {"task_id": task_id, "wait_seconds": 50})
        task = await while_time_passes(clock, answer, step=STEP_SECONDS)
    assert task["state"] == "completed"
    assert backend.reads == 2, "the plain question's, and the callback's"


@pytest.mark.parametrize("left_there", [None, b"noise"])
async def test_a_callback_ends_the_wait_after_redis_lost_its_data(
    clock: HandClock, redis_server: RedisServer, database_url: str, left_there: bytes | None
) -> None:
    async with calling_back(clock, redis_server, database_url) as (one, _, backend):
        task_id, began = await start(one), clock.now
        answer = asyncio.create_task(one.ask("luma_get_task", {"task_id": task_id, "wait_seconds": 50}))
        await while_time_passes(clock, clock.sleep(20), step=STEP_SECONDS)
        with redis_server.client() as client:
            for key in client.scan_iter(f"*:{SNAPSHOT_KIND}:*"):
                client.set(key, left_there) if left_there else client.delete(key)
        task = await while_time_passes(clock, answer, step=STEP_SECONDS)
    assert task["state"] == "completed"
    assert clock.now - began <= 42
    assert backend.reads <= 3


class Holding(httpx.AsyncBaseTransport):
    """A transport that runs `before_answer` with the callback URL and the task id before it answers a submission."""

    def __init__(self, backend: Sandbox, before_answer: Callable[[str, str], Awaitable[None]]) -> None:
        self._inner = httpx.ASGITransport(sandbox_app(backend))
        self._before_answer = before_answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.url.path == "/luma/videos":
            task_id = json.loads(await response.aread())["task_id"]
            await self._before_answer(json.loads(request.content)["callback_url"], task_id)
        return response


async def test_a_false_callback_before_the_submissions_answer_does_not_delay_the_owner(
    clock: HandClock, backend: Sandbox
) -> None:
    services: list[Service] = []

    async def propose_a_foreign_task(url: str, task_id: str) -> None:
        path = url.removeprefix(PUBLIC)
        assert await call(services[0], path, {"task_id": "a-foreign-task"}) == 202
        assert await call(services[0], path, {"task_id": task_id}) == 202, "the true one comes second"

    async with serving(settings(public_url=PUBLIC), Holding(backend, propose_a_foreign_task), clock) as service:
        services.append(service)
        task_id, began = await start(service), clock.now
        answer = service.ask("luma_get_task", {"task_id": task_id, "wait_seconds": 50})
        task = await while_time_passes(clock, answer)
    assert task["state"] == "completed"
    assert clock.now - began < 30, "read on schedule, as without callbacks"


async def test_a_database_outage_during_the_submission_does_not_delay_the_wait(
    clock: HandClock, backend: Sandbox, fragile_postgres: PostgresServer
) -> None:
    async def lose_the_database(_url: str, _task_id: str) -> None:
        await asyncio.to_thread(fragile_postgres.stop)

    values = settings(public_url=PUBLIC, database_url=fragile_postgres.url)
    async with serving(values, Holding(backend, lose_the_database), clock) as service:
        task_id, began = await start(service), clock.now
        answer = service.ask("luma_get_task", {"task_id": task_id, "wait_seconds": 50})
        task = await while_time_passes(clock, answer)
    assert task["state"] == "completed"
    assert clock.now - began < 30


class Breaking(httpx.AsyncBaseTransport):
    """A transport that loses the first answer to a submission."""

    def __init__(self, backend: Sandbox) -> None:
        self._inner = httpx.ASGITransport(sandbox_app(backend))
        self.lost: list[dict[str, Any]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.url.path == "/luma/videos" and not self.lost:
            self.lost.append(json.loads(await response.aread()) | {"url": json.loads(request.content)["callback_url"]})
            raise httpx.ReadError("reset", request=request)
        return response


KEYED = {"prompt": "A fox", "idempotency_key": "fox-1"}


async def test_a_callback_completes_a_purchase_with_an_unknown_outcome(clock: HandClock, backend: Sandbox) -> None:
    network = Breaking(backend)
    async with serving(settings(public_url=PUBLIC), network, clock) as service:
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "backend_timeout"
        path = network.lost[0]["url"].removeprefix(PUBLIC)
        assert await call(service, path, {"task_id": network.lost[0]["task_id"]}) == 202
        again = await service.ask("luma_generate_video", KEYED)
    assert again["task_id"] == network.lost[0]["task_id"]
    assert again["replayed"] is True
    assert backend.submissions("token-a") == 1


@pytest.mark.parametrize("false_claims", [1, MAX_CALLBACK_TASKS + 2])
async def test_false_callbacks_do_not_hide_the_true_one(clock: HandClock, backend: Sandbox, false_claims: int) -> None:
    network = Breaking(backend)
    async with serving(settings(public_url=PUBLIC), network, clock) as service:
        await service.fail("luma_generate_video", KEYED)
        path, task_id = network.lost[0]["url"].removeprefix(PUBLIC), network.lost[0]["task_id"]
        for claimed in (*(f"false-{number}" for number in range(false_claims)), task_id, task_id):
            assert await call(service, path, {"task_id": claimed}) == 202
        again = await service.ask("luma_generate_video", KEYED)
    assert (again["task_id"], again["replayed"]) == (task_id, True)
    assert backend.submissions("token-a") == 1


async def test_a_forged_callback_completes_no_purchase(clock: HandClock, backend: Sandbox) -> None:
    network = Breaking(backend)
    async with serving(settings(public_url=PUBLIC), network, clock) as service:
        await service.fail("luma_generate_video", KEYED)
        foreign = await start(service, "Somebody else's", callback_url="https://hooks.example.com/")
        path = network.lost[0]["url"].removeprefix(PUBLIC)
        assert await call(service, path, {"task_id": foreign}) == 202
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "backend_timeout"


async def test_a_callback_with_an_invalid_task_id_is_malformed(service: Service, backend: Sandbox) -> None:
    path = called_on(backend, await start(service))
    assert await call(service, path, {"task_id": "\ud800"}) == 400
    assert await call(service, path, {"task_id": "a\nb"}) == 400


def test_a_disconnect_in_the_middle_of_a_callback_logs_no_traceback(tmp_path: Path) -> None:
    values = environment(public_url=PUBLIC, acedata_url="http://127.0.0.1:9")
    with serving_process(cwd=tmp_path, env=values) as server:
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=10) as client:
            client.sendall(b"POST /callbacks/x HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 20\r\n\r\n{")
            client.shutdown(socket.SHUT_WR)
            client.recv(1000)
        assert httpx.get(f"{server.url}/livez").status_code == 200
    assert "exception" not in server.log()


@pytest.mark.parametrize(
    "url",
    [
        f"{PUBLIC}/callbacks/x",
        "https://LUMA.example.com./callbacks/x",
        "http://luma.example.com:8443/",
        "https://also.example.com/callbacks/x",
        "https://[2606:4700:0:0::6810:085b]/callbacks/x",
        "https://8.8.4.4/callbacks/x",
        "https://[::ffff:8.8.4.4]/callbacks/x",
        "https://[::ffff:0808:0404]/callbacks/x",
        "https://[2002:808:404::1]/callbacks/x",
        "https://[64:ff9b::8.8.4.4]/callbacks/x",
        "https://[::FFFF:8.8.8.8]/callbacks/x",
        "https://8.8.8.8/callbacks/x",
    ],
)
@pytest.mark.parametrize(
    ("tool", "name", "more"),
    [
        ("luma_generate_video", "callback_url", {}),
        ("luma_generate_video_from_image", "start_image_url", {}),
        ("luma_generate_video_from_image", "end_image_url", {}),
        ("luma_extend_video", "end_image_url", {"video_id": "v"}),
        ("luma_extend_video", "callback_url", {"video_id": "v"}),
        ("luma_extend_video_from_url", "callback_url", {"video_url": "https://cdn.example.com/v.mp4"}),
        ("luma_extend_video_from_url", "video_url", {}),
    ],
)
async def test_urls_in_arguments_must_not_point_to_this_service(
    backend: Sandbox, url: str, tool: str, name: str, more: dict[str, str]
) -> None:
    values = settings(
        public_url=PUBLIC,
        allowed_hosts=(
            "127.0.0.1:*",
            "also.example.com:*",
            "[2606:4700::6810:85b]",
            "8.8.4.4:*",
            "[::ffff:8.8.8.8]",
            "*",
        ),
    )
    async with serving(values, backend) as service:
        error = await service.fail(tool, {"prompt": "A fox", **more, name: url})
    assert error["message"].startswith(f"`{name}` leads to this service itself")
    assert backend.submissions("token-a") == 0


async def test_urls_in_arguments_must_not_point_to_the_punycode_name_of_this_service(backend: Sandbox) -> None:
    async with serving(settings(public_url="https://bücher.example.com", allowed_hosts=("127.0.0.1:*",)), backend) as s:
        url = "https://XN--BCHER-KVA.example.com/callbacks/x"
        error = await s.fail("luma_generate_video", {"prompt": "A fox", "callback_url": url})
        page = await s.http.get(f"{s.url}/", headers={"host": "xn--bcher-kva.example.com"})
    assert error["message"].startswith("`callback_url` leads to this service itself")
    assert page.status_code == 200


@pytest.mark.parametrize("prefix", ["/luma", ""], ids=["proxy keeps the path", "proxy strips it"])
async def test_a_callback_under_a_path_is_taken(backend: Sandbox, clock: HandClock, prefix: str) -> None:
    async with serving(settings(public_url=f"{PUBLIC}/luma/mcp"), backend, clock) as service:
        task_id = await start(service)
        url: str = backend.read("anyone", {"id": task_id})["request"]["callback_url"]
        assert url.startswith(f"{PUBLIC}/luma/callbacks/")
        path = url.removeprefix(f"{PUBLIC}/luma")
        assert await call(service, f"{prefix}{path}", {"task_id": task_id}) == 204
        assert await call(service, f"{prefix}{path}x", {"task_id": task_id}) == 404


@pytest.mark.parametrize(("given", "seconds"), [({}, 24 * 3600), ({"idempotency_seconds": 2 * 86_400}, 2 * 86_400)])
async def test_a_callback_url_is_valid_as_long_as_a_key(
    backend: Sandbox, clock: HandClock, given: dict[str, int], seconds: int
) -> None:
    async with serving(settings(public_url=PUBLIC, **given), backend, clock) as service:
        task_id = await start(service)
        path = called_on(backend, task_id)
        clock.advance(seconds - 1)
        assert await call(service, path, {"task_id": "another"}) in (202, 409)
        clock.advance(2)
        assert await call(service, path, {"task_id": task_id}) == 404


async def test_redis_contains_no_usable_callback_url(
    clock: HandClock, backend: Sandbox, redis_server: RedisServer
) -> None:
    network = Breaking(backend)
    async with serving(settings(public_url=PUBLIC, redis_url=redis_server.url), network, clock) as service:
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "backend_timeout"
        sealed = network.lost[0]["url"].rpartition("/")[2]
        with redis_server.client() as client:
            names = list(client.scan_iter())
            held = b" ".join([*names, *(client.dump(name) for name in names)])
        assert b"callbacks" not in held
        assert sealed.encode() not in held
        assert await call(service, f"/callbacks/{sealed}", {"task_id": network.lost[0]["task_id"]}) == 202
        assert (await service.ask("luma_generate_video", KEYED))["task_id"] == network.lost[0]["task_id"]


def content_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_the_database_contains_no_usable_callback_url(clock: HandClock, backend: Sandbox, tmp_path: Path) -> None:
    network, url = Breaking(backend), f"sqlite:///{tmp_path}/luma.db"
    async with serving(settings(public_url=PUBLIC, database_url=url), network, clock) as service:
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "backend_timeout"
        await start(service, "Another fox")
        sealed = network.lost[0]["url"].rpartition("/")[2]
        held = content_of(tmp_path)
        assert await call(service, f"/callbacks/{sealed}", {"task_id": network.lost[0]["task_id"]}) == 202
    held += content_of(tmp_path)
    assert b"purchases" in held
    assert sealed.encode() not in held
    assert b"/callbacks/" not in held


async def test_no_log_of_a_process_holds_the_ticket_of_a_callback(tmp_path: Path) -> None:
    """Good, late, repeated, foreign and broken callbacks: the path of each is the ticket."""
    backend = create_sandbox(seconds=1000, media_url="https://cdn.example.com")
    async with listening(backend) as backend_url:
        values = environment(public_url=PUBLIC, acedata_url=backend_url, allowed_hosts="*", log_level="DEBUG")
        with serving_process(cwd=tmp_path, env=values) as server:
            url = await asyncio.to_thread(lambda: server.url)
            async with httpx.AsyncClient(timeout=30) as client:
                message, headers = envelope("tools/call", {"name": "luma_generate_video", "arguments": KEYED}, MODERN)
                sent = {**headers, "authorization": "Bearer token-a", "accept": "application/json"}
                bought = (await client.post(f"{url}/mcp", json=message, headers=sent)).json()
                task_id = bought["result"]["structuredContent"]["result"]["task_id"]
                path = called_on(backend.state.sandbox, task_id)
                bodies: list[Any] = [{"task_id": task_id}, {"task_id": task_id}, {"task_id": "foreign"}, []]
                statuses = [(await client.post(url + path, json=body)).status_code for body in bodies]
                statuses.append((await client.get(url + path)).status_code)
                statuses.append((await client.post(f"{url}{path}x", json={})).status_code)
        log = await asyncio.to_thread(server.log)
    assert statuses == [204, 204, 409, 400, 405, 404]
    assert "luma_generate_video" in log
    assert path.rpartition("/")[2] not in log
    assert "/callbacks/" not in log


@pytest.mark.parametrize("foreign", [{"prompt": "A cat"}, {"prompt": "A fox", "start_image_url": "https://e.com/a"}])
async def test_a_task_with_another_prompt_completes_no_purchase(
    clock: HandClock, backend: Sandbox, foreign: dict[str, Any]
) -> None:
    """A leaked callback token can be sent with another submission, so that the backend echoes the right one."""
    network = Breaking(backend)
    async with serving(settings(public_url=PUBLIC), network, clock) as service:
        await service.fail("luma_generate_video", KEYED)
        url = network.lost[0]["url"]
        body = {**foreign, "callback_url": url, "async": True}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox_app(backend))) as elsewhere:
            answer = await elsewhere.post(
                "http://backend/luma/videos", json=body, headers={"authorization": "Bearer token-a"}
            )
        task_id = answer.json()["task_id"]
        assert await call(service, url.removeprefix(PUBLIC), {"task_id": task_id}) == 202
        assert (await service.fail("luma_generate_video", KEYED))["code"] == "backend_timeout"

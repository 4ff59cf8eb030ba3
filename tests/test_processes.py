"""The command as its users run it: started, asked, told to stop."""

import asyncio
import json
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.adapters.sandbox.backend import create_sandbox
from app.cli.serve import OTHER_OPEN_FILES
from app.observability.metrics_folder import MULTIPROCESS_VARIABLE
from tests.support.eventually import eventually
from tests.support.process import Server, environment, run, serving_process, workers_of
from tests.support.redis_server import RedisServer, free_port
from tests.support.service import KEY, listening

HEADERS = {"authorization": "Bearer token-a"}


def message(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def ask(url: str, tool: str, **arguments: Any) -> Any:
    response = httpx.post(f"{url}/mcp", json=message(tool, **arguments), headers=HEADERS, timeout=30)
    return response.json()["result"]["structuredContent"]["result"]


def ask_until(url: str, task_ids: list[str], state: str) -> Any:
    """Ask again and again, as told, until the first task has reached `state`."""
    pause = threading.Event()
    for _ in range(100):
        batch = ask(url, "luma_get_tasks_batch", task_ids=task_ids)
        if batch["tasks"][0]["state"] == state:
            return batch
        pause.wait(0.1)
    raise AssertionError(batch)


def until_ready(url: str) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as client:
        assert client.get(f"{url}/readyz", timeout=30).json()["status"] == "ready"


def test_the_sandbox_makes_a_video_that_plays(tmp_path: Path) -> None:
    env = environment(sandbox_seconds="0.5", pending_ttl_seconds="0.1")
    with serving_process("--sandbox", cwd=tmp_path, env=env) as server:
        started = ask(server.url, "luma_generate_video", prompt="A red fox trots through fresh snow at dawn")
        batch = ask_until(server.url, [started["task_id"]], "completed")
        video = httpx.get(batch["tasks"][0]["video_url"])
        task = ask(server.url, "luma_get_task", task_id=started["task_id"])
        thumbnail = httpx.get(task["thumbnail_url"])
    assert video.headers["content-type"] == "video/mp4"
    assert video.content[4:8] == b"ftyp"
    assert thumbnail.content[:2] == b"\xff\xd8"


def test_the_sandboxs_own_video_can_be_extended_by_its_url(tmp_path: Path) -> None:
    env = environment(sandbox_seconds="0.2", pending_ttl_seconds="0.1")
    with serving_process("--sandbox", cwd=tmp_path, env=env) as server:
        started = ask(server.url, "luma_generate_video", prompt="A fox")
        task = ask_until(server.url, [started["task_id"]], "completed")["tasks"][0]
        extended = ask(server.url, "luma_extend_video_from_url", prompt="It jumps", video_url=task["video_url"])
    assert extended["state"] == "pending"


STOPPING = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
"""A supervisor, and Ctrl-C."""


@STOPPING
def test_a_signal_ends_an_idle_service_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        until_ready(server.url)
        server.process.send_signal(number)
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log()


def test_the_limit_of_open_files_is_raised_for_the_connections(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment(connections="1500")) as server:
        until_ready(server.url)
        soft, hard = psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft >= min(1500 + OTHER_OPEN_FILES, hard)


def test_a_port_in_use_is_reported_in_a_sentence(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        port = server.url.rsplit(":", 1)[1]
        second = run("serve", "--sandbox", "--port", port, cwd=tmp_path, env=environment())
    assert second.returncode == 2
    assert "Cannot listen on 127.0.0.1" in second.stderr
    assert "Traceback" not in second.stderr


def slow_backend(arrived: asyncio.Event, go_on: asyncio.Event) -> Starlette:
    async def tasks(_request: Request) -> JSONResponse:
        arrived.set()
        await go_on.wait()
        return JSONResponse({})

    return Starlette(routes=[Route("/luma/tasks", tasks, methods=["POST"])])


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/event-stream"])
async def test_sigterm_lets_calls_in_flight_finish(tmp_path: Path, accept: str) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()
    async with listening(slow_backend(arrived, go_on)) as backend, httpx.AsyncClient(timeout=30) as client:
        with serving_process(cwd=tmp_path, env=environment(acedata_url=backend)) as server:
            url = await asyncio.to_thread(lambda: server.url)
            call = message("luma_get_task", task_id="some-id")
            call["params"]["_meta"] = {"progressToken": "p"}
            asking = asyncio.create_task(client.post(f"{url}/mcp", json=call, headers={**HEADERS, "accept": accept}))
            async with asyncio.timeout(20):
                await arrived.wait()
            server.process.send_signal(signal.SIGTERM)
            await eventually(lambda: refused(client, url))
            go_on.set()
            answer = await asking
            code = await asyncio.to_thread(server.process.wait, 30)
    assert answer.status_code == 200
    assert "not_found" in answer.text
    assert code == 0


@STOPPING
async def test_a_signal_answers_those_who_wait_for_tasks_with_what_is_known(
    tmp_path: Path, number: signal.Signals
) -> None:
    env = environment(sandbox_seconds="1000")
    with serving_process("--sandbox", cwd=tmp_path, env=env) as server:
        started = await asyncio.to_thread(ask, server.url, "luma_generate_video", prompt="A fox")
        call = message("luma_get_tasks_batch", task_ids=[started["task_id"]], wait_seconds=50)
        call["params"]["_meta"] = {"progressToken": "p"}
        headers = {**HEADERS, "accept": "application/json, text/event-stream"}
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("POST", f"{server.url}/mcp", json=call, headers=headers) as answer,
        ):
            told = (json.loads(line[5:]) async for line in answer.aiter_lines() if line.startswith("data: {"))
            first = await anext(told)
            server.process.send_signal(number)
            *more_progress, last = [one async for one in told]
        code = await asyncio.to_thread(server.process.wait, 30)
    assert first["method"] == "notifications/progress"
    assert len(more_progress) <= 1, "the wait ends when progress would be next"
    batch = last["result"]["structuredContent"]["result"]
    assert [task["state"] for task in batch["tasks"]] == ["pending"]
    assert batch["ask_again_in_seconds"] is not None
    assert code == 0


async def refused(client: httpx.AsyncClient, url: str) -> bool:
    try:
        await client.get(f"{url}/livez", headers={"connection": "close"})
    except httpx.TransportError:
        return True
    return False


async def test_ctrl_c_ends_workers_and_their_waits_without_a_traceback(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    backend = create_sandbox(seconds=1000, media_url="https://cdn.example.com")
    async with listening(backend) as backend_url, httpx.AsyncClient(timeout=30, headers=HEADERS) as client:
        env = environment(acedata_url=backend_url, redis_url=redis_server.url, secret_key=KEY)
        with serving_process("--workers", "2", cwd=tmp_path, env=env) as server:
            url = await asyncio.to_thread(lambda: server.url)
            await asyncio.to_thread(until_ready, url)
            started = await asyncio.to_thread(ask, url, "luma_generate_video", prompt="A fox")
            call = message("luma_get_task", task_id=started["task_id"], wait_seconds=50)
            call["params"]["_meta"] = {"progressToken": "p"}
            headers = {"accept": "application/json, text/event-stream"}
            async with client.stream("POST", f"{url}/mcp", json=call, headers=headers) as answer:
                told = [line async for line in _after_ctrl_c(server, answer)]
            code = await asyncio.to_thread(server.process.wait, 30)
    assert '"state":"pending"' in told[-1]
    assert code == 0
    assert "Traceback" not in server.log()


async def _after_ctrl_c(server: Server, answer: httpx.Response) -> AsyncIterator[str]:
    """Yield the messages of a stream; with the first, a terminal's Ctrl-C reaches the service and all its workers."""
    lines = (line async for line in answer.aiter_lines() if line.startswith("data: {"))
    yield await anext(lines)
    parent = psutil.Process(server.process.pid)
    for process in (parent, *parent.children(recursive=True)):
        process.send_signal(signal.SIGINT)
    async for line in lines:
        yield line


async def test_workers_share_a_port_a_cache_and_their_metrics(tmp_path: Path, redis_server: RedisServer) -> None:
    backend = create_sandbox(seconds=0.1, media_url="https://cdn.example.com")
    async with listening(backend) as backend_url:
        env = environment(
            acedata_url=backend_url, redis_url=redis_server.url, secret_key=KEY, pending_ttl_seconds="0.1"
        )
        with serving_process("--workers", "2", cwd=tmp_path, env=env) as server:
            metrics = await asyncio.to_thread(use_workers, server.url)
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, 60) == 0
    assert total(metrics, "luma_mcp_calls_total") == 1 + CALLS
    assert all(metrics.count(f"\n{name}{{pid=") == 2 for name in PROCESS_METRICS)
    assert all(f"\nluma_mcp_{name} " in metrics for name in GAUGES)
    assert "_created" not in metrics
    assert backend.state.sandbox.submissions("token-a") == 1


CALLS = 40
PROCESS_METRICS = ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds")
GAUGES = ("calls_in_flight", "waiting_callers", "listeners", "submissions_in_flight")


def use_workers(url: str) -> str:
    until_ready(url)
    started = ask(url, "luma_generate_video", prompt="A fox")
    for _ in range(CALLS):
        ask(url, "luma_get_task", task_id=started["task_id"])
    return httpx.get(f"{url}/metrics").text


def total(metrics: str, name: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(name))


async def test_a_worker_that_is_killed_before_it_answers_its_supervisor_is_replaced(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    env = environment(redis_url=redis_server.url, secret_key=KEY)
    with serving_process("--workers", "2", cwd=tmp_path, env=env) as server:
        await asyncio.to_thread(until_ready, server.url)
        supervisor = psutil.Process(server.process.pid)
        await eventually(lambda: len(workers_of(supervisor)) == 2)
        killed, other = workers_of(supervisor)
        killed.suspend()
        await until_idle(supervisor)
        killed.kill()
        await eventually(lambda: len({*workers_of(supervisor)} - {killed, other}) == 1)


async def until_idle(supervisor: psutil.Process) -> None:
    """Wait until the supervisor has not run for twice its period of 0.5 s: it waits for a worker's answer."""
    switches, since = supervisor.num_ctx_switches(), time.monotonic()

    def is_idle() -> bool:
        nonlocal switches, since
        if (now := supervisor.num_ctx_switches()) != switches:
            switches, since = now, time.monotonic()
        return time.monotonic() - since > 1

    await eventually(is_idle)


def test_metrics_move_to_a_port_of_their_own(tmp_path: Path) -> None:
    port = free_port()
    with serving_process("--sandbox", cwd=tmp_path, env=environment(metrics=str(port))) as server:
        ask(server.url, "luma_list_actions")
        assert httpx.get(f"{server.url}/metrics").status_code == 404
        url = f"http://127.0.0.1:{port}"
        assert total(httpx.get(f"{url}/metrics").text, "luma_mcp_calls_total") == 1
        for path in ("/mcp", "/livez", "/", "/metrics/"):
            assert httpx.get(f"{url}{path}").status_code == 404
        statuses = {host: httpx.get(f"{url}/metrics", headers={"host": host}).status_code for host in SCRAPED}
        assert statuses == SCRAPED
        page = httpx.get(f"{url}/metrics", headers={"origin": "https://pages.example.com"})
        assert page.status_code == 403


SCRAPED = {"10.1.2.3:9090": 200, "[fd00::7]:9090": 200, "luma-mcp.tools.svc:9090": 200, "rebound.example.org": 421}
"""Hosts of requests to the port of metrics, and the status of their answers."""


def test_the_port_of_metrics_has_the_limits_of_the_main_one(tmp_path: Path) -> None:
    port = free_port()
    env = environment(metrics=str(port), head_seconds="0.3", connections="4")
    with serving_process("--sandbox", cwd=tmp_path, env=env) as server:
        until_ready(server.url)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as half_sent:
            half_sent.sendall(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n")
            assert half_sent.recv(65536).startswith(b"HTTP/1.1 408")
            assert half_sent.recv(65536) == b""
        idle = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(8)]
        assert idle[0].recv(1) == b"", "closed for a newer one"
        assert httpx.get(f"http://127.0.0.1:{port}/metrics").status_code == 200
        for one in idle:
            one.close()


def test_a_folder_of_metrics_starts_without_the_counts_of_ended_processes(tmp_path: Path) -> None:
    env = environment() | {MULTIPROCESS_VARIABLE: str(tmp_path)}
    for _ in range(2):
        with serving_process("--sandbox", cwd=tmp_path, env=env) as server:
            ask(server.url, "luma_list_actions")
            metrics = httpx.get(f"{server.url}/metrics").text
            assert total(metrics, "luma_mcp_calls_total") == 1
            assert total(metrics, "process_resident_memory_bytes") > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_administration_moves_to_a_port_of_its_own(tmp_path: Path, redis_server: RedisServer, workers: int) -> None:
    port = free_port()
    env = environment(
        auth="keys",
        admin=str(port),
        database_url=f"sqlite:///{tmp_path}/luma.db",
        secret_key=KEY,
        redis_url=redis_server.url,
    )
    run("teams", "create", "film", cwd=tmp_path, env=env)
    run("members", "add", "film", "anna", cwd=tmp_path, env=env)
    created = run("keys", "create", "film", "anna", "--scope", "admin", "--json", cwd=tmp_path, env=env)
    headers = {"authorization": f"Bearer {json.loads(created.stdout)['key']}"}
    with serving_process("--workers", str(workers), cwd=tmp_path, env=env) as server:
        until_ready(server.url)
        for _ in range(4 * workers):
            team = httpx.get(f"http://127.0.0.1:{port}/admin/v1/team", headers=headers)
            assert (team.status_code, team.json().get("name")) == (200, "film"), team.text
            assert httpx.get(f"{server.url}/admin/v1/team", headers=headers).status_code == 404
        for path in ("/mcp", "/livez", "/metrics", "/"):
            elsewhere = httpx.post(f"http://127.0.0.1:{port}{path}", headers=headers)
            assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "not_found")


def test_an_admin_setting_that_cannot_work_is_refused(tmp_path: Path) -> None:
    env = environment(database_url=f"sqlite:///{tmp_path}/luma.db", secret_key=KEY)
    without_keys = run("serve", cwd=tmp_path, env=env | {"LUMA_MCP_ADMIN": "on"})
    assert (without_keys.returncode, "LUMA_MCP_AUTH" in without_keys.stderr) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        more = {"LUMA_MCP_ADMIN": str(taken.getsockname()[1]), "LUMA_MCP_AUTH": "keys"}
        ended = run("serve", "--port", "0", cwd=tmp_path, env=env | more)
    assert (ended.returncode, "choose another LUMA_MCP_ADMIN" in ended.stderr) == (2, True)


def test_metrics_can_be_switched_off(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment(metrics="off")) as server:
        assert httpx.get(f"{server.url}/metrics").status_code == 404


REFUSED = [
    ({"redis_url": "redis://127.0.0.1:1/0"}, [], "LUMA_MCP_SECRET_KEY must be set because Redis is used"),
    ({}, ["--workers", "2"], "LUMA_MCP_SECRET_KEY must be set because there is more than one worker"),
    ({"secret_key": "hunter2"}, [], "LUMA_MCP_SECRET_KEY must be at least 32 bytes"),
    ({"batch_limit": "hunter2"}, [], "LUMA_MCP_BATCH_LIMIT should be a valid integer"),
    ({"acedata_url": "hunter2"}, [], "LUMA_MCP_ACEDATA_URL must be an http or https URL"),
    ({"backend": "hunter2"}, [], "LUMA_MCP_BACKEND should be 'acedata' or 'sandbox'"),
    ({"redis_url": "http://hunter2", "secret_key": KEY}, [], "LUMA_MCP_REDIS_URL is none of redis://"),
    ({"secret_key": KEY}, ["--sandbox", "--workers", "2"], "run it with one worker"),
    ({"secret_key": KEY}, ["--workers", "2"], "Several workers need LUMA_MCP_REDIS_URL"),
]


@pytest.mark.parametrize(("values", "arguments", "sentence"), REFUSED)
def test_a_setting_that_cannot_be_used_stops_the_start_with_a_sentence(
    tmp_path: Path, values: dict[str, str], arguments: list[str], sentence: str
) -> None:
    ended = run("serve", "--port", "0", *arguments, cwd=tmp_path, env=environment(**values))
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr


def test_a_refusal_says_how_to_make_a_key(tmp_path: Path) -> None:
    ended = run("serve", "--workers", "2", cwd=tmp_path, env=environment())
    assert "openssl rand" in ended.stderr


async def test_check_shows_settings_with_their_origin_and_masks_secrets(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    (tmp_path / ".env").write_text("LUMA_MCP_BATCH_LIMIT=20\nLUMA_MCP_BACTH_LIMIT=3\n", encoding="utf-8")
    async with listening(create_sandbox(seconds=1, media_url="https://cdn.example.com")) as backend:
        env = environment(redis_url=redis_server.url, secret_key=KEY, acedata_url=backend)
        ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
    assert ended.returncode == 0, ended.stdout
    assert "LUMA_MCP_BATCH_LIMIT = 20  (.env)" in ended.stdout
    assert "LUMA_MCP_SECRET_KEY = ********  (environment)" in ended.stdout
    assert "LUMA_MCP_PENDING_TTL_SECONDS = 3.0  (default)" in ended.stdout
    assert "LUMA_MCP_BACTH_LIMIT is not a setting" in ended.stdout
    assert f"Redis at 127.0.0.1:{redis_server.port} answers" in ended.stdout
    assert KEY not in ended.stdout
    assert redis_server.url not in ended.stdout


def test_check_fails_where_nothing_answers(tmp_path: Path) -> None:
    env = environment(redis_url="redis://127.0.0.1:1/0", secret_key=KEY, acedata_url="http://127.0.0.1:1")
    ended = run("check", cwd=tmp_path, env=env)
    assert ended.returncode == 1
    assert "Redis at 127.0.0.1:1 does not answer" in ended.stdout
    assert "127.0.0.1:1 does not answer" in ended.stdout


def test_every_log_line_is_json_and_a_call_is_one_line(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        ask(server.url, "luma_list_actions")
        httpx.post(f"{server.url}/mcp", json={}, headers={"host": "evil.example.com"})
        server.process.terminate()
        lines = [json.loads(line) for line in server.log().splitlines()]
    calls = [line for line in lines if line["event"] == "call"]
    assert [call["tool"] for call in calls] == ["luma_list_actions"]
    fields = {"request_id", "tenant", "tool", "outcome", "ms", "hits", "backend_calls", "era", "client"}
    assert fields <= calls[0].keys()
    assert any("evil.example.com" in line["event"] for line in lines)


def test_text_logs_are_for_people(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment(log_format="text")) as server:
        ask(server.url, "luma_list_actions")
        server.process.terminate()
        log = server.log()
    assert "tool=luma_list_actions" in log
    assert not log.startswith("{")


def holding_backend(buying: asyncio.Event, go_on: asyncio.Event, sold: list[str]) -> Starlette:
    """Return a backend that takes its time over a submission, and counts what it sold."""

    async def videos(_request: Request) -> JSONResponse:
        sold.append(f"task-{len(sold)}")
        task_id = sold[-1]
        buying.set()
        await go_on.wait()
        return JSONResponse({"task_id": task_id})

    return Starlette(routes=[Route("/luma/videos", videos, methods=["POST"])])


async def test_a_key_buys_nothing_more_after_its_replica_was_killed_while_sending(
    tmp_path: Path, redis_server: RedisServer, database_url: str
) -> None:
    buying, go_on, sold = asyncio.Event(), asyncio.Event(), list[str]()
    call = message("luma_generate_video", prompt="A fox", idempotency_key="fox-1")
    async with listening(holding_backend(buying, go_on, sold)) as backend, httpx.AsyncClient(timeout=90) as client:
        env = environment(acedata_url=backend, redis_url=redis_server.url, database_url=database_url, secret_key=KEY)
        with serving_process(cwd=tmp_path, env=env) as one, serving_process(cwd=tmp_path, env=env) as other:
            urls = await asyncio.to_thread(lambda: (one.url, other.url))
            first = asyncio.create_task(client.post(f"{urls[0]}/mcp", json=call, headers=HEADERS))
            async with asyncio.timeout(20):
                await buying.wait()
            one.process.kill()
            await asyncio.wait([first])
            go_on.set()
            age_purchases(database_url, seconds=61)
            again = await client.post(f"{urls[1]}/mcp", json=call, headers=HEADERS)
            retried = message("luma_generate_video", prompt="A fox", idempotency_key="fox-1", retry_unknown=True)
            bought = await client.post(f"{urls[1]}/mcp", json=retried, headers=HEADERS)
    assert "retry_unknown" in again.json()["result"]["structuredContent"]["result"]["error"]["message"]
    assert sold == ["task-0", "task-1"], "the second one only when it was asked for"
    assert bought.json()["result"]["structuredContent"]["result"]["task_id"] == "task-1"


def age_purchases(database_url: str, *, seconds: float) -> None:
    """Make every purchase look as if it had been made earlier."""
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE purchases SET created_at = created_at - ?1, changed_at = changed_at - ?1", [seconds])

"""Every URL that the service advertises works, or a sentence names the setting that it needs."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.process import COMMAND, Server, environment, run, serving_process
from tests.support.service import serving, settings

PUBLIC = "https://luma.example.com"
TOKEN = {"authorization": "Bearer token-a"}


def finished_video(url: str) -> str:
    """Make a video in the sandbox behind `url` and return the address of the file."""
    started = called(url, "luma_generate_video", prompt="A fox")
    task: str = called(url, "luma_get_task", task_id=started["task_id"], wait_seconds=50)["video_url"]
    return task


def called(url: str, tool: str, **arguments: Any) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    response = httpx.post(f"{url}/mcp", json=call, headers=TOKEN, timeout=60)
    return response.json()["result"]["structuredContent"]["result"]


def plays(address: str) -> bool:
    return httpx.get(address).content[4:8] == b"ftyp"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"])
def test_the_address_in_the_log_and_that_of_the_videos_are_answered(tmp_path: Path, host: str) -> None:
    with serving_process("--sandbox", "--host", host, cwd=tmp_path, env=environment(sandbox_seconds="0.1")) as server:
        page = httpx.get(f"{server.url}/")
        assert plays(finished_video(server.url))
    assert page.status_code == 200
    assert f"{server.url}/mcp" in page.text


def test_listening_on_all_addresses_logs_the_setting_for_other_machines(tmp_path: Path) -> None:
    with serving_process("--sandbox", "--host", "0.0.0.0", cwd=tmp_path, env=environment()) as server:
        status = httpx.get(f"{server.url}/", headers={"host": "192.0.2.7:8000"}).status_code
    assert status == 421
    assert "LUMA_MCP_ALLOWED_HOSTS or LUMA_MCP_PUBLIC_URL" in server.log()


def test_a_teams_public_url_stays_out_of_a_sandbox_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"LUMA_MCP_PUBLIC_URL={PUBLIC}\nLUMA_MCP_SANDBOX_SECONDS=0.1\n")
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        page = httpx.get(f"{server.url}/").text
        assert plays(finished_video(server.url))
    assert PUBLIC not in page
    assert f"{server.url}/mcp" in page


def test_the_videos_of_a_sandbox_under_a_path_play_with_and_without_that_path(tmp_path: Path) -> None:
    env = environment(backend="sandbox", public_url=f"{PUBLIC}/luma", sandbox_seconds="0.1")
    with serving_process(cwd=tmp_path, env=env) as server:
        video = finished_video(server.url)
        assert video.startswith(f"{PUBLIC}/luma/")
        kept = video.removeprefix(PUBLIC)
        assert plays(f"{server.url}{kept}"), "behind a proxy that keeps the path"
        assert plays(f"{server.url}{kept.removeprefix('/luma')}"), "behind one that strips it"


class Stdio:
    """A client of the program over its standard input and output."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._number = 0

    def send(self, method: str, **params: Any) -> None:
        assert self.process.stdin is not None
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self.process.stdin.write(f"{json.dumps(message)}\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def call(self, tool: str, **arguments: Any) -> Any:
        self.send("tools/call", name=tool, arguments=arguments)
        return self.receive()["result"]["structuredContent"]["result"]


@contextmanager
def stdio(cwd: Path, **values: str) -> Iterator[Stdio]:
    """Run `luma-mcp stdio --sandbox` with an initialized client; its input stays open until the block ends."""
    process = subprocess.Popen(
        [COMMAND, "stdio", "--sandbox"],
        cwd=cwd,
        env=environment(**values),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        client = Stdio(process)
        info = {"name": "tests", "version": "1"}
        client.send("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=info)
        client.receive()
        yield client
        if process.poll() is None:
            process.kill()


def test_the_videos_of_a_sandbox_over_stdio_play(tmp_path: Path) -> None:
    with stdio(tmp_path, sandbox_seconds="0.1", public_url=PUBLIC) as client:
        started = client.call("luma_generate_video", prompt="A fox")
        task = client.call("luma_get_task", task_id=started["task_id"], wait_seconds=50)
        assert plays(task["video_url"])
        extended = client.call("luma_extend_video_from_url", prompt="It jumps", video_url=task["video_url"])
    assert extended["state"] == "pending"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_answers_a_wait_over_stdio_and_ends_the_program(tmp_path: Path, number: signal.Signals) -> None:
    with stdio(tmp_path, sandbox_seconds="1000") as client:
        started = client.call("luma_generate_video", prompt="A fox")
        arguments = {"task_id": started["task_id"], "wait_seconds": 50}
        client.send("tools/call", name="luma_get_task", arguments=arguments, _meta={"progressToken": "p"})
        assert client.receive()["method"] == "notifications/progress"
        client.process.send_signal(number)
        answer = client.receive()
        while answer.get("method") == "notifications/progress":
            answer = client.receive()
        assert client.process.wait(30) == 0
        assert client.process.stderr is not None
        said = client.process.stderr.read()
    assert answer["result"]["structuredContent"]["result"]["state"] == "pending"
    assert "Traceback" not in said


DOUBT = "This address may be wrong"


def page_behind_tls(server: Server) -> str:
    return httpx.get(f"{server.url}/", headers={"x-forwarded-proto": "https"}).text


def test_the_page_behind_a_proxy_says_what_to_set_or_names_the_right_address(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        said = page_behind_tls(server)
        assert DOUBT in said
        assert "LUMA_MCP_TRUSTED_PROXIES" in said
        assert DOUBT not in httpx.get(f"{server.url}/").text
    with serving_process("--sandbox", cwd=tmp_path, env=environment(trusted_proxies="127.0.0.1")) as server:
        said = page_behind_tls(server)
        assert DOUBT not in said
        assert f"{server.url.replace('http:', 'https:')}/mcp" in said


async def test_the_page_with_a_public_url_has_no_warning() -> None:
    async with serving(settings(public_url=PUBLIC), httpx.MockTransport(lambda _: httpx.Response(200))) as service:
        said = (await service.http.get(f"{service.url}/", headers={"x-forwarded-host": "other.example.com"})).text
    assert DOUBT not in said
    assert f"{PUBLIC}/mcp" in said


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    ended = run("--version", cwd=tmp_path, env=environment())
    assert ended.returncode == 0
    assert ended.stdout.startswith("luma-mcp 1.")

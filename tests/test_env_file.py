"""Sources of settings. A settings file that somebody else put into a folder must not redirect tokens."""

import asyncio
import contextlib
import subprocess
from pathlib import Path

import httpx
import pytest

from app.adapters.sandbox.backend import create_sandbox
from app.settings import Settings, SettingsError, load_settings
from tests.support.process import COMMAND, environment, run, serving_process
from tests.support.redis_server import RedisServer
from tests.support.service import KEY, listening

FOREIGN = "LUMA_MCP_BACKEND=sandbox\nLUMA_MCP_ACEDATA_URL=http://127.0.0.1:1\nLUMA_MCP_TOKEN=planted\n"


def stdio(*arguments: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `luma-mcp stdio` with an input that is at its end."""
    return subprocess.run(  # noqa: PLW1510 - the exit status is what tests look at
        [COMMAND, "stdio", *arguments],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_stdio_does_not_read_the_env_file_of_the_folder_it_is_started_in(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(FOREIGN, encoding="utf-8")
    ended = stdio(cwd=tmp_path, env=environment())
    assert ended.returncode == 2
    assert "LUMA_MCP_TOKEN" in ended.stderr


def test_stdio_reads_a_file_that_is_named_outright(tmp_path: Path) -> None:
    (tmp_path / "mine.env").write_text("LUMA_MCP_BACKEND=sandbox\n", encoding="utf-8")
    assert stdio("--env-file", "mine.env", cwd=tmp_path, env=environment()).returncode == 0


@pytest.mark.parametrize("command", ["stdio", "serve", "check"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_named_file_that_cannot_be_read_stops_the_start(tmp_path: Path, command: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "mine.env").write_bytes(content)
    ended = run(command, "--env-file", "mine.env", cwd=tmp_path, env=environment())
    assert ended.returncode == 2
    assert "The settings file mine.env cannot be read" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_check_says_which_file_a_setting_came_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LUMA_MCP_BATCH_LIMIT=20\n", encoding="utf-8")
    (tmp_path / "mine.env").write_text("LUMA_MCP_BACKEND=sandbox\nLUMA_MCP_BACTH_LIMIT=3\n", encoding="utf-8")
    ended = run("check", "--env-file", "mine.env", cwd=tmp_path, env=environment())
    assert "LUMA_MCP_BACKEND = sandbox  (mine.env)" in ended.stdout
    assert "LUMA_MCP_BATCH_LIMIT = 200  (default)" in ended.stdout
    assert "LUMA_MCP_BACTH_LIMIT is not a setting" in ended.stdout


async def test_workers_read_the_file_that_was_named(tmp_path: Path, redis_server: RedisServer) -> None:
    async with listening(create_sandbox(seconds=0.1, media_url="https://cdn.example.com")) as backend:
        lines = {"ACEDATA_URL": backend, "REDIS_URL": redis_server.url, "SECRET_KEY": KEY}
        text = "".join(f"LUMA_MCP_{name}='{value}'\n" for name, value in lines.items())
        (tmp_path / "mine.env").write_text(text, encoding="utf-8")
        with serving_process("--workers", "2", "--env-file", "mine.env", cwd=tmp_path, env=environment()) as server:
            url = await asyncio.to_thread(lambda: server.url)
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=20)) as client:
                ready = await client.get(f"{url}/readyz", timeout=30)
    assert ready.json()["store"] == "redis"


def test_settings_made_without_a_file_read_none(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LUMA_MCP_BATCH_LIMIT=20\n", encoding="utf-8")
    with contextlib.chdir(tmp_path):
        assert Settings().batch_limit == load_settings(None).batch_limit == 200
        assert load_settings(".env").batch_limit == 20


@pytest.mark.parametrize(
    "name", ["ACEDATA_URL", "PUBLIC_URL", "ACEDATA_AUTH_URL", "ACEDATA_PLATFORM_URL", "OIDC_ISSUER", "JWT_ISSUER"]
)
@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://luma.example.com", True),
        ("http://127.0.0.1:8000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8000", True),
        ("http://localhost:8000", True),
        ("http://luma.example.com", False),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0:8000", False),
        ("http://127.0.0.1@luma.example.com", False),
    ],
)
def test_plain_http_is_for_loopback_only(tmp_path: Path, name: str, url: str, *, taken: bool) -> None:
    (tmp_path / "mine.env").write_text(f"LUMA_MCP_{name}={url}\n", encoding="utf-8")
    path = str(tmp_path / "mine.env")
    if taken:
        assert getattr(load_settings(path), name.lower()) == url
    else:
        with pytest.raises(SettingsError, match=f"LUMA_MCP_{name} must begin with https://"):
            load_settings(path)


@pytest.mark.parametrize("name", ["public_url", "acedata_url"])
def test_a_url_with_a_password_is_refused_without_being_repeated(tmp_path: Path, name: str) -> None:
    ended = run("check", cwd=tmp_path, env=environment(**{name: "https://somebody:hunter2@luma.example.com"}))
    assert ended.returncode == 2
    assert f"LUMA_MCP_{name.upper()} must hold no user name or password" in ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr


def test_a_malformed_line_of_the_settings_file_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LUMA_MCP_REDIS_URL:redis://:hunter2@10.0.0.1/0\n", encoding="utf-8")
    ended = run("check", cwd=tmp_path, env=environment())
    assert "LUMA_MCP_REDIS_URL… is not a setting" in ended.stdout
    assert "hunter2" not in ended.stdout + ended.stderr

"""The commands of docs/teams.md work as written, in order, while two replicas run."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.adapters.sandbox.backend import create_sandbox
from tests.support.databases import empty_database
from tests.support.postgres_server import PostgresServer
from tests.support.process import environment, serving_process, shell_command
from tests.support.redis_server import RedisServer
from tests.support.service import KEY, listening

DOCUMENT = (Path(__file__).parents[2] / "docs" / "teams.md").read_text(encoding="utf-8")
EXAMPLE_ID, EXAMPLE_URL = "0123456789ab", "http://localhost:8000"
STOPPED_WITHIN_SECONDS = 5


@dataclass
class Shell:
    """Runs the commands of the document, with the address, keys and ids of this run in the place of the examples."""

    folder: Path
    env: dict[str, str]
    urls: list[str]
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def done(self, written: str, *, example_id: str = EXAMPLE_ID) -> str:
        """Run one command, and return what it printed. Raises AssertionError if it failed."""
        command = written.replace(EXAMPLE_URL, self.urls[0]).replace(EXAMPLE_ID, example_id)
        command = re.sub(r"^luma-mcp ", f"{shell_command()} ", command)
        given = {name.upper(): made["key"] for name, made in self.keys.items()}
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", command, cwd=self.folder, env={**self.env, **given},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, complaint = await process.communicate()
        assert (process.returncode, complaint) == (0, b""), (written, complaint)
        return said.decode()

    async def made(self, written: str, *, example_id: str = EXAMPLE_ID) -> dict[str, Any]:
        """Run one command with --json, and return its document."""
        document: dict[str, Any] = json.loads(await self.done(f"{written} --json", example_id=example_id))
        return document

    async def result(self, written: str) -> dict[str, Any]:
        """Run a curl command that calls a tool, and return the result."""
        answer: dict[str, Any] = json.loads(await self.done(written))
        result: dict[str, Any] = answer["result"]["structuredContent"]["result"]
        return result

    async def status(self, url: str, key: str) -> int:
        async with httpx.AsyncClient() as client:
            ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            headers = {"authorization": f"Bearer {key}", "accept": "application/json"}
            return (await client.post(f"{url}/mcp", json=ping, headers=headers)).status_code


@pytest.fixture
async def shell(tmp_path: Path, shared_postgres: PostgresServer, redis_server: RedisServer) -> AsyncIterator[Shell]:
    async with listening(create_sandbox(seconds=600, media_url="https://cdn.example.com")) as backend:
        env = environment(
            database_url=await empty_database(shared_postgres),
            redis_url=redis_server.url,
            secret_key=KEY,
            auth="passthrough,keys",
            acedata_url=backend,
        )
        (tmp_path / "token.txt").write_text("a-token-for-tests", encoding="utf-8")
        with serving_process(cwd=tmp_path, env=env) as one, serving_process(cwd=tmp_path, env=env) as other:
            urls = [await asyncio.to_thread(lambda server: server.url, server) for server in (one, other)]
            yield Shell(tmp_path, env, urls)


def section(title: str) -> str:
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def steps(title: str) -> list[str]:
    """Return the commands of a section, in their order."""
    return re.findall(r"^   ((?:luma-mcp|curl) .+)$", section(title), re.MULTILINE)


def rows(title: str) -> list[list[str]]:
    """Return the commands in each row of the tables of a section."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [found for line in lines if (found := re.findall(r"`(luma-mcp [^`]+)`", line))]


async def test_the_commands_of_the_walkthrough_work_in_order(shell: Shell) -> None:
    walk = steps("A team, step by step")
    assert len(walk) == 22
    for number, command in enumerate(walk):
        if "keys create" in command:
            shell.keys["ben" if "film ben" in command else "anna"] = await shell.made(command)
        elif command.startswith("curl"):
            await check_call(shell, command, is_over_budget="bear" in command)
        elif "keys rotate" in command or "keys revoke" in command:
            await replace(shell, command)
        else:
            await shell.done(command)
        if "members stop" in command:
            await check_stopped(shell, walk[number - 1])


async def check_call(shell: Shell, command: str, *, is_over_budget: bool) -> None:
    result = await shell.result(command)
    if is_over_budget:
        assert result["error"]["code"] == "budget_exceeded"
    elif "luma_list_tasks" in command:
        assert [task["member"] for task in result["tasks"]] == ["anna"]
    else:
        assert result["state"] == "pending"


async def check_stopped(shell: Shell, call: str) -> None:
    """Wait until spending is refused as stopped, at most as long as the document promises."""
    async with asyncio.timeout(STOPPED_WITHIN_SECONDS):
        while (await shell.result(call))["error"]["code"] != "stopped":
            pass


async def replace(shell: Shell, command: str) -> None:
    """Rotate Ben's key, or revoke it: then it is refused on both replicas within what the document promises."""
    old = shell.keys["ben"]
    if "rotate" in command:
        shell.keys["new"] = await shell.made(command, example_id=old["id"])
        assert [await shell.status(url, old["key"]) for url in shell.urls] == [200, 200]
        return
    await shell.done(command, example_id=old["id"])
    async with asyncio.timeout(STOPPED_WITHIN_SECONDS):
        for url in shell.urls:
            while await shell.status(url, old["key"]) != 401:
                pass
    assert [await shell.status(url, shell.keys["new"]["key"]) for url in shell.urls] == [200, 200]


async def test_the_other_commands_of_the_document_work_in_order(shell: Shell) -> None:
    for command in steps("A team, step by step")[:7]:
        await shell.done(command)
    later = [*rows("Later"), *rows("Budgets")]
    assert sum(map(len, later)) == 25
    for row in later:
        noun = "credentials add film --backend acedata < token.txt" if "credentials" in str(row) else ""
        made = json.loads(await shell.done(f"luma-mcp {noun or 'keys create film anna'} --json"))
        for command in row:
            await shell.done(command, example_id=made["id"])
    limits = steps("Rate limits")
    assert len(limits) == 4
    [for_administration] = [command for command in steps("Over HTTP") if command.startswith("luma-mcp")]
    for command in [*limits, for_administration]:
        await shell.done(command)

"""Clients that sign in, against two replicas behind a load balancer that changes with each connection."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.clients.world import NODE, PACKAGES, NotHere, NotWell, World, npm_program, system_program
from tests.support import press
from tests.support.acedata_login import fake_acedata
from tests.support.clock import HandClock
from tests.support.oauth import LOCAL_REDIRECT, SignInFleet, sign_in_fleet
from tests.support.redis_server import free_port

SECONDS = 60
OK = 200


@asynccontextmanager
async def _fleet(world: World) -> AsyncIterator[SignInFleet]:
    values = {"database_url": f"sqlite:///{world.home}/luma.db", "log_level": "ERROR"}
    async with (
        asyncio.timeout(SECONDS),
        fake_acedata() as acedata,
        sign_in_fleet(HandClock(), acedata, replicas=2, in_real_time=True, **values) as fleet,
    ):
        fleet.alternate()
        yield fleet


def typescript_1(world: World) -> None:
    """Sign in with the TypeScript SDK 1.x."""
    npm_program("typescript-1", "@modelcontextprotocol/sdk/package.json")
    asyncio.run(_typescript(world, "typescript-1"))


def typescript_2(world: World) -> None:
    """Sign in with the TypeScript SDK 2.x."""
    npm_program("typescript-2", "@modelcontextprotocol/client/package.json")
    asyncio.run(_typescript(world, "typescript-2"))


async def _typescript(world: World, folder: str) -> None:
    async with _fleet(world) as fleet:
        process = await asyncio.create_subprocess_exec(
            str(NODE),
            str(Path(__file__).with_name("sign_in.mjs")),
            str(PACKAGES / folder),
            f"{fleet.issuer}/mcp",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=world.environment(),
            cwd=world.home,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        asked = await process.stdout.readline()
        if asked:
            answer = await asyncio.to_thread(press.approve, json.loads(asked)["url"], LOCAL_REDIRECT)
            process.stdin.write(f"{LOCAL_REDIRECT}?{urlencode(answer)}\n".encode())
        out, err = await process.communicate()
        if process.returncode:
            raise NotWell(f"it ended with {process.returncode}: {err.decode()[-1500:]}")
    seen = json.loads(out)
    if seen["listed"] != [seen["task_id"]] or seen["refreshes"] != 1:
        raise NotWell(f"it has seen {seen}")


def mcp_remote(world: World) -> None:
    """Sign in with mcp-remote, which opens a browser and listens for the answer itself."""
    program = npm_program("mcp-remote", "mcp-remote/dist/proxy.js")
    browser = world.home / "xdg-open"
    browser.write_text(f'#!/bin/sh\nexec {sys.executable} {press.__file__} "$@"\n')
    browser.chmod(0o755)
    asyncio.run(_mcp_remote(world, program, browser))


async def _mcp_remote(world: World, program: Path, browser: Path) -> None:
    environment = world.environment()
    env = {**environment, "BROWSER": str(browser), "PATH": f"{world.home}:{environment['PATH']}"}
    async with _fleet(world) as fleet:
        arguments = [str(program), f"{fleet.issuer}/mcp", "--allow-http", "--silent"]
        command = StdioServerParameters(command=str(NODE), args=arguments, env=env, cwd=world.home)
        async with Client(command, mode="legacy") as client:
            started = await client.call_tool("luma_generate_video", {"prompt": "A fox"})
        if started.is_error or not fleet.acedata.authorized:
            raise NotWell(f"the call ended with {started}")


def fastmcp(world: World) -> None:
    """Sign in with fastmcp's client, which listens for the answer itself."""
    python = Path(sys.prefix) / "fastmcp" / "bin" / "python"
    if not python.exists():
        raise NotHere("`make clients` prepares its environment")
    asyncio.run(_fastmcp(world, python))


async def _fastmcp(world: World, python: Path) -> None:
    env = {**world.environment(), "PYTHONPATH": str(Path(press.__file__).parent)}
    async with _fleet(world) as fleet:
        program = str(Path(__file__).with_name("sign_in_fastmcp.py"))
        process = await asyncio.create_subprocess_exec(
            str(python),
            program,
            f"{fleet.issuer}/mcp",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=world.home,
        )
        out, err = await process.communicate()
        if process.returncode:
            raise NotWell(f"it ended with {process.returncode}: {err.decode()[-1500:]}")
    seen = json.loads(out)
    if seen["listed"] != [seen["task_id"]]:
        raise NotWell(f"it has seen {seen}")


def chromium(world: World) -> None:
    """Press both buttons of the consent page in a Chromium."""
    program = system_program("chromium")
    for button in ("approve", "deny"):
        asyncio.run(_chromium(world, program, button))


async def _chromium(world: World, program: Path, button: str) -> None:
    port = free_port()
    async with _fleet(world) as fleet:
        client = fleet.client(redirect_uri=f"http://127.0.0.1:{port}/callback")
        await client.register(client_name="Pressed")
        process = await asyncio.create_subprocess_exec(
            str(NODE),
            str(Path(__file__).with_name("sign_in_chromium.mjs")),
            *(str(program), str(world.home), client.url(), button, str(port)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=world.environment(),
            cwd=world.home,
        )
        out, err = await process.communicate()
        if process.returncode:
            raise NotWell(f"{button}: it ended with {process.returncode}: {err.decode()[-1500:]}")
        seen = json.loads(out)
        if seen["names"] != ["Deny", "Approve"] or seen["violations"]:
            raise NotWell(f"{button}: it has seen {seen}")
        answer = dict(parse_qsl(urlsplit(seen["callback"]).query))
        if button == "deny" and answer.get("error") != "access_denied":
            raise NotWell(f"{button}: it came back with {sorted(answer)}")
        if button == "approve" and (await client.exchange(answer["code"])).status_code != OK:
            raise NotWell(f"{button}: the code could not be exchanged")

"""mcp-remote, the bridge by which Claude Desktop reaches a server over HTTP through standard input and output."""

import asyncio
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.clients.world import NODE, NotWell, World, npm_program

MODES = ("legacy", "auto")


def run(world: World) -> None:
    program = npm_program("mcp-remote", "mcp-remote/dist/proxy.js")
    arguments = [str(program), world.mcp_url, "--header", "Authorization:${LUMA_AUTHORIZATION}", "--silent"]
    env = {**world.environment(), "LUMA_AUTHORIZATION": world.authorization}
    command = StdioServerParameters(command=str(NODE), args=arguments, env=env, cwd=world.home)
    for mode in MODES:
        asyncio.run(_talk(command, mode))


async def _talk(command: StdioServerParameters, mode: Any) -> None:
    async with asyncio.timeout(60), Client(command, mode=mode) as client:
        started = await client.call_tool("luma_generate_video", {"prompt": "A red fox"})
        question = {"task_ids": [_result(started)["task_id"]], "wait_seconds": 30}
        waited = _result(await client.call_tool("luma_get_tasks_batch", question))
        if waited["tasks"][0]["state"] != "completed":
            raise NotWell(f"{mode}: the wait ended with {waited}")
        refused = await client.call_tool("luma_generate_video_from_image", {"prompt": "No image is given"})
        if not refused.is_error or "start_image_url" not in str(refused.content):
            raise NotWell(f"{mode}: the refusal of a bad call was {refused}")


def _result(answer: Any) -> dict[str, Any]:
    result: dict[str, Any] = answer.structured_content["result"]
    return result

"""The official MCP Inspector's command line, in each protocol era that it can speak.

In the modern era it declares the Tasks extension, so its `tools/call` buys the video and waits for it.
"""

import json
from typing import Any

from tests.clients.agent import count_submissions
from tests.clients.world import NODE, Finished, World, npm_program

ERAS = ("legacy", "auto", "modern")


def run(world: World) -> None:
    program = npm_program("inspector", "@modelcontextprotocol/inspector/clients/launcher/build/index.js")

    def ask(era: str, *arguments: str) -> Finished:
        target = ("--server-url", world.mcp_url, "--transport", "http")
        header = ("--header", f"Authorization: {world.authorization}")
        return world.run(
            NODE, program, "--cli", *target, *header, "--protocol-era", era, "--format", "json", *arguments
        )

    def call(era: str, tool: str, arguments: dict[str, Any]) -> Finished:
        given = ("--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        return ask(era, "--method", "tools/call", *given)

    for number, era in enumerate(ERAS, 1):
        listed = ask(era, "--method", "tools/list", "--strict")
        listed.expect(listed.status == 0 and _result(listed)["tools"], f"{era}: tools/list --strict")
        started = call(era, "luma_generate_video", {"prompt": "A red fox"})
        started.expect(started.status == 0 and not _result(started)["isError"], f"{era}: luma_generate_video")
        task_id = _result(started)["structuredContent"]["result"]["task_id"]
        waited = call(era, "luma_get_tasks_batch", {"task_ids": [task_id], "wait_seconds": 30})
        waited.expect(waited.status == 0 and '"completed"' in waited.out, f"{era}: luma_get_tasks_batch")
        bad = call(era, "luma_generate_video_from_image", {"prompt": "No image is given"})
        bad.expect("start_image_url" in f"{bad.out}{bad.err}", f"{era}: the refusal of a bad call is not shown")
        bought = count_submissions(world)
        bad.expect(bought == number, f"{era}: {bought} videos were bought instead of {number}")


def _result(finished: Finished) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(finished.out)["result"]
    except (ValueError, KeyError, TypeError):
        finished.expect(condition=False, fault="it printed no result")
        raise
    return result

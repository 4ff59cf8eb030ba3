"""A client of the 2025 revisions, run in its own environment: starts videos and waits for them in one call."""

# mypy: ignore-errors
import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(url: str) -> None:
    """Use the service at `url`; what was seen goes to standard output."""
    told: list[list[object]] = []

    async def progress(done: float, total: float | None, words: str | None) -> None:
        told.append([done, total, words])

    headers = {"Authorization": "Bearer token-a"}
    async with (
        streamablehttp_client(f"{url}/mcp", headers=headers) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        revision = (await session.initialize()).protocolVersion
        ids = []
        for number in range(2):
            started = await session.call_tool("luma_generate_video", {"prompt": f"Fox {number}"})
            ids.append(started.structuredContent["result"]["task_id"])
        question = {"task_ids": ids, "wait_seconds": 30}
        batch = await session.call_tool("luma_get_tasks_batch", question, progress_callback=progress)
    seen = {"revision": revision, "told": told, "counts": batch.structuredContent["result"]["counts"]}
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""fastmcp's client, run in its own environment: signs in with a person who presses Approve, and calls a tool."""

# mypy: ignore-errors
import asyncio
import json
import sys

import press
from fastmcp import Client
from fastmcp.client.auth import OAuth


class PressingOAuth(OAuth):
    """Opens no browser of this computer."""

    async def redirect_handler(self, authorization_url: str) -> None:
        """Have the person approve, who then calls the client's own server."""
        self.pressing = asyncio.create_task(asyncio.to_thread(press.approve, authorization_url))


async def main(url: str) -> None:
    """Use the MCP endpoint at `url`; what was seen goes to standard output."""
    async with Client(url, auth=PressingOAuth()) as client:
        started = await client.call_tool("luma_generate_video", {"prompt": "A fox"})
        listed = await client.call_tool("luma_list_tasks", {})
    seen = {
        "task_id": started.structured_content["result"]["task_id"],
        "listed": [task["task_id"] for task in listed.structured_content["result"]["tasks"]],
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

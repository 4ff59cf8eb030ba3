"""A client of the 2025 revisions, run in its own environment: signs in, starts a video, and lets its token expire."""

# mypy: ignore-errors
import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.auth import OAuthClientMetadata
from press import approve

REDIRECT = "http://127.0.0.1:53111/callback"


class Storage:
    """Keeps tokens and registration in memory."""

    def __init__(self) -> None:
        self.tokens = self.client = None
        self.refreshes = 0

    async def get_tokens(self) -> object:
        return self.tokens

    async def set_tokens(self, tokens: object) -> None:
        self.refreshes += self.tokens is not None
        self.tokens = tokens

    async def get_client_info(self) -> object:
        return self.client

    async def set_client_info(self, client: object) -> None:
        self.client = client


async def main(url: str) -> None:
    """Use the service at `url`; what was seen goes to standard output."""
    answer: dict[str, str] = {}
    storage = Storage()

    async def redirect(authorization_url: str) -> None:
        answer.update(await asyncio.to_thread(approve, authorization_url, REDIRECT))

    async def callback() -> tuple[str, str | None]:
        return answer["code"], answer.get("state")

    metadata = OAuthClientMetadata(client_name="Python SDK 1", redirect_uris=[REDIRECT], scope="read generate")
    auth = OAuthClientProvider(f"{url}/mcp", metadata, storage, redirect, callback)
    async with (
        streamablehttp_client(f"{url}/mcp", auth=auth) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        started = await session.call_tool("luma_generate_video", {"prompt": "A fox"})
        storage.tokens.access_token = "lat_expired"
        auth.context.token_expiry_time = 1.0
        listed = await session.call_tool("luma_list_tasks", {})
    seen = {
        "task_id": started.structuredContent["result"]["task_id"],
        "listed": [task["task_id"] for task in listed.structuredContent["result"]["tasks"]],
        "refreshes": storage.refreshes,
        "scope": storage.tokens.scope,
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

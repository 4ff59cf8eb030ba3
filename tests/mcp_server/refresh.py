"""Rewrites the snapshot of tools/list after an intended change."""

import asyncio
import json

from tests.mcp_server.test_surface import SNAPSHOT, listed
from tests.support.clock import HandClock
from tests.support.service import sandbox, serving, settings


async def main() -> None:
    """Ask the service for its tools and keep the answer."""
    async with serving(settings(), sandbox(HandClock())) as service:
        SNAPSHOT.write_text(json.dumps(await listed(service), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())

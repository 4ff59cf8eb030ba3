# ruff: noqa: T201 - the parent process reads the address
"""A fastmcp server with its response-caching middleware over the same backend, in a virtual environment of its own."""

import socket
import sys
from typing import Any

import httpx2  # a dependency of fastmcp
import uvicorn
from fastmcp import FastMCP
from fastmcp.server.middleware.caching import ResponseCachingMiddleware

backend = httpx2.AsyncClient(base_url=sys.argv[1])
server: FastMCP[Any] = FastMCP("fastmcp-server", middleware=[ResponseCachingMiddleware()])


@server.tool  # type: ignore[untyped-decorator]
async def luma_get_tasks_batch(task_ids: list[str]) -> dict[str, Any]:
    answer = await backend.post("/luma/tasks", json={"action": "retrieve_batch", "ids": task_ids})
    return {"tasks": [lean(item) for item in answer.json()["items"]], "missing": [], "unavailable": []}


def lean(item: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that the service's own answer has."""
    response = item["response"]
    return {
        "task_id": item["id"],
        "state": "completed",
        "video_id": response["video_id"],
        "video_url": response["video_url"],
        "video_width": response["video_width"],
        "video_height": response["video_height"],
        "thumbnail_url": response["thumbnail_url"],
        "prompt": item["request"]["prompt"],
        "created_at": item["created_at"],
        "finished_at": item["finished_at"],
        "elapsed_seconds": item["elapsed"],
    }


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"Serving MCP at http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    app = server.http_app(stateless_http=True, json_response=True)
    config = uvicorn.Config(app, log_level="error", access_log=False, http="httptools", ws="none")
    uvicorn.Server(config).run(sockets=[listener])

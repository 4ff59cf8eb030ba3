"""A server in the SDK's usual style: an MCPServer tool that returns a constant structured answer, read from a file."""

import json
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette

from tests.support.serve import serve


def sdk_server(answer: dict[str, Any]) -> Starlette:
    """Return an application with one tool, which returns `answer`."""
    server = MCPServer("sdk-server")

    @server.tool()
    async def luma_get_tasks_batch(task_ids: list[str]) -> dict[str, Any]:
        return answer

    return server.streamable_http_app(json_response=True, stateless_http=True)


if __name__ == "__main__":
    serve(sdk_server(json.loads(Path(sys.argv[1]).read_text())))

"""An application in a process of its own, served as the service itself is."""

import uvicorn
from starlette.types import ASGIApp

from app.cli.serve import listening_socket
from app.web.connection.protocol import DisconnectAwareProtocol


def serve(app: ASGIApp, port: int = 0) -> None:
    """Serve `app` on a loopback port, by default a free one, as the service itself is served, and say where."""
    socket = listening_socket("127.0.0.1", port)
    print(f"Serving MCP at http://127.0.0.1:{socket.getsockname()[1]}/mcp", flush=True)  # noqa: T201 - for the harness
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http=DisconnectAwareProtocol,
        ws="none",
        lifespan="auto",
    )
    uvicorn.Server(config).run(sockets=[socket])

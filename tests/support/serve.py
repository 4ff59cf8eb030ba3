"""A server for an ASGI application in a child process, with the service's own socket options and protocol class."""

import uvicorn
from starlette.types import ASGIApp

from app.cli.serve import listening_socket
from app.web.connection.protocol import DisconnectAwareProtocol


def serve(app: ASGIApp, port: int = 0) -> None:
    """Serve `app` on a loopback port (0: a free one) until a signal ends it. Prints the address for the parent."""
    socket = listening_socket("127.0.0.1", port)
    print(f"Serving MCP at http://127.0.0.1:{socket.getsockname()[1]}/mcp", flush=True)  # noqa: T201 - the parent reads it
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

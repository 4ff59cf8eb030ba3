"""A server with the SDK's session manager only: no authentication, log, metrics or lookup, and a constant answer.

It is as cheap as the SDK's public API allows, so that no service through the SDK can be faster.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.types import ASGIApp

from app.web.app import RootApp
from tests.support.serve import serve

ANSWER = {
    "content": [{"type": "text", "text": "1 completed."}],
    "structuredContent": {"result": {}},
    "isError": False,
    "resultType": "complete",
}


async def constant(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Answer every request with ANSWER, without calling a handler."""
    return ANSWER


def sdk_alone() -> ASGIApp:
    """Return the application."""
    server: Server[Any] = Server("sdk-alone", version="1")
    server.middleware[:] = [constant]
    manager = StreamableHTTPSessionManager(
        server,
        json_response=True,
        stateless=True,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    return RootApp(manager.handle_request, Starlette(lifespan=lifespan))


if __name__ == "__main__":
    serve(sdk_alone())

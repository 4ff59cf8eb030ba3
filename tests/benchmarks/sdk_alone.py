"""The SDK's entry and nothing else: no token, no log, no metrics, no lookup, and one constant for every call.

It is made as cheap as the SDK's public surface lets it be, so nothing that is served through the SDK can be faster.
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
    """Answer every request alike."""
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

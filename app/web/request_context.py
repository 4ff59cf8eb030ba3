"""The request context over HTTP, read from the request's ASGI scope."""

import re
from typing import cast

from starlette.requests import Request
from starlette.types import Scope

from app.mcp_server.tools.call_handler import Context
from app.mcp_server.tools.json_bytes import Json
from app.mcp_server.tools.tool_filter import ToolFilter
from app.ports.auth import Caller
from app.web.asgi import header
from app.web.middleware.bearer_auth import CALLER
from app.web.middleware.raw_json import PENDING_VALUES, PendingValues
from app.web.middleware.request_id import REQUEST_ID
from app.web.middleware.request_memory import REQUEST_MEMORY, RequestMemory
from app.web.refusal_pace import REFUSED_CALL_COST, RefusalPace
from app.web.tool_filter import READ_ONLY_KEY, tool_filter_of

_PRODUCT = re.compile(r"[^/\s(]+")


class HttpRequestContext:
    """Reads the caller and other facts of a request from its ASGI scope. Must be inside BearerAuthMiddleware."""

    def __init__(self, pace: RefusalPace) -> None:
        """`pace` slows refused clients down."""
        self._pace = pace

    def caller(self, ctx: Context) -> Caller:
        """Return the caller that the request's token authenticated."""
        return cast("Caller", _scope(ctx)[CALLER])

    def tool_filter(self, ctx: Context) -> ToolFilter:
        """Return which tools the request's path and headers leave out."""
        scope = _scope(ctx)
        return tool_filter_of(scope["headers"], is_read_only=READ_ONLY_KEY in scope)

    def client(self, ctx: Context) -> str:
        """Return the name in the client's `clientInfo`, else the product in its User-Agent header, else ""."""
        params = ctx.session.client_params
        if params is not None and params.client_info.name:
            return params.client_info.name
        product = _PRODUCT.match(header(_scope(ctx), b"user-agent") or "")
        return product[0] if product else ""

    def request_id(self, ctx: Context) -> str:
        """Return the id that the response's X-Request-ID header shows."""
        return cast("str", _scope(ctx)[REQUEST_ID])

    async def hold_back_refusal(self, ctx: Context) -> None:
        """Wait until the refusal of this tool call may be sent."""
        await self._pace.hold_back(_scope(ctx), REFUSED_CALL_COST)

    def placeholder_for(self, ctx: Context, value: Json) -> str:
        """Return a placeholder that RawJsonMiddleware replaces by `value`.

        Raises RateLimited if the value is large and the caller's memory quota does not allow it.
        """
        scope = _scope(ctx)
        memory: RequestMemory = scope[REQUEST_MEMORY]
        memory.count_response(len(value))
        pending: PendingValues = scope[PENDING_VALUES]
        return pending.add(value)


def _scope(ctx: Context) -> Scope:
    return cast("Request", ctx.request).scope

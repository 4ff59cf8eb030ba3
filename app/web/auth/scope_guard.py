"""Refuses JSON-RPC messages whose scope the caller's token lacks, if the issuer of the token may grant that scope."""

import json
from collections.abc import Callable, Iterable

from starlette.types import Send

from app.domain.access import PASSTHROUGH_SCOPES, Scope
from app.mcp_server.request_log import LOGGED_METHODS, scope_of
from app.mcp_server.tools.definition import LumaTool
from app.ports.auth import Caller
from app.web.auth.challenges import Challenges


class ScopeGuard:
    """Answers 403 with a challenge, so that clients ask for the scope (MCP, Authorization, Scope Challenge Handling).

    It runs before the SDK reads the message. If the caller's token cannot gain scopes, the message passes, and the tool
    returns an error.
    """

    def __init__(self, challenges: Challenges, tools: Iterable[LumaTool], on_refusal: Callable[[int], None]) -> None:
        """Refuse with `challenges`. `tools` name the scopes that calls need. `on_refusal` receives the status."""
        self._challenges = challenges
        self._scopes = {tool.name: tool.scope for tool in tools}
        self._on_refusal = on_refusal

    async def check(self, caller: Caller, message: bytes, send: Send, *, is_read_only: bool) -> bool:
        """Return whether `caller` has the scope that a JSON-RPC message needs. If not, send 403.

        At the read-only endpoint, `read` is the only scope: tools that need another are unknown there.
        """
        granted = caller.principal.scopes
        if not caller.can_ask_for_scopes or granted >= PASSTHROUGH_SCOPES:
            return True  # the usual case, in which the message is not parsed
        needed = self._needed_scope(message)
        if is_read_only and needed is not None:
            needed = Scope.READ
        if needed is None or needed in granted:
            return True
        self._on_refusal(403)
        await self._challenges.ask_for_scopes(send, granted | {needed}, is_read_only=is_read_only)
        return False

    def _needed_scope(self, message: bytes) -> Scope | None:
        """Return the scope that a message needs; None if it needs none or is malformed. The SDK refuses the latter."""
        try:
            content = json.loads(message)
        except (ValueError, RecursionError):
            return None
        if not isinstance(content, dict) or not isinstance(method := content.get("method"), str):
            return None
        params = content.get("params")
        if method in LOGGED_METHODS:  # requests other than tool calls, whose scope RequestLog checks
            return scope_of(method)
        name = params.get("name") if method == "tools/call" and isinstance(params, dict) else None
        return self._scopes.get(name) if isinstance(name, str) else None

"""Refuses requests whose caller lacks a scope that the issuer of their token may grant, before the SDK reads them."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.types import Send

from app.domain.access import PASSTHROUGH_SCOPES, Scope
from app.mcp_server.request_log import LOGGED_METHODS
from app.mcp_server.tools.definition import LumaTool
from app.ports.auth import Caller
from app.web.auth.challenges import Challenges


class ScopeGuard:
    """Answers 403 with a challenge, on which clients ask for the scope (MCP, Authorization, Scope Challenge Handling).

    Callers whose tokens cannot gain scopes are let pass: the tool answers them with an error.
    """

    def __init__(self, challenges: Challenges, tools: Iterable[LumaTool], refused: Callable[[int], None]) -> None:
        """Answer with `challenges`. `tools` have the scopes; `refused` receives the status of each refusal."""
        self._challenges = challenges
        self._scopes = {tool.name: tool.scope for tool in tools}
        self._refused = refused

    async def refuses(self, caller: Caller, message: bytes, send: Send) -> bool:
        """Answer 403, and return True, if `caller` lacks the scope that a JSON-RPC message needs."""
        granted = caller.principal.scopes
        if not caller.can_ask_for_scopes or granted >= PASSTHROUGH_SCOPES:
            return False  # nearly always: the message is then not parsed
        needed = self._needed(json.loads(message))
        if needed is None or needed in granted:
            return False
        self._refused(403)
        await self._challenges.ask_for_scopes(send, granted | {needed})
        return True

    def _needed(self, message: Mapping[str, Any]) -> Scope | None:
        method, params = message.get("method"), message.get("params")
        if method in LOGGED_METHODS:
            return Scope.READ
        name = params.get("name") if method == "tools/call" and isinstance(params, dict) else None
        return self._scopes.get(name) if isinstance(name, str) else None

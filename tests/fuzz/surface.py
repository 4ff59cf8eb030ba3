"""The API surface of the service, read from the application itself, so that it cannot fall behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcp_types.methods import (
    MONOLITH_NOTIFICATIONS,
    MONOLITH_REQUESTS,
    SPEC_CLIENT_METHODS,
    SPEC_CLIENT_NOTIFICATION_METHODS,
)
from starlette.routing import Route

from app.composition.application import assemble
from app.composition.mcp_server import build_mcp_server
from app.mcp_server.prompts import PROMPTS
from app.settings import Settings
from app.web.app import MCP_PATHS, _routes
from app.web.readiness import Readiness
from app.web.refusal_pace import RefusalPace
from app.web.request_context import HttpRequestContext

Schema = Mapping[str, Any]

NOT_HERE = ("/nothing", "/mcp/%2e%2e", "/mcp?x=%00", "/.well-known/oauth-protected-resource/mcp", "/register")
"""Paths that the service does not serve."""


@dataclass(frozen=True)
class Surface:
    """The methods and tools with their parameter schemas, the prompts with their argument names, and the HTTP paths."""

    methods: Mapping[str, Schema]
    tools: Mapping[str, Schema]
    prompts: Mapping[str, tuple[str, ...]]
    paths: tuple[str, ...]


def surface(settings: Settings) -> Surface:
    """Return the API surface of a service with these settings."""
    assembly = assemble(settings, base_url="http://127.0.0.1")
    served = build_mcp_server(settings, assembly, HttpRequestContext(RefusalPace())).server._request_handlers  # noqa: SLF001 - no public list
    routes = [route.path for route in _routes(settings, assembly, Readiness()) if isinstance(route, Route)]
    return Surface(
        methods=_of_the_protocol() | {name: entry.params_type.model_json_schema() for name, entry in served.items()},
        tools={tool.name: tool.published().input_schema for tool in assembly.tools},
        prompts={prompt.name: tuple(one.name for one in prompt.arguments or ()) for prompt in PROMPTS},
        paths=(*MCP_PATHS, *routes, *NOT_HERE),
    )


def _of_the_protocol() -> dict[str, Schema]:
    """Return all methods and notifications that clients may send in any protocol revision, served or not."""
    known = {**MONOLITH_REQUESTS, **MONOLITH_NOTIFICATIONS}
    sent = sorted((SPEC_CLIENT_METHODS | SPEC_CLIENT_NOTIFICATION_METHODS) & known.keys())
    return {method: _params(known[method].model_json_schema()) for method in sent}


def _params(schema: dict[str, Any]) -> Schema:
    return {"$defs": schema.get("$defs", {}), **schema["properties"].get("params", {"type": "object"})}

"""The MCP server: tools, resources, prompts and extensions."""

from app.deferred_packages import SDK, defer

defer(*SDK)

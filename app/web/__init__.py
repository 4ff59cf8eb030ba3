"""The HTTP application: connections, middleware, the MCP endpoint, and all other routes."""

from app.deferred_packages import SDK, defer

defer(*SDK)

"""The HTTP application: connections, middleware, the MCP endpoint, and all other routes."""

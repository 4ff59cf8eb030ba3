"""The HTTP application: connections, middleware, the MCP endpoint, and the other routes."""

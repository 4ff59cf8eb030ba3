"""luma-mcp: a hosted MCP server for Luma Dream Machine videos."""

from app.deferred_packages import defer

defer("mcp", "mcp.server")

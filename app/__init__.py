"""luma-mcp: a hosted MCP server for Luma Dream Machine videos."""

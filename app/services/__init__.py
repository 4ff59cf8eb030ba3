"""The services, independent of MCP, HTTP and settings."""

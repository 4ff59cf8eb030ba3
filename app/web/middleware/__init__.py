"""ASGI middleware in front of the MCP endpoint, one layer a module."""

"""MCP resources and their templates."""

"""Requests made up by a grammar of HTTP, JSON-RPC and MCP, over all eras."""

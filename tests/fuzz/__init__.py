"""A fuzzer with a grammar of HTTP, JSON-RPC and MCP requests of all protocol revisions."""

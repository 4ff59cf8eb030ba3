"""What the service can do, knowing neither MCP nor HTTP nor settings."""

"""Services: tasks, polling, purchases and limits. They are independent of MCP, HTTP and settings."""

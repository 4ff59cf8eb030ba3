"""Services: tasks, polling, purchases, limits, teams and sign-in. They are independent of MCP, HTTP and settings."""

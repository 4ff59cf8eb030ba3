"""Extensions of MCP: task handles, and streams of task updates."""

"""The MCP surface: tools, prompts and the door where our errors become tool errors."""

"""Claude Code, in its print mode."""

import json

from tests.clients.agent import PROMPT
from tests.clients.model.server import ScriptedModel
from tests.clients.world import Finished, World, npm_program


def start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("claude", "@anthropic-ai/claude-code-*/claude")
    server = {"type": "http", "url": world.mcp_url, "headers": {"Authorization": world.authorization}}
    (world.home / "mcp.json").write_text(json.dumps({"mcpServers": {"luma": server}}))
    env = {
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": "a-key",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ENABLE_TOOL_SEARCH": "false",
        "DISABLE_AUTOUPDATER": "1",
    }
    return world.run(
        program, "-p", PROMPT, "--mcp-config", "mcp.json", "--strict-mcp-config", "--allowedTools", "mcp__luma", env=env
    )

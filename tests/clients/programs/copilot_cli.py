"""Copilot CLI, offline with a model of one's own."""

import json

from tests.clients.agent import PROMPT
from tests.clients.model.server import ScriptedModel
from tests.clients.world import Finished, World, npm_program


def start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("copilot", "@github/copilot-linux-*/copilot")
    server = {
        "type": "http",
        "url": world.mcp_url,
        "headers": {"Authorization": world.authorization},
        "tools": ["*"],
    }
    folder = world.home / ".copilot"
    folder.mkdir()
    (folder / "mcp-config.json").write_text(json.dumps({"mcpServers": {"luma": server}}))
    env = {
        "COPILOT_OFFLINE": "true",
        "COPILOT_PROVIDER_BASE_URL": f"{model.url}/v1",
        "COPILOT_PROVIDER_API_KEY": "a-key",
        "COPILOT_MODEL": "scripted",
    }
    return world.run(program, "--allow-all-tools", "--prompt", PROMPT, env=env)

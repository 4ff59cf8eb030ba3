"""Copilot CLI, offline with a model of one's own."""

from tests.clients.agent import PROMPT
from tests.clients.documented import documented
from tests.clients.model.server import ScriptedModel
from tests.clients.world import Finished, World, npm_program


def start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("copilot", "@github/copilot-linux-*/copilot")
    folder = world.home / ".copilot"
    folder.mkdir()
    (folder / "mcp-config.json").write_text(documented("Copilot CLI", "json", world))
    env = {
        "COPILOT_OFFLINE": "true",
        "COPILOT_PROVIDER_BASE_URL": f"{model.url}/v1",
        "COPILOT_PROVIDER_API_KEY": "a-key",
        "COPILOT_MODEL": "scripted",
    }
    return world.run(program, "--allow-all-tools", "--prompt", PROMPT, env=env)

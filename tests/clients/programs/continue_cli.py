"""Continue's command line."""

import yaml

from tests.clients.agent import PROMPT
from tests.clients.documented import documented
from tests.clients.model.server import ScriptedModel
from tests.clients.world import NODE, Finished, World, npm_program


def start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("continue", "@continuedev/cli/dist/cn.js")
    config = {
        "name": "loopback",
        "version": "1.0.0",
        "schema": "v1",
        "models": [
            {
                "name": "scripted",
                "provider": "openai",
                "model": "scripted",
                "apiBase": f"{model.url}/v1",
                "apiKey": "a-key",
                "capabilities": ["tool_use"],
                "roles": ["chat"],
            }
        ],
    }
    file = world.home / "config.yaml"
    file.write_text(yaml.safe_dump(config | yaml.safe_load(documented("Continue", "yaml", world))))
    env = {"CONTINUE_TELEMETRY_ENABLED": "0", "CONTINUE_CLI_ENABLE_TELEMETRY": "0"}
    return world.run(NODE, program, "--config", file, "--auto", "--print", PROMPT, env=env)

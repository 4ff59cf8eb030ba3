"""opencode, in its run mode."""

import json

from tests.clients.agent import PROMPT
from tests.clients.documented import documented
from tests.clients.model.server import ScriptedModel
from tests.clients.world import Finished, World, npm_program


def start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("opencode", "opencode-*/bin/opencode")
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{model.url}/v1", "apiKey": "a-key"},
        "models": {"scripted": {"name": "scripted", "tool_call": True}},
    }
    config = {
        "autoupdate": False,
        "share": "disabled",
        "model": "loopback/scripted",
        "small_model": "loopback/scripted",
        "provider": {"loopback": provider},
        **json.loads(documented("opencode", "json", world)),
    }
    (world.home / "opencode.json").write_text(json.dumps(config))
    env = {
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }
    return world.run(program, "run", "--auto", PROMPT, env=env)

"""Qwen Code, with one prompt."""

import json

from tests.clients.agent import PROMPT, run_agent
from tests.clients.model.server import ScriptedModel
from tests.clients.world import NODE, Finished, World, npm_program


def run(world: World) -> None:
    run_agent(world, _start)


def _start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("qwen", "@qwen-code/qwen-code/cli.js")
    folder = world.home / ".qwen"
    folder.mkdir()
    settings = {
        "security": {"auth": {"selectedType": "openai"}},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False},
        "tools": {"toolSearch": {"enabled": False}},
        "mcpServers": {"luma": {"httpUrl": world.mcp_url, "headers": {"Authorization": world.authorization}}},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    env = {"OPENAI_API_KEY": "a-key", "OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_MODEL": "scripted"}
    return world.run(NODE, program, "--yolo", PROMPT, env=env)

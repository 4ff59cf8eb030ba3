"""Gemini CLI, in its headless mode; it adds an argument of its own, wait_for_previous, to every tool."""

import json

from tests.clients.agent import PROMPT, run_agent
from tests.clients.model.script import client_names
from tests.clients.model.server import ScriptedModel
from tests.clients.world import NODE, Finished, NotWell, World, npm_program


def run(world: World) -> None:
    seen = run_agent(world, _start)
    ours = client_names(seen.tools).values()
    if not all("wait_for_previous" in seen.tools[name]["properties"] for name in ours):
        raise NotWell("it does not add wait_for_previous to every tool any more: the script did not send it")


def _start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("gemini", "@google/gemini-cli/bundle/gemini.js")
    folder = world.home / ".gemini"
    folder.mkdir()
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False},
        "mcpServers": {"luma": {"httpUrl": world.mcp_url, "headers": {"Authorization": world.authorization}}},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    env = {"GEMINI_API_KEY": "a-key", "GOOGLE_GEMINI_BASE_URL": model.url}
    command = ("--yolo", "--skip-trust", "--model", "gemini-2.5-pro", "--prompt", PROMPT)
    return world.run(NODE, program, *command, env=env)

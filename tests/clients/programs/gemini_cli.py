"""Gemini CLI, in its headless mode; it adds an argument of its own, wait_for_previous, to every tool."""

import json
from typing import Any

from tests.clients.agent import PROMPT, run_agent
from tests.clients.model.script import client_names
from tests.clients.model.server import ScriptedModel
from tests.clients.world import NODE, Finished, NotWell, World, npm_program


def run(world: World) -> None:
    seen = run_agent(world, _start)
    ours = client_names(seen.tools).values()
    if not all("wait_for_previous" in seen.tools[name]["properties"] for name in ours):
        raise NotWell("it does not add wait_for_previous to every tool any more: the script did not send it")


def configure(world: World, folder: str, login: str, **more: Any) -> None:
    """Write the settings, with `more` beside them; those of Qwen Code, which is made from Gemini CLI, are the same."""
    settings = {
        "security": {"auth": {"selectedType": login}},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False},
        "mcpServers": {"luma": {"httpUrl": world.mcp_url, "headers": {"Authorization": world.authorization}}},
    }
    file = world.home / folder / "settings.json"
    file.parent.mkdir()
    file.write_text(json.dumps(settings | more))


def _start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("gemini", "@google/gemini-cli/bundle/gemini.js")
    configure(world, ".gemini", "gemini-api-key")
    env = {"GEMINI_API_KEY": "a-key", "GOOGLE_GEMINI_BASE_URL": model.url}
    command = ("--yolo", "--skip-trust", "--model", "gemini-2.5-pro", "--prompt", PROMPT)
    return world.run(NODE, program, *command, env=env)

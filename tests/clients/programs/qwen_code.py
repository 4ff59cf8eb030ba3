"""Qwen Code, with one prompt."""

from tests.clients.agent import PROMPT
from tests.clients.model.server import ScriptedModel
from tests.clients.programs.gemini_cli import configure
from tests.clients.world import NODE, Finished, World, npm_program


def start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("qwen", "@qwen-code/qwen-code/cli.js")
    configure(world, ".qwen", "openai", tools={"toolSearch": {"enabled": False}})
    env = {"OPENAI_API_KEY": "a-key", "OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_MODEL": "scripted"}
    return world.run(NODE, program, "--yolo", PROMPT, env=env)

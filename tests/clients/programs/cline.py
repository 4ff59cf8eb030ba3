"""Cline's command line."""

from tests.clients.agent import PROMPT
from tests.clients.documented import documented
from tests.clients.model.server import ScriptedModel
from tests.clients.world import NODE, Finished, World, npm_program


def start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("cline", "cline/bin/cline")
    settings = world.home / "cline_mcp_settings.json"
    settings.write_text(documented("Cline", "json", world))
    env = {"CLINE_MCP_SETTINGS_PATH": str(settings), "CLINE_SESSION_BACKEND_MODE": "local"}
    account = ("--apikey", "a-key", "--modelid", "scripted", "--baseurl", f"{model.url}/v1")
    signed_in = world.run(NODE, program, "auth", "openai-compatible", *account, env=env)
    signed_in.expect(signed_in.status == 0, "it did not take the model's address")
    return world.run(NODE, program, "--provider", "openai-compatible", PROMPT, env=env)

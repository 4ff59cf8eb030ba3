"""Codex, in its exec mode."""

from tests.clients.agent import PROMPT
from tests.clients.documented import documented
from tests.clients.model.server import ScriptedModel
from tests.clients.world import Finished, World, npm_program

CONFIG = """\
model = "scripted"
model_provider = "loopback"
approval_policy = "never"
check_for_update_on_startup = false

[analytics]
enabled = false

[otel]
metrics_exporter = "none"

[model_providers.loopback]
name = "loopback"
base_url = "{model}/v1"
wire_api = "responses"

{luma}default_tools_approval_mode = "approve"
"""


def start(world: World, model: ScriptedModel) -> Finished:
    program = npm_program("codex", "@openai/codex-*/vendor/*/bin/codex")
    folder = world.home / ".codex"
    folder.mkdir()
    config = CONFIG.format(model=model.url, luma=documented("Codex", "toml", world))
    (folder / "config.toml").write_text(config)
    return world.run(
        program, "exec", "--skip-git-repo-check", "--sandbox", "read-only", PROMPT, env={"LUMA_TOKEN": world.token}
    )

"""The part that all agents have in common: run with the scripted model, then judge by what the model saw."""

import re
from collections.abc import Callable

import httpx

from app.adapters.acedata.policy import ACEDATACLOUD
from app.mcp_server.tools.catalog import build_catalog
from tests.clients.model.script import BAD_CALL, FINAL_TEXT, GENERATE, WAIT, Conversation, client_names
from tests.clients.model.server import ScriptedModel, scripted_model
from tests.clients.world import Finished, NotWell, World

TOOLS = {tool.name for tool in build_catalog(1, ACEDATACLOUD)}
PROMPT = "Make a video of a red fox, wait for it, and tell me its address."
_SUBMISSIONS = re.compile(r'^luma_mcp_backend_calls_total\{endpoint="/luma/videos",.*\} ([0-9.]+)$', re.MULTILINE)


def run_agent(world: World, start: Callable[[World, ScriptedModel], Finished]) -> Conversation:
    """Start the agent with a model and return what the model saw last. Raises NotWell where something is missing."""
    with scripted_model() as model:
        finished = start(world, model)
        finished.expect(model.last is not None, f"the model was never shown our tools; it was asked at {model.paths}")
        assert model.last is not None
        _check_conversation(world, model.last, finished)
        finished.expect(FINAL_TEXT in finished.out, "the agent did not print the model's last words")
        return model.last


def _check_conversation(world: World, seen: Conversation, finished: Finished) -> None:
    names = client_names(seen.tools)
    finished.expect(names.keys() == TOOLS, f"the model was shown {sorted(names)}")
    finished.expect(len(seen.results) == 3, f"the model saw {len(seen.results)} of 3 tool results: {seen.results}")
    generated, waited, refused = seen.results
    finished.expect("pending" in generated, f"{GENERATE} did not say that a task was started: {generated}")
    address = re.search(rf"{re.escape(world.server.url)}/sandbox/media/[0-9a-f-]+\.mp4", waited)
    finished.expect(address is not None and "completed" in waited, f"{WAIT} showed no finished video: {waited}")
    finished.expect("start_image_url" in refused, f"the refusal of {BAD_CALL} did not reach the model: {refused}")
    assert address is not None
    _serves(address[0])
    submissions = count_submissions(world)
    finished.expect(submissions == 1, f"the backend was asked for {submissions} videos instead of 1")


def _serves(address: str) -> None:
    status = httpx.get(address).status_code
    if status != httpx.codes.OK:
        raise NotWell(f"the address of the video answers {status}")


def count_submissions(world: World) -> int:
    """Return how many videos the backend was asked for."""
    metrics = httpx.get(f"{world.server.url}/metrics").text
    return int(sum(float(count) for count in _SUBMISSIONS.findall(metrics)))

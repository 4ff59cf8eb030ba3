"""The script of the model: generate a video, wait for it, make a call that must fail, and end.

The model keeps no state: the number of tool results in the conversation says which step comes next.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FINAL_TEXT = "The script has ended."
SIDE_ANSWER = "A request without our tools."
"""The answer to requests for titles, summaries and the like."""

GENERATE = "luma_generate_video"
WAIT = "luma_get_tasks_batch"
BAD_CALL = "luma_generate_video_from_image"

_TASK_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request to the model: the schema of each tool by its name, and the text of each tool result."""

    tools: Mapping[str, Mapping[str, Any]]
    results: Sequence[str]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model makes; `name` is the client's own name for the tool."""

    number: int
    name: str
    arguments: dict[str, Any]


def next_move(seen: Conversation) -> ToolCall | str:
    """Return what the model says to `seen`: a tool call, or text."""
    if not client_names(seen.tools):
        return SIDE_ANSWER
    step = len(seen.results)
    if step == 0:
        return _call(seen, GENERATE, {"prompt": "A red fox trots through fresh snow"})
    if step == 1:
        task_id = _TASK_ID.search(seen.results[0])
        return _call(seen, WAIT, {"task_ids": [task_id[0] if task_id else "none"], "wait_seconds": 30})
    if step == 2:
        return _call(seen, BAD_CALL, {"prompt": "No image is given"})
    return FINAL_TEXT


def client_names(tools: Mapping[str, Any]) -> dict[str, str]:
    """Return the client's names of our tools, by our own: clients put the name of the server in front."""
    return {name[name.rindex("luma_") :]: name for name in tools if "luma_" in name}


def _call(seen: Conversation, tool: str, arguments: dict[str, Any]) -> ToolCall:
    name = client_names(seen.tools)[tool]
    extra = {"wait_for_previous": True} if "wait_for_previous" in seen.tools[name].get("properties", {}) else {}
    return ToolCall(len(seen.results), name, arguments | extra)

"""The true state of every task, computed from its token and id, so that the backend and the checks agree."""

import time
from typing import Any

from tests.support.acedata import completed

TOKENS = 20
CANARY = f"secret-token-{TOKENS}"
"""The token of the recovery check alone, so that its requests to the backend can be counted."""

OTHER_CANARY = f"secret-token-{TOKENS + 1}"

_STATES = {"f": "completed", "x": "failed", "r": "pending"}


def token_of(number: int) -> str:
    """Return the token with this number."""
    return f"secret-token-{number}"


def purchased_id(token: str, number: int) -> str:
    """Return the id of the task number `number`, bought under `token`."""
    return f"p-{_number_of(token)}-{number}"


def true_state(token: str, task_id: str) -> str | None:
    """Return the state of a task, or None if there is no such task under this token.

    A bought task exists under its buyer's token only. Any other id exists under every token, as a different task.
    """
    if task_id.startswith("p-"):
        return "pending" if task_id.split("-")[1] == _number_of(token) else None
    return _STATES.get(task_id[0])


def video_url(token: str, task_id: str) -> str:
    """Return the URL of a finished task's video, which contains the token: no other token's task has it."""
    return f"https://cdn.example.com/{token}/{task_id}.mp4"


def prompt_of(token: str, task_id: str) -> str:
    """Return a task's prompt. It names the token, so that an answer for another token shows in a running task too."""
    return f"secret prompt of {token} for {task_id}"


def record(token: str, task_id: str) -> dict[str, Any] | None:
    """Return the backend's record of a task, or None if there is no such task."""
    now, state = time.time(), true_state(token, task_id)
    request = {"request": {"action": "generate", "prompt": prompt_of(token, task_id)}}
    times = {"created_at": now - 200, "started_at": now - 199, "finished_at": now - 60}
    if state == "completed":
        whole = completed(task_id, **times, **request)
        shown = {"video_url": video_url(token, task_id), "prompt": prompt_of(token, task_id)}
        return whole | {"response": whole["response"] | shown}
    if state == "failed":
        failure = {"success": False, "task_id": task_id, "error": {"code": "api_error", "message": "No."}}
        return {"id": task_id, **times, **request, "response": failure}
    if state == "pending":
        return {"id": task_id, "created_at": now - 5, "started_at": now - 4, **request}
    return None


def mismatch_in(token: str, wanted: str, shown: dict[str, Any]) -> str | None:
    """Compare the task that was shown for the id `wanted` with the truth; return the first difference, or None."""
    state = true_state(token, wanted)
    if shown["task_id"] != wanted:
        return f"{shown['task_id']} was shown in place of {wanted}"
    if shown["state"] != state:
        return f"{wanted} was said to be {shown['state']}, not {state}"
    if shown.get("prompt") != prompt_of(token, wanted):
        return f"{wanted} came with somebody else's prompt"
    if shown.get("video_url") != (video_url(token, wanted) if state == "completed" else None):
        return f"{wanted} came with somebody else's video"
    return None


def _number_of(token: str) -> str:
    return token.rpartition("-")[2]

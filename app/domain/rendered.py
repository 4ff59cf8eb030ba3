"""Rendered tasks: the bytes that tool results are joined from. A task is rendered once, when it is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from app.domain.errors import LumaError
from app.domain.task import LookupStats, TaskState

OBJECT_BYTES = 700
"""Approximate memory overhead of a rendered task: the tuple, its times, the headers of three `bytes`, a cache key."""


class RenderedTask(NamedTuple):
    """A task as JSON, with the values that the services need. Times are unix seconds.

    It is a tuple because tuples are created faster than dataclasses, and a batch creates dozens of them.

    Attributes:
        created_at: None if the backend has not said.
        finished_at: None if the backend has not said.
        fresh_until: time at which the cached task expires.
        head: the brief form as a JSON object without its closing brace, and without fields that depend on the time of
            the request.
        line: the line for the model, escaped as inside a JSON string, without parts that depend on the time of the
            request.
        rest: the other members of the full form, each after a comma.

    """

    id: str
    state: TaskState
    created_at: float | None
    finished_at: float | None
    fresh_until: float
    head: bytes
    line: bytes
    rest: bytes

    def __repr__(self) -> str:
        """Show the id and the state only, so that prompts and result URLs stay out of logs."""
        return f"RenderedTask({self.id!r}, {self.state.value})"

    @property
    def is_final(self) -> bool:
        """Whether the task can never change again."""
        return self.state is TaskState.COMPLETED or self.state is TaskState.FAILED

    def has_video(self, video_id: str | None, video_url: str | None) -> bool:
        """Return whether the task's video has this id; if `video_id` is None, whether it has this URL."""
        video: dict[str, object] = json.loads(self.head + b"}")
        name, expected = ("video_id", video_id) if video_id is not None else ("video_url", video_url)
        return video.get(name) == expected

    @property
    def size_bytes(self) -> int:
        """Approximate memory of the task, including its overhead."""
        return OBJECT_BYTES + len(self.head) + len(self.line) + len(self.rest)


TaskResult = RenderedTask | LumaError | None
"""The result for one id: the task, the error that prevented the read, or None for an id unknown to the backend."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The results of one lookup: one per distinct id, in the order of the request."""

    answers: Mapping[str, TaskResult]
    stats: LookupStats

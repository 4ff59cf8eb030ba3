"""Rendered tasks: the bytes that answers are joined from, rendered once when a task is read from the backend."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from app.domain.errors import LumaError
from app.domain.task import LookupStats, TaskState

OBJECT_BYTES = 700
"""About what a rendered task takes in memory beside its JSON: the tuple, its times, three headers and a cache key."""


class RenderedTask(NamedTuple):
    """A task as JSON, with the values that the services need. Times are unix seconds.

    A tuple, because a batch makes some fifty of them from what Redis answers. `created_at` and `finished_at` are None
    where the backend has not said; `fresh_until` is until when the cache may answer with it.
    """

    id: str
    state: TaskState
    created_at: float | None
    finished_at: float | None
    fresh_until: float
    head: bytes
    """The brief form as a JSON object without its closing brace, and without what depends on the moment."""
    line: bytes
    """The line for the model as it stands inside a JSON string, without what depends on the moment."""
    rest: bytes
    """The other members of the full form, each with a comma in front."""

    def __repr__(self) -> str:
        """Name the task alone: prompts and result URLs stay out of logs."""
        return f"RenderedTask({self.id!r}, {self.state.value})"

    @property
    def is_final(self) -> bool:
        """Whether the task can never change again."""
        return self.state is TaskState.COMPLETED or self.state is TaskState.FAILED

    def has_video(self, video_id: str | None, video_url: str | None) -> bool:
        """Return whether the task has made the video with this id, or else with this URL."""
        video: dict[str, object] = json.loads(self.head + b"}")
        name, wanted = ("video_id", video_id) if video_id is not None else ("video_url", video_url)
        return video.get(name) == wanted

    @property
    def size_bytes(self) -> int:
        """About what the task takes in memory."""
        return OBJECT_BYTES + len(self.head) + len(self.line) + len(self.rest)


TaskResult = RenderedTask | LumaError | None
"""The result for one id: the task, the error that prevented the read, or None for an id unknown to the backend."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answers to one question, by id, in the order asked, each id once."""

    answers: Mapping[str, TaskResult]
    stats: LookupStats

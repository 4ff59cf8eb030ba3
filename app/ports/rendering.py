"""Turning tasks into what answers show."""

from typing import Protocol

from app.domain.rendered import RenderedTask
from app.domain.task import Task


class Renderer(Protocol):
    """Renders a task as the bytes that answers are joined from."""

    def __call__(self, task: Task) -> RenderedTask:
        """Return `task` rendered, with nothing in it that depends on when it is asked for. Pure, and never fails."""
        ...

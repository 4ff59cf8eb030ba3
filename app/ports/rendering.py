"""The interface of the renderer, which turns tasks into the bytes of tool results."""

from typing import Protocol

from app.domain.rendered import RenderedTask
from app.domain.task import Task


class Renderer(Protocol):
    """Renders a task as bytes. Tool results are joined from these bytes."""

    def __call__(self, task: Task) -> RenderedTask:
        """Return `task` rendered. The function is pure and never raises; its output does not depend on the time."""
        ...

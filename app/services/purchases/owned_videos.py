"""Access control for extensions: members of a team may extend only videos of tasks that they may read."""

from app.domain.access import Visibility
from app.domain.backend import BackendDescription
from app.domain.errors import LumaError, NotFound
from app.domain.generation import ExtendVideo
from app.domain.purchase import PurchaseState
from app.ports.auth import Caller
from app.services.purchases.submitted_tasks import PagePosition, SubmittedTasks
from app.services.tasks.lookup import TaskService

PAGE = 200
MAX_PAGES = 10
"""A search for a video covers the newest PAGE * MAX_PAGES tasks. Most of them are cached."""


class OwnedVideos:
    """Checks that a video belongs to a task that the caller may read."""

    def __init__(self, tasks: TaskService, submitted: SubmittedTasks, backend: BackendDescription) -> None:
        """Search the tasks that `submitted` lists, and read them with `tasks`."""
        self._tasks = tasks
        self._submitted = submitted
        self._backend = backend

    async def check(self, caller: Caller, command: ExtendVideo) -> None:
        """Raise NotFound if the caller may not extend the video, and another LumaError if that cannot be checked."""
        if caller.principal.sees is Visibility.ALL:
            return
        before: PagePosition | None = None
        error: LumaError = self._backend.error(NotFound)
        for _ in range(MAX_PAGES):
            page = await self._submitted.newest(caller.principal, PAGE, outcome=PurchaseState.STARTED, before=before)
            task_ids = [one.task_id for one in page.purchases if one.task_id is not None]
            for task in (await self._tasks.find(caller, task_ids)).answers.values() if task_ids else ():
                if isinstance(task, LumaError):
                    error = task  # the video may belong to this task
                elif task is not None and task.has_video(command.video_id, command.video_url):
                    return
            if (before := page.next) is None:
                break
        raise error

"""Whose a video is: members of a team extend the videos that they may read, whatever the backend would take."""

from app.domain.access import Visibility
from app.domain.backend import BackendDescription
from app.domain.errors import LumaError, NotFound
from app.domain.generation import ExtendVideo
from app.domain.purchase import PurchaseState
from app.domain.rendered import RenderedTask
from app.ports.auth import Caller
from app.services.purchases.submitted_tasks import Place, SubmittedTasks
from app.services.tasks.lookup import TaskService

PAGE = 200
MOST_PAGES = 10
"""Tasks that are looked through for a video, the newest first: links live 30 days, and most are cached."""


class OwnedVideos:
    """Finds a video among the tasks of its caller."""

    def __init__(self, tasks: TaskService, submitted: SubmittedTasks, backend: BackendDescription) -> None:
        """Look through the tasks that `submitted` lists, as `tasks` reads them."""
        self._tasks = tasks
        self._submitted = submitted
        self._backend = backend

    async def check(self, caller: Caller, command: ExtendVideo) -> None:
        """Raise NotFound unless the caller may extend the video; LumaError if that cannot be told."""
        if caller.principal.sees is Visibility.ALL:
            return
        before: Place | None = None
        for _ in range(MOST_PAGES):
            page = await self._submitted.newest(caller.principal, PAGE, outcome=PurchaseState.STARTED, before=before)
            task_ids = [one.task_id for one in page.purchases if one.task_id is not None]
            answers = (await self._tasks.find(caller, task_ids)).answers if task_ids else {}
            if any(
                isinstance(task, RenderedTask) and task.has_video(command.video_id, command.video_url)
                for task in answers.values()
            ):
                return
            if (before := page.next) is None:
                _raise_if_unreadable(list(answers.values()))
                break
        raise self._backend.error(NotFound)


def _raise_if_unreadable(answers: list[RenderedTask | LumaError | None]) -> None:
    """Raise the error of a task that could not be read: the video may be its."""
    for answer in answers:
        if isinstance(answer, LumaError):
            raise answer

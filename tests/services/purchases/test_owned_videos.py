"""OwnedVideos: the video of a team may be extended, others not; a failed read of a task raises its error."""

from typing import Any, cast

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.access import Principal, Visibility
from app.domain.errors import BackendError, LumaError, NotFound
from app.domain.generation import ExtendVideo
from app.domain.purchase import Purchase, PurchaseState
from app.domain.rendered import Lookup, TaskResult
from app.domain.task import LookupStats, Task, TaskState, Video
from app.ports.auth import Caller
from app.services.purchases.owned_videos import OwnedVideos
from app.services.purchases.submitted_tasks import Page
from tests.support.callers import caller
from tests.support.rendering import rendered

MEMBER = Caller(Principal("anna", "team", sees=Visibility.TEAM), caller("anna").credentials)


class Pages:
    """SubmittedTasks with one purchase per page, and TaskService with their results."""

    def __init__(self, *answers: TaskResult) -> None:
        self.answers = answers

    async def newest(
        self, _principal: Principal, _most: int, *, before: tuple[float, str] | None, **_more: Any
    ) -> Page:
        number = 0 if before is None else int(before[0])
        purchase = Purchase("a", "team", "generate", "r", None, PurchaseState.STARTED, f"{number}", 0.0, 0.0, 0.0)
        is_last = number + 1 == len(self.answers)
        return Page([purchase], None if is_last else (number + 1.0, "a"))

    async def find(self, _caller: Caller, task_ids: list[str]) -> Lookup:
        return Lookup({task_id: self.answers[int(task_id)] for task_id in task_ids}, LookupStats())

    async def check(self, video_id: str, caller: Caller = MEMBER) -> None:
        pages = cast("Any", self)
        await OwnedVideos(pages, pages, ACEDATACLOUD).check(caller, ExtendVideo("On", video_id=video_id))


def completed(video_id: str) -> TaskResult:
    return rendered(Task("task", TaskState.COMPLETED, video=Video("https://cdn.example.com/a.mp4", video_id)))


async def test_a_video_on_a_later_page_is_found() -> None:
    await Pages(completed("other"), None, completed("mine")).check("mine")


async def test_check_raises_not_found_for_a_video_of_others() -> None:
    with pytest.raises(NotFound):
        await Pages(completed("other"), None).check("mine")


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_check_raises_the_error_of_a_failed_read_when_the_video_is_not_found(position: int) -> None:
    answers: list[TaskResult] = [completed("other"), completed("another")]
    answers.insert(position, ACEDATACLOUD.error(BackendError))
    with pytest.raises(LumaError) as caught:
        await Pages(*answers).check("mine")
    assert isinstance(caught.value, BackendError)


async def test_check_allows_any_video_outside_of_teams() -> None:
    await Pages().check("any", caller("anna"))

"""A member extends a video of the team; an error says that a task could not be read, where one could not."""

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
    """Submissions in pages of one, and their tasks."""

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


def made(video_id: str) -> TaskResult:
    return rendered(Task("task", TaskState.COMPLETED, video=Video("https://cdn.example.com/a.mp4", video_id)))


async def test_a_video_on_a_later_page_is_found() -> None:
    await Pages(made("other"), None, made("mine")).check("mine")


async def test_a_video_that_the_team_has_not_made_is_not_found() -> None:
    with pytest.raises(NotFound):
        await Pages(made("other"), None).check("mine")


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_a_task_that_could_not_be_read_may_have_made_the_video(position: int) -> None:
    answers: list[TaskResult] = [made("other"), made("another")]
    answers.insert(position, ACEDATACLOUD.error(BackendError))
    with pytest.raises(LumaError) as caught:
        await Pages(*answers).check("mine")
    assert isinstance(caught.value, BackendError)


async def test_a_caller_without_a_team_is_not_asked() -> None:
    await Pages().check("any", caller("anna"))

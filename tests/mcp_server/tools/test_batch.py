"""The answer about many tasks: in the asker's order, of the asker's own tasks, as of now."""

import json
from typing import Any

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.errors import BackendTimeout
from app.domain.rendered import Lookup, RenderedTask, TaskResult
from app.domain.task import LookupStats, Task, TaskState, Video
from app.mcp_server.tools.batch import batch_answer
from tests.support.rendering import rendered

NOW = 1_790_000_000.0


def finished(task_id: str, owner: str) -> RenderedTask:
    video = Video(f"https://cdn.example.com/{owner}/{task_id}.mp4")
    return rendered(Task(task_id, TaskState.COMPLETED, "A fox", video))


def ask(*answers: tuple[str, TaskResult], stats: LookupStats = LookupStats(), now: float = NOW) -> Any:  # noqa: B008 - frozen
    answer = batch_answer(Lookup(dict(answers), stats), now, ACEDATACLOUD)
    assert answer.stats is stats
    return json.loads(answer.result), json.loads(answer.text)


def test_a_question_asked_again_has_the_same_answer_and_an_effort_of_its_own() -> None:
    tasks = [("again-1", finished("again-1", "a")), ("again-2", finished("again-2", "a"))]
    first = ask(*tasks, stats=LookupStats(fetched=2, backend_calls=1))
    assert ask(*tasks, stats=LookupStats(local_hits=2)) == first


def test_the_same_ids_of_another_tenant_are_answered_with_their_own_videos() -> None:
    for owner in ("a", "b", "a"):
        result, text = ask(("shared", finished("shared", owner)))
        assert result["tasks"][0]["video_url"] == f"https://cdn.example.com/{owner}/shared.mp4"
        assert f"/{owner}/" in text


def test_the_order_asked_is_the_order_told() -> None:
    one, two = ("order-1", finished("order-1", "a")), ("order-2", finished("order-2", "a"))
    for tasks in ((one, two), (two, one), (one, two)):
        result, _ = ask(*tasks)
        assert [task["task_id"] for task in result["tasks"]] == [task_id for task_id, _ in tasks]


@pytest.mark.parametrize("other", [None, ACEDATACLOUD.error(BackendTimeout)])
def test_an_answer_that_may_change_is_made_anew(other: TaskResult) -> None:
    done, late = ("done", finished("done", "a")), finished("late", "a")
    result, _ = ask(done, ("late", other))
    assert result["counts"]["completed"] == 1
    result, _ = ask(done, ("late", late))
    assert (result["counts"]["completed"], result["missing"], result["unavailable"]) == (2, [], [])


def test_a_running_task_is_as_old_as_it_is_when_it_is_asked_for() -> None:
    running = ("runs", rendered(Task("runs", TaskState.PROCESSING, "A fox", created_at=NOW - 5)))
    results = [ask(running, now=NOW + seconds)[0] for seconds in (0, 20)]
    assert results[0]["ask_again_in_seconds"] > results[1]["ask_again_in_seconds"]

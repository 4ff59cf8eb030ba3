"""The result for a batch: order of the ids, own tasks only, and fields that depend on the current time."""

import json
from typing import Any

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.errors import BackendTimeout
from app.domain.rendered import Lookup, RenderedTask, TaskResult
from app.domain.task import LookupStats, Task, TaskState, Video
from app.mcp_server.tools.batch import batch_result
from tests.support.rendering import rendered

NOW = 1_790_000_000.0


def finished(task_id: str, owner: str) -> RenderedTask:
    video = Video(f"https://cdn.example.com/{owner}/{task_id}.mp4")
    return rendered(Task(task_id, TaskState.COMPLETED, "A fox", video))


def ask(*answers: tuple[str, TaskResult], stats: LookupStats = LookupStats(), now: float = NOW) -> Any:  # noqa: B008 - frozen
    answer = batch_result(Lookup(dict(answers), stats), now, ACEDATACLOUD)
    assert answer.stats is stats
    return json.loads(answer.result), json.loads(answer.text)


def test_a_repeated_batch_has_the_same_result_and_its_own_statistics() -> None:
    tasks = [("again-1", finished("again-1", "a")), ("again-2", finished("again-2", "a"))]
    first = ask(*tasks, stats=LookupStats(fetched=2, backend_calls=1))
    assert ask(*tasks, stats=LookupStats(local_hits=2)) == first


def test_the_same_ids_of_another_tenant_are_answered_with_their_own_videos() -> None:
    for owner in ("a", "b", "a"):
        result, text = ask(("shared", finished("shared", owner)))
        assert result["tasks"][0]["video_url"] == f"https://cdn.example.com/{owner}/shared.mp4"
        assert f"/{owner}/" in text


def test_results_are_in_the_order_of_the_request() -> None:
    one, two = ("order-1", finished("order-1", "a")), ("order-2", finished("order-2", "a"))
    for tasks in ((one, two), (two, one), (one, two)):
        result, _ = ask(*tasks)
        assert [task["task_id"] for task in result["tasks"]] == [task_id for task_id, _ in tasks]


@pytest.mark.parametrize("other", [None, ACEDATACLOUD.error(BackendTimeout)])
def test_a_missing_or_unavailable_id_is_not_missing_once_it_is_found(other: TaskResult) -> None:
    done, late = ("done", finished("done", "a")), finished("late", "a")
    result, _ = ask(done, ("late", other))
    assert result["counts"]["completed"] == 1
    result, _ = ask(done, ("late", late))
    assert (result["counts"]["completed"], result["missing"], result["unavailable"]) == (2, [], [])


def test_the_age_of_a_running_task_is_current() -> None:
    running = ("runs", rendered(Task("runs", TaskState.PROCESSING, "A fox", created_at=NOW - 5)))
    results = [ask(running, now=NOW + seconds)[0] for seconds in (0, 20)]
    assert results[0]["ask_again_in_seconds"] > results[1]["ask_again_in_seconds"]

"""The answer about many tasks: what is kept of it for a question asked again, and what never is."""

import json
from typing import Any

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD, pace_of
from app.domain.errors import BackendTimeout
from app.domain.task import Answer, Effort, Lookup, Task, TaskState, Video
from app.mcp_server.batch import REPEATED_BYTES, BatchAnswers

NOW = 1_790_000_000.0
PACE = pace_of(60.0)
BATCHES = BatchAnswers(300_000, ACEDATACLOUD.name)


def finished(task_id: str, owner: str) -> Task:
    return Task(task_id, TaskState.COMPLETED, "A fox", Video(f"https://cdn.example.com/{owner}/{task_id}.mp4"))


def ask(*answers: tuple[str, Answer], effort: Effort = Effort(), now: float = NOW) -> Any:  # noqa: B008 - frozen
    answer = BATCHES.about(Lookup(dict(answers), effort), now, PACE)
    assert answer.effort is effort
    return json.loads(answer.result), json.loads(answer.text)


def test_a_question_asked_again_has_the_same_answer_and_an_effort_of_its_own() -> None:
    tasks = [("again-1", finished("again-1", "a")), ("again-2", finished("again-2", "a"))]
    first = ask(*tasks, effort=Effort(fetched=2, backend_calls=1))
    assert ask(*tasks, effort=Effort(local_hits=2)) == first


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
def test_an_answer_that_may_change_is_made_anew(other: Answer) -> None:
    done, late = ("done", finished("done", "a")), finished("late", "a")
    result, _ = ask(done, ("late", other))
    assert result["counts"]["completed"] == 1
    result, _ = ask(done, ("late", late))
    assert (result["counts"]["completed"], result["missing"], result["unavailable"]) == (2, [], [])


def test_a_running_task_is_as_old_as_it_is_when_it_is_asked_for() -> None:
    running = ("runs", Task("runs", TaskState.PROCESSING, "A fox", created_at=NOW - 5))
    results = [ask(running, now=NOW + seconds)[0] for seconds in (0, 20)]
    assert results[0]["ask_again_in_seconds"] > results[1]["ask_again_in_seconds"]


def test_more_questions_than_are_kept_are_all_answered() -> None:
    for _ in range(2):
        for number in range(300):
            result, _ = ask((f"many-{number}", finished(f"many-{number}", "a")))
            assert result["tasks"][0]["task_id"] == f"many-{number}"


def test_what_is_kept_of_answers_is_bounded_in_bytes() -> None:
    batches = BatchAnswers(300_000, ACEDATACLOUD.name)
    for number in range(200):
        long = Video(f"https://cdn.example.com/{'a' * 2000}.mp4")
        tasks = {
            f"long-{number}-{index}": Task(f"{number}-{index}", TaskState.COMPLETED, video=long) for index in range(9)
        }
        batches.about(Lookup(tasks, Effort()), NOW, PACE)
    assert 0 < batches.kept_bytes <= 300_000 + REPEATED_BYTES

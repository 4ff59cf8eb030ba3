"""Results that are joined from rendered bytes equal the JSON encoding of a view. The views here are built directly."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.errors import ErrorCode
from app.domain.freshness import poll_after
from app.domain.rendered import Lookup, RenderedTask
from app.domain.task import NO_STATS, Failure, Task, TaskState, Video
from app.mcp_server.tools.batch import batch_result
from app.mcp_server.tools.json_bytes import to_json
from app.mcp_server.tools.rendering import render, single_task_result
from app.services.tasks.stored_format import pack_task, unpack_task

NOW = 1_790_000_000.0
PACE = ACEDATACLOUD.policy.polling

TEXTS = st.text(min_size=1, max_size=30)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=40)
MOMENTS = st.none() | st.floats(NOW - 2000, NOW + 10) | st.floats(0, 32_000_000_000)
VIDEOS = st.builds(
    Video,
    TEXTS,
    st.none() | NAMES,
    st.none() | st.integers(1, 9000),
    st.none() | st.integers(1, 9000),
    st.none() | TEXTS,
    st.none() | st.floats(NOW - 2000, NOW + 1e7),
)
FAILURES = st.builds(Failure, st.sampled_from(ErrorCode), TEXTS)
ELAPSED = st.none() | st.floats(0, 1e6)


def tasks(task_id: str) -> st.SearchStrategy[Task]:
    """Return tasks as the adapter makes them: `elapsed_seconds` is known of ended ones only."""
    final = st.builds(
        Task,
        st.just(task_id),
        st.sampled_from([TaskState.COMPLETED, TaskState.FAILED]),
        st.none() | TEXTS,
        st.none() | VIDEOS,
        st.none() | FAILURES,
        MOMENTS,
        MOMENTS,
        ELAPSED,
    )
    running = st.builds(
        Task,
        st.just(task_id),
        st.sampled_from([TaskState.PENDING, TaskState.PROCESSING]),
        st.none() | TEXTS,
        created_at=MOMENTS,
        finished_at=MOMENTS,
    )
    return final | running


BATCHES = st.integers(1, 6).flatmap(lambda count: st.tuples(*(tasks(f"task-{number}") for number in range(count))))


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def brief_of(task: Task) -> dict[str, Any]:
    view: dict[str, Any] = {"task_id": task.id, "state": task.state.value}
    if task.video is not None:
        if task.video.video_id is not None:
            view["video_id"] = task.video.video_id
        view["video_url"] = task.video.url
    if task.failure is not None:
        view["error"] = {"code": task.failure.code, "message": task.failure.message}
    if not task.is_final and task.created_at is not None:
        view["elapsed_seconds"] = round(max(0.0, NOW - task.created_at), 1)
        view["likely_stuck"] = NOW - task.created_at > PACE.stuck_after_seconds
    return view


def full_of(task: Task) -> dict[str, Any]:
    view, video = brief_of(task), task.video
    if video is not None:
        sizes = {"video_width": video.width, "video_height": video.height, "thumbnail_url": video.thumbnail_url}
        view |= {key: value for key, value in sizes.items() if value is not None}
    if task.prompt is not None:
        view["prompt"] = task.prompt
    for key, moment in (("created_at", task.created_at), ("finished_at", task.finished_at)):
        if moment is not None:
            view[key] = iso(moment)
    if task.elapsed_seconds is not None:
        view["elapsed_seconds"] = task.elapsed_seconds
    if video is not None and video.expires_at is not None:
        view["expires_at"] = iso(video.expires_at)
    return view


def line_of(task: Task) -> str:
    if not task.is_final:
        is_stuck = task.created_at is not None and NOW - task.created_at > PACE.stuck_after_seconds
        return f"{task.id} {task.state.value}" + " for over 10 minutes: likely stuck, tell the user" * is_stuck
    if task.state is TaskState.FAILED or task.video is None:
        return f"{task.id} failed" + (f" {task.failure.code.value}: {task.failure.message}" if task.failure else "")
    video_id = f" video_id={task.video.video_id}" if task.video.video_id else ""
    return f"{task.id} completed{video_id} {task.video.url}"


def from_store(task: Task) -> RenderedTask:
    """Return the task as another process reads it."""
    form = pack_task(render(task))
    assert form is not None
    found = unpack_task(task.id, form)
    assert found == render(task)
    return found


@given(BATCHES)
def test_a_batch_result_equals_the_encoded_views_byte_for_byte(batch: tuple[Task, ...]) -> None:
    lookup = Lookup({task.id: from_store(task) for task in batch}, NO_STATS)
    for is_full, view_of in ((False, brief_of), (True, full_of)):
        answer = batch_result(lookup, NOW, ACEDATACLOUD, is_full=is_full)
        views = to_json([view_of(task) for task in batch])
        assert answer.result.startswith(b'{"tasks":' + views + b',"missing":[],"unavailable":[],"counts":{')
        result = json.loads(answer.result)
        assert result["ask_again_in_seconds"] == poll_after(batch, NOW, PACE)
        assert sum(result["counts"].values()) == len(batch)
        said = json.loads(answer.text)
        assert said.split(". ", 1)[0] in said
        assert said.endswith("\n" + "\n".join(map(line_of, batch)))


@given(tasks("task-0"))
def test_a_single_task_result_equals_the_encoded_view_byte_for_byte(task: Task) -> None:
    wait = poll_after([task], NOW, PACE)
    text, result = single_task_result(from_store(task), NOW, PACE)
    assert result == to_json({**full_of(task), "ask_again_in_seconds": wait})
    advice = "" if wait is None else f"\nAsk again in {wait:g} s."
    assert text == to_json(line_of(task) + advice)


def test_the_age_of_a_task_is_computed_for_each_result() -> None:
    task = render(Task("a", TaskState.PROCESSING, created_at=NOW - 5))

    def at(seconds: float) -> Mapping[str, Any]:
        return dict(json.loads(single_task_result(task, NOW + seconds, PACE)[1]))

    assert [at(seconds)["elapsed_seconds"] for seconds in (0, 20, 595, 596)] == [5.0, 25.0, 600.0, 601.0]
    assert [at(seconds)["likely_stuck"] for seconds in (595, 596)] == [False, True]


def test_the_repr_of_a_rendered_task_has_only_id_and_state() -> None:
    task = Task("a", TaskState.COMPLETED, "A secret fox", Video("https://cdn.example.com/secret.mp4"))
    assert repr(render(task)) == "RenderedTask('a', completed)"

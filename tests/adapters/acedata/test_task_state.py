"""The state of a record: every documented or observed form of a running, failed and completed task."""

import pytest

from app.adapters.acedata.task_state import SETTLING_SECONDS, RecordFields, resolve_state
from app.domain.task import TaskState

NOW = 1_790_000_000.0
LONG_AGO = NOW - 600
JUST_NOW = NOW - 1


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        (RecordFields(), TaskState.PENDING),
        (RecordFields(state_word="pending"), TaskState.PENDING),
        (RecordFields(state_word="queued"), TaskState.PENDING),
        (RecordFields(success=False), TaskState.PENDING),
        (RecordFields(state_word="pending", success=False), TaskState.PENDING),
        (RecordFields(success=False, has_video=True), TaskState.PENDING),
        (RecordFields(error_code="api_error"), TaskState.PENDING),
        (RecordFields(state_word="processing"), TaskState.PROCESSING),
        (RecordFields(state_word="processing", success=False), TaskState.PROCESSING),
        (RecordFields(success=True), TaskState.PROCESSING),
        (RecordFields(state_word="completed"), TaskState.PROCESSING),
        (RecordFields(state_word="completed", success=True), TaskState.PROCESSING),
    ],
    ids=[
        "no response, null or {}",
        "state pending",
        "a state word that nobody documented",
        "a bare-string error",
        "state pending and a bare-string error",
        "a bare-string error beside a URL",
        "an error without success:false",
        "state processing",
        "state processing and a bare-string error",
        "success:true without URL",
        "state completed without URL",
        "completed in every way but the URL",
    ],
)
def test_a_record_without_end_and_without_result_is_running(fields: RecordFields, state: TaskState) -> None:
    assert resolve_state(fields, NOW) is state


@pytest.mark.parametrize("state_word", ["pending", "processing"])
def test_a_video_url_with_a_running_state_is_not_completed(state_word: str) -> None:
    fields = RecordFields(state_word=state_word, success=True, has_video=True)
    assert resolve_state(fields, NOW) in (TaskState.PENDING, TaskState.PROCESSING)


@pytest.mark.parametrize(
    "fields",
    [
        RecordFields(success=False, error_code="bad_request", finished_at=JUST_NOW),
        RecordFields(success=False, error_code="bad_request"),
        RecordFields(success=False, finished_at=JUST_NOW),
        RecordFields(state_word="failed"),
        RecordFields(state_word="failed", finished_at=JUST_NOW),
        RecordFields(state_word="failed", success=True),
        RecordFields(state_word="processing", success=False, error_code="api_error"),
        RecordFields(success=False, has_video=True, finished_at=LONG_AGO),
        RecordFields(success=False, error_code="api_error", has_video=True),
        RecordFields(state_word="failed", has_video=True, finished_at=LONG_AGO),
    ],
    ids=[
        "structured error, finished",
        "structured error, no end",
        "bare-string error, finished",
        "state failed",
        "state failed, finished",
        "state failed against success:true",
        "structured error against state processing",
        "finished without success, with a URL",
        "structured error, with a URL",
        "state failed, with a URL",
    ],
)
def test_a_record_with_a_failed_state_has_failed(fields: RecordFields) -> None:
    assert resolve_state(fields, NOW) is TaskState.FAILED


@pytest.mark.parametrize("finished_at", [None, JUST_NOW, LONG_AGO, NOW + 600])
@pytest.mark.parametrize("success", [None, True])
@pytest.mark.parametrize("state_word", [None, "completed", "done"])
def test_a_video_url_completes_a_record_with_and_without_an_end(
    finished_at: float | None, success: bool | None, state_word: str | None
) -> None:
    fields = RecordFields(state_word=state_word, success=success, has_video=True, finished_at=finished_at)
    assert resolve_state(fields, NOW) is TaskState.COMPLETED


@pytest.mark.parametrize("success", [None, True])
@pytest.mark.parametrize("state_word", [None, "completed", "pending", "processing"])
@pytest.mark.parametrize(
    ("age", "state"),
    [
        (-600.0, TaskState.PROCESSING),
        (0.0, TaskState.PROCESSING),
        (SETTLING_SECONDS - 0.1, TaskState.PROCESSING),
        (SETTLING_SECONDS, TaskState.FAILED),
        (600.0, TaskState.FAILED),
    ],
)
def test_a_finished_record_without_result_fails_after_a_minute(
    age: float, state: TaskState, success: bool | None, state_word: str | None
) -> None:
    assert resolve_state(RecordFields(state_word=state_word, success=success, finished_at=NOW - age), NOW) is state

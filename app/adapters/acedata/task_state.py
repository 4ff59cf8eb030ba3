"""Derives the state of a task from its AceDataCloud record. No other module does this.

A record has no status field. Its state follows from the `response` in it and from `finished_at`. The documentation, the
first-party web app and the SDK's tests show several forms of a running task.
"""

from dataclasses import dataclass

from app.domain.task import TaskState

SETTLING_SECONDS = 60.0
"""Time after `finished_at` for which a record without a result counts as running; after that it counts as failed.

The record may have been read between two writes. A final state is cached for weeks, so it must not count as final yet.
"""


@dataclass(frozen=True, slots=True)
class RecordFields:
    """The fields of a record that determine its state. None stands for an absent or malformed field.

    `state_word` is `response.state`, and `success` is `response.success`. `error_code` is `response.error.code`; it is
    None as well if `error` is a string. `finished_at` is in Unix seconds.
    """

    state_word: str | None = None
    success: bool | None = None
    has_video: bool = False
    error_code: str | None = None
    finished_at: float | None = None


def resolve_state(fields: RecordFields, now: float) -> TaskState:
    """Return the state at `now` (Unix seconds)."""
    if fields.state_word == "failed" or (fields.success is False and fields.error_code is not None):
        return TaskState.FAILED
    if fields.finished_at is not None:
        return _finished_state(fields, fields.finished_at, now)
    if fields.has_video and fields.success is not False and fields.state_word not in ("pending", "processing"):
        return TaskState.COMPLETED
    if fields.state_word in ("processing", "completed") or fields.success is True:
        return TaskState.PROCESSING
    return TaskState.PENDING


def _finished_state(fields: RecordFields, finished_at: float, now: float) -> TaskState:
    if fields.success is False:
        return TaskState.FAILED
    if fields.has_video:
        return TaskState.COMPLETED
    return TaskState.FAILED if now - finished_at >= SETTLING_SECONDS else TaskState.PROCESSING

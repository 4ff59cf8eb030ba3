"""The one place that decides what state a record of AceDataCloud is in.

The record has no status field: its state follows from the response inside it and from `finished_at`, and the
documentation, the first-party web app and the SDK's tests show several forms of "still running".
"""

from dataclasses import dataclass

from app.domain.task import TaskState

SETTLING_SECONDS = 60.0
"""How long a record that says it has finished may go without a result before that counts as failed.

A final state is cached for weeks, so a record that was read between two writes must not become one."""


@dataclass(frozen=True, slots=True)
class RecordFields:
    """The fields of a record that determine its state; None for an absent field.

    `error_code` is the code of a structured error; a bare string in its place counts as not said.
    """

    state_word: str | None = None
    success: bool | None = None
    has_video: bool = False
    error_code: str | None = None
    finished_at: float | None = None


def resolve_state(fields: RecordFields, now: float) -> TaskState:
    """Return the state of a record with `fields` at `now` (unix seconds)."""
    if fields.state_word == "failed" or (fields.success is False and fields.error_code is not None):
        return TaskState.FAILED
    if fields.finished_at is not None:
        return _ended(fields, fields.finished_at, now)
    if fields.has_video and fields.success is not False and fields.state_word not in ("pending", "processing"):
        return TaskState.COMPLETED
    if fields.state_word in ("processing", "completed") or fields.success is True:
        return TaskState.PROCESSING
    return TaskState.PENDING


def _ended(fields: RecordFields, finished_at: float, now: float) -> TaskState:
    if fields.success is False:
        return TaskState.FAILED
    if fields.has_video:
        return TaskState.COMPLETED
    return TaskState.FAILED if now - finished_at >= SETTLING_SECONDS else TaskState.PROCESSING

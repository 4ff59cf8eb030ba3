"""The types of structured content. Fields whose value is unknown are left out."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from app.domain.calendar import utc_text
from app.domain.errors import ErrorCode, LumaError
from app.domain.freshness import video_url_expires_at
from app.domain.task import Task

State = Literal["pending", "processing", "completed", "failed"]


class FailureView(TypedDict):
    """Why a generation failed."""

    code: ErrorCode
    message: str


class TaskView(TypedDict):
    """One generation. Times are ISO 8601 in UTC.

    `elapsed_seconds` is the age of a running task; for a final task, its duration, in the full form only.
    """

    task_id: str
    state: State
    video_id: NotRequired[str]
    video_url: NotRequired[str]
    video_width: NotRequired[int]
    video_height: NotRequired[int]
    thumbnail_url: NotRequired[str]
    prompt: NotRequired[str]
    error: NotRequired[FailureView]
    created_at: NotRequired[str]
    finished_at: NotRequired[str]
    elapsed_seconds: NotRequired[float]
    expires_at: NotRequired[str]
    likely_stuck: NotRequired[bool]


class SingleTaskView(TaskView):
    """One generation, and when to ask again. `ask_again_in_seconds` is null if the generation is final."""

    ask_again_in_seconds: float | None


class UnavailableView(TypedDict):
    """An id that could not be read now, and why."""

    task_id: str
    code: ErrorCode
    message: str
    retry_after_seconds: NotRequired[float]


class StateCounts(TypedDict):
    """Number of tasks by state."""

    completed: int
    failed: int
    processing: int
    pending: int


class CountsView(StateCounts):
    """Number of requested ids by outcome."""

    missing: int
    unavailable: int


class TasksView(TypedDict):
    """The tasks that were found."""

    tasks: list[TaskView]


class OutcomeView(TypedDict):
    """The outcome of a batch, without the tasks."""

    missing: list[str]
    unavailable: list[UnavailableView]
    counts: CountsView
    ask_again_in_seconds: float | None


class BatchView(TasksView, OutcomeView):
    """The result of luma_get_tasks_batch. Tasks are in the order of the request, each id once."""


class SubmittedView(SingleTaskView):
    """A generation that was just started. With the Tasks extension, tasks/get later returns its final state instead."""

    expected_seconds: NotRequired[float]
    message: NotRequired[str]
    replayed: NotRequired[bool]


class SubmissionView(TypedDict):
    """A submission, its outcome, and the id of its task if it is known."""

    task_id: NotRequired[str]
    state: Literal["sent", "started", "refused", "unknown"]
    action: Literal["generate", "extend"]
    submitted_at: str
    member: NotRequired[str]


class SubmissionsView(TypedDict):
    """A page of submissions. The next page begins at `next_cursor`, which is null on the last page."""

    tasks: list[SubmissionView]
    next_cursor: str | None


class BudgetView(TypedDict):
    """A budget of the caller's team, member or key in its current window. A `soft` budget refuses nothing."""

    of: Literal["team", "member", "key"]
    window: Literal["day", "week", "month"]
    limit: float
    left: float
    reserved: float
    spent: float
    renews_at: str
    soft: NotRequired[bool]


class RateLimitView(TypedDict):
    """A rate limit of the caller's team, member or key. `left` is null while it cannot be counted.

    `renews_in_seconds` is the time until the oldest counted call or generation counts no more. It is left out if none
    is counted, and for in_flight, which renews when a generation ends.
    """

    of: Literal["team", "member", "key"]
    counts: Literal["calls_per_minute", "generations_per_hour", "in_flight"]
    limit: int
    left: int | None
    renews_in_seconds: NotRequired[int]


class SpentView(TypedDict):
    """Spending in a period. `reserved` is the price of videos that have not ended."""

    generations: int
    spent: float
    reserved: float


class UsageView(TypedDict):
    """Spending of the caller and the caller's team since `since`, and their budgets and rate limits.

    Amounts are in `unit`.
    """

    unit: str | None
    since: str
    caller: SpentView
    team: NotRequired[SpentView]
    budgets: list[BudgetView]
    rate_limits: list[RateLimitView]


class RatioView(TypedDict):
    """An aspect ratio and its use."""

    aspect_ratio: str
    shape: str
    good_for: str


class RatiosView(TypedDict):
    """The aspect ratios; the default comes first."""

    default: str
    aspect_ratios: list[RatioView]


class ActionView(TypedDict):
    """An action, and the tool for it."""

    tool: str
    does: str
    needs: str
    costs_credit: bool


class ActionsView(TypedDict):
    """The actions, and the advised sequence of calls."""

    actions: list[ActionView]
    workflow: str


class ErrorView(TypedDict):
    """An error: its code, a sentence with the next step, and the advised pause before a retry."""

    code: ErrorCode
    message: str
    retry_after_seconds: NotRequired[float]


class ErrorResult(TypedDict):
    """A call that failed."""

    error: ErrorView


def brief_view(task: Task) -> TaskView:
    """Return the fields of `task` that a model needs to continue, without those that depend on the current time."""
    view: TaskView = {"task_id": task.id, "state": task.state.value}
    if task.video is not None:
        if task.video.video_id is not None:
            view["video_id"] = task.video.video_id
        view["video_url"] = task.video.url
    if task.failure is not None:
        view["error"] = {"code": task.failure.code, "message": task.failure.message}
    return view


def details_view(task: Task) -> dict[str, object]:
    """Return the fields that the full form of `task` has in addition to the brief one.

    `elapsed_seconds` of a running task is not included, because it depends on the current time.
    """
    video = task.video
    video_values = (video.width, video.height, video.thumbnail_url) if video is not None else (None, None, None)
    is_aging = not task.is_final and task.created_at is not None
    members = {
        **dict(zip(("video_width", "video_height", "thumbnail_url"), video_values, strict=True)),
        "prompt": task.prompt,
        "created_at": _iso_or_none(task.created_at),
        "finished_at": _iso_or_none(task.finished_at),
        "elapsed_seconds": None if is_aging else task.elapsed_seconds,
        "expires_at": _iso_or_none(video_url_expires_at(task)),
    }
    return {name: value for name, value in members.items() if value is not None}


def unavailable_view(task_id: str, error: LumaError) -> UnavailableView:
    """Return the entry of an id that could not be read."""
    view: UnavailableView = {"task_id": task_id, "code": error.code, "message": str(error)}
    if error.advised_wait_seconds is not None:
        view["retry_after_seconds"] = error.advised_wait_seconds
    return view


def error_view(error: LumaError) -> ErrorView:
    """Return the structured content of a failed call."""
    view: ErrorView = {"code": error.code, "message": str(error)}
    if error.advised_wait_seconds is not None:
        view["retry_after_seconds"] = error.advised_wait_seconds
    return view


def _iso_or_none(moment: float | None) -> str | None:
    return utc_text(moment) if moment is not None else None

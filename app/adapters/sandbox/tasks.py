"""Generations of the sandbox, and their records as AceDataCloud would return them at a given time."""

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from app.adapters.sandbox.behaviour import PendingForm
from app.adapters.sandbox.faults import GENERATION_FAILED, MODERATED, TIMED_OUT, Fault
from app.adapters.sandbox.submission import Submission

JsonObject = dict[str, Any]
"""A decoded JSON object in a request or response."""

Size = tuple[int, int]
"""Width and height in pixels."""

PROMPT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "[fail]": "The generation is accepted and ends failed, with the error code api_error.",
        "[moderated]": "The generation is accepted and then failed by moderation, with the error code forbidden.",
        "[refuse]": "The submission is turned down by moderation with HTTP 403 and the error code forbidden.",
        "[broke]": "The submission is turned down with HTTP 403 and the error code used_up, as without credit.",
    }
)
"""Words in a prompt that determine the outcome, in upper or lower case, each with its effect."""

API_ID = "94fc9028-5a9f-4875-aae4-38463bd30ac5"
"""AceDataCloud's id for /luma/videos, which is in every example record of its guides."""

QUEUE_SECONDS = 0.06
"""Time from creation to start in the example records of AceDataCloud's guides."""

SIZE_FROM_FRAMES: Size = (1552, 656)
"""Size of a video made from a start or end image, in the guides' examples."""

SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "16:9": (1360, 752),
        "9:16": (752, 1360),
        "1:1": (1008, 1008),
        "4:3": (1168, 880),
        "3:4": (880, 1168),
        "21:9": (1552, 656),
        "9:21": (656, 1552),
    }
)
"""Sizes by aspect ratio. 16:9 is that of the guides' examples; for the others, a similar area is assumed."""

_PROMPT_WORD = re.compile("|".join(map(re.escape, PROMPT_WORDS)), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AccountIds:
    """Ids of the account that submitted a task. AceDataCloud includes them in the task's record."""

    user_id: str = field(default_factory=lambda: str(uuid4()))
    application_id: str = field(default_factory=lambda: str(uuid4()))
    credential_id: str = field(default_factory=lambda: str(uuid4()))


@dataclass(frozen=True, slots=True)
class Record:
    """A generation, with its future end. Its JSON form depends only on the time of a read and on PendingForm.

    Times are Unix seconds, rounded to milliseconds. `fault` is the error that the generation ends with; None if it
    succeeds. `number` counts submissions, and orders records that were created in the same millisecond.
    """

    number: int
    account_ids: AccountIds
    request: JsonObject
    size: Size
    created_at: float
    started_at: float
    finished_at: float
    fault: Fault | None
    media_url: str
    task_id: str = field(default_factory=lambda: str(uuid4()))
    video_id: str = field(default_factory=lambda: str(uuid4()))
    trace_id: str = field(default_factory=lambda: str(uuid4()))
    row_id: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def video_url(self) -> str:
        """URL of the video, once the generation has succeeded."""
        return f"{self.media_url}/{self.task_id}.mp4"

    @property
    def thumbnail_url(self) -> str:
        """URL of the video's thumbnail."""
        return f"{self.media_url}/{self.task_id}.jpg"

    def has_ended(self, now: float) -> bool:
        """Whether the generation has succeeded or failed by `now`."""
        return now >= self.finished_at

    def has_succeeded(self, now: float) -> bool:
        """Whether the generation has succeeded by `now`."""
        return self.fault is None and self.has_ended(now)


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a generation: created at `created_at` (Unix seconds), it ends after `seconds`.

    It ends with `fault`, or succeeds if that is None.
    """

    created_at: float
    seconds: float
    fault: Fault | None

    @property
    def times(self) -> tuple[float, float, float]:
        """Times of creation, start and end in Unix seconds. Creation is rounded down, so as not to be in the future."""
        created_at = math.floor(self.created_at * 1000) / 1000
        started_at = created_at + min(QUEUE_SECONDS, self.seconds)
        return created_at, round(started_at, 3), round(created_at + self.seconds, 3)


def prompt_words_in(prompt: object) -> frozenset[str]:
    """Return those of PROMPT_WORDS that `prompt` contains; none if it is not a string."""
    return frozenset(map(str.lower, _PROMPT_WORD.findall(prompt))) if isinstance(prompt, str) else frozenset()


def course_of(submission: Submission, now: float, seconds: float) -> Course:
    """Return the course of the generation that `submission` starts. A generation normally takes `seconds`.

    If a synchronous request waits for less time, the task fails at its timeout, because the caller gets no task id.
    """
    wait_seconds = submission.wait_seconds
    if wait_seconds is not None and wait_seconds < seconds:
        return Course(now, wait_seconds, TIMED_OUT)
    words = prompt_words_in(submission.prompt)
    fault = MODERATED if "[moderated]" in words else GENERATION_FAILED if "[fail]" in words else None
    return Course(now, seconds, fault)


def size_of(submission: Submission) -> Size:
    """Return the size of a new video. An unknown aspect ratio is treated as 16:9, the default."""
    ratio = submission.aspect_ratio or "16:9"
    return SIZE_FROM_FRAMES if submission.has_frames and ratio == "16:9" else SIZES.get(ratio, SIZES["16:9"])


def success_body(record: Record) -> JsonObject:
    """Return the result of a successful generation. Source of its eleven keys: the guide to the videos API."""
    width, height = record.size
    return {
        "success": True,
        "task_id": record.task_id,
        "video_id": record.video_id,
        "prompt": record.request["prompt"],
        "video_url": record.video_url,
        "video_height": height,
        "video_width": width,
        "state": "completed",
        "thumbnail_url": record.thumbnail_url,
        "thumbnail_width": width,
        "thumbnail_height": height,
    }


def failure_body(record: Record, fault: Fault) -> JsonObject:
    """Return the result of a failed generation, as in its record and its callback."""
    return {
        "success": False,
        "task_id": record.task_id,
        "trace_id": record.trace_id,
        "error": {"code": fault.code, "message": fault.message},
    }


def response_body(record: Record) -> JsonObject:
    """Return the result of an ended generation: the `response` in its record."""
    return success_body(record) if record.fault is None else failure_body(record, record.fault)


def callback_body(record: Record) -> JsonObject:
    """Return the body of a callback: the result and the trace id. Source: the guide to async tasks."""
    return {**response_body(record), "trace_id": record.trace_id}


def record_body(record: Record, now: float, pending_form: PendingForm) -> JsonObject:
    """Return the record as /luma/tasks returns it at `now`.

    `started_at` and `finished_at` are absent before their time; with PendingForm.NULL, `finished_at` is null instead.
    """
    body: JsonObject = {
        "_id": record.row_id,
        "id": record.task_id,
        "api_id": API_ID,
        "application_id": record.account_ids.application_id,
        "created_at": record.created_at,
        "credential_id": record.account_ids.credential_id,
        "request": record.request,
        "trace_id": record.trace_id,
        "user_id": record.account_ids.user_id,
    }
    if now >= record.started_at:
        body["started_at"] = record.started_at
    body.update(_ended_fields(record) if record.has_ended(now) else _pending_fields(record, pending_form))
    return body


def _ended_fields(record: Record) -> JsonObject:
    return {
        "finished_at": record.finished_at,
        "elapsed": round(record.finished_at - record.started_at, 3),
        "response": response_body(record),
    }


def _pending_fields(record: Record, form: PendingForm) -> JsonObject:
    match form:
        case PendingForm.MISSING:
            return {}
        case PendingForm.NULL:
            return {"response": None, "finished_at": None}
        case PendingForm.EMPTY:
            return {"response": {}}
        case PendingForm.STATE_PENDING | PendingForm.STATE_PROCESSING:
            return {"response": {"state": form.value}}
    return {"response": {"success": True, "task_id": record.task_id}}  # PendingForm.SUCCESS_WITHOUT_URL

"""A generation as AceDataCloud stores it, and what its record looks like at a given time."""

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from app.adapters.sandbox.behaviour import PendingForm
from app.adapters.sandbox.faults import BROKEN, MODERATED, TIMED_OUT, Fault
from app.adapters.sandbox.submission import Submission

Wire = dict[str, Any]
"""A JSON object on its way out or in."""

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
"""The words that steer an outcome when a prompt contains them, in any case, and what each does."""

API_ID = "94fc9028-5a9f-4875-aae4-38463bd30ac5"
"""The id under which AceDataCloud lists /luma/videos; every example record of its guides carries it."""

QUEUE_SECONDS = 0.06
"""How long a task waits before it starts, in the example records of AceDataCloud's guides."""

IMAGE_SIZE: Size = (1552, 656)
"""Size of the guides' examples with a first or last frame."""

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
"""16:9 as in the guides' examples; the other ratios are of about the same area, which is a guess."""

_PROMPT_WORD = re.compile("|".join(map(re.escape, PROMPT_WORDS)), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Owner:
    """The ids that AceDataCloud notes beside a task for the account that paid for it."""

    user_id: str = field(default_factory=lambda: str(uuid4()))
    application_id: str = field(default_factory=lambda: str(uuid4()))
    credential_id: str = field(default_factory=lambda: str(uuid4()))


@dataclass(frozen=True, slots=True)
class Record:
    """One generation, complete from the start: what it shows depends only on the time it is looked at.

    Times are unix seconds to the millisecond. `fault` is what the generation ends with, None for success.
    `number` counts submissions, so that records made in the same millisecond still have an order.
    """

    number: int
    owner: Owner
    request: Wire
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
        """URL of the finished video."""
        return f"{self.media_url}/{self.task_id}.mp4"

    @property
    def thumbnail_url(self) -> str:
        """URL of the finished video's thumbnail."""
        return f"{self.media_url}/{self.task_id}.jpg"

    def has_ended(self, now: float) -> bool:
        """Whether the generation has come to its end, good or bad."""
        return now >= self.finished_at

    def has_succeeded(self, now: float) -> bool:
        """Whether there is a video now."""
        return self.fault is None and self.has_ended(now)


@dataclass(frozen=True, slots=True)
class Course:
    """How a generation goes: it begins at `created_at` (unix seconds), ends `seconds` later, with `fault` or well."""

    created_at: float
    seconds: float
    fault: Fault | None

    @property
    def times(self) -> tuple[float, float, float]:
        """When it is created, starts and finishes; whole milliseconds, and never created in the future."""
        created_at = math.floor(self.created_at * 1000) / 1000
        started_at = created_at + min(QUEUE_SECONDS, self.seconds)
        return created_at, round(started_at, 3), round(created_at + self.seconds, 3)


def words_in(prompt: object) -> frozenset[str]:
    """Return the steering words that `prompt` contains; none where it is no text."""
    return frozenset(map(str.lower, _PROMPT_WORD.findall(prompt))) if isinstance(prompt, str) else frozenset()


def course_of(submission: Submission, now: float, seconds: float) -> Course:
    """Return how `submission` will go, where a generation takes `seconds`.

    A request that is held for less time than that ends with a timeout, and so does its task: nobody has its id.
    """
    patience = submission.patience_seconds
    if patience is not None and patience < seconds:
        return Course(now, patience, TIMED_OUT)
    words = words_in(submission.prompt)
    fault = MODERATED if "[moderated]" in words else BROKEN if "[fail]" in words else None
    return Course(now, seconds, fault)


def size_of(submission: Submission) -> Size:
    """Return the size of a new video; a ratio that is not known counts as 16:9, the default."""
    ratio = submission.aspect_ratio or "16:9"
    return IMAGE_SIZE if submission.has_image and ratio == "16:9" else SIZES.get(ratio, SIZES["16:9"])


def success_body(record: Record) -> Wire:
    """Return the eleven keys that a finished generation answers with, by the guide to the videos API."""
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


def failure_body(record: Record, fault: Fault) -> Wire:
    """Return what a failed generation leaves in its record and posts to its callback."""
    return {
        "success": False,
        "task_id": record.task_id,
        "trace_id": record.trace_id,
        "error": {"code": fault.code, "message": fault.message},
    }


def response_body(record: Record) -> Wire:
    """Return the `response` of a record that has ended."""
    return success_body(record) if record.fault is None else failure_body(record, record.fault)


def callback_body(record: Record) -> Wire:
    """Return what is posted to the callback URL: the result with its trace id, by the guide to async tasks."""
    return {**response_body(record), "trace_id": record.trace_id}


def wire_record(record: Record, now: float, pending: PendingForm) -> Wire:
    """Return the record as /luma/tasks shows it at `now`; the times of what has not happened yet are absent."""
    wire: Wire = {
        "_id": record.row_id,
        "id": record.task_id,
        "api_id": API_ID,
        "application_id": record.owner.application_id,
        "created_at": record.created_at,
        "credential_id": record.owner.credential_id,
        "request": record.request,
        "trace_id": record.trace_id,
        "user_id": record.owner.user_id,
    }
    if now >= record.started_at:
        wire["started_at"] = record.started_at
    wire.update(_ending(record) if record.has_ended(now) else _no_ending(record, pending))
    return wire


def _ending(record: Record) -> Wire:
    return {
        "finished_at": record.finished_at,
        "elapsed": round(record.finished_at - record.started_at, 3),
        "response": response_body(record),
    }


def _no_ending(record: Record, form: PendingForm) -> Wire:
    match form:
        case PendingForm.MISSING:
            return {}
        case PendingForm.NULL:
            return {"response": None, "finished_at": None}
        case PendingForm.EMPTY:
            return {"response": {}}
        case PendingForm.STATE_PENDING | PendingForm.STATE_PROCESSING:
            return {"response": {"state": form.value}}
    return {"response": {"success": True, "task_id": record.task_id}}

"""The arguments of tools. Their input schemas are published, so each field has a description."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError

from app.domain.generation import MAX_PROMPT_LENGTH, AspectRatio
from app.domain.untrusted_text import MAX_ID_LENGTH

MAX_WAIT_SECONDS = 50
MAX_TIMEOUT_SECONDS = 3600
MAX_PAGE_SIZE = 100
NO_TEXT = "is not text that can be written"
NO_VALUE = frozenset(("", "null", "none", "undefined"))
"""Texts, in upper or lower case, that clients send for a missing value."""

_NO_KEY = (
    'must be a text of your own, not blank, "null", "none" or "undefined": without a key, a repeated call would buy '
    "again. Give one, or leave the argument out. Nothing was sent"
)


def means_no_value(text: str) -> bool:
    """Return whether a text stands for a missing value. No id, URL or time is such a text."""
    return text.strip().lower() in NO_VALUE


def _prompt(value: str) -> str:
    if not value.strip() or len(value) > MAX_PROMPT_LENGTH:
        raise PydanticCustomError("prompt", "must be 1 to 5000 characters of text")
    return value


def _key(value: str | None) -> str | None:
    """Refuse a text that stands for no key: its sender may rely on a key, and would pay twice on a retry."""
    if value is not None and means_no_value(value):
        raise PydanticCustomError("no_key", _NO_KEY)
    if value is not None and len(value) > MAX_ID_LENGTH:
        raise PydanticCustomError("key", f"must be 1 to {MAX_ID_LENGTH} characters")
    return value


def _timeout(value: float | None) -> float | None:
    if value is not None and not 0 < value <= MAX_TIMEOUT_SECONDS:
        raise PydanticCustomError("timeout", f"must be a number above 0 and at most {MAX_TIMEOUT_SECONDS}")
    return value


def _wait(value: float) -> float:
    """Return the wait, cut to MAX_WAIT_SECONDS: a caller who asks for more is answered sooner and may ask again."""
    if value < 0:
        raise PydanticCustomError("wait", f"must be a number from 0 to {MAX_WAIT_SECONDS}")
    return min(value, MAX_WAIT_SECONDS)


def _limit(value: float) -> float:
    if not 1 <= value <= MAX_PAGE_SIZE or not value.is_integer():
        raise PydanticCustomError("limit", f"must be a whole number from 1 to {MAX_PAGE_SIZE}")
    return value


Id = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_ID_LENGTH, pattern=r"^[!-~]+$"),
    WithJsonSchema({"type": "string"}),
]
"""A word of visible ASCII characters, as `is_plain_id` accepts it; surrounding blanks are removed.

The pattern is for pydantic's regex engine, and is not published in the schema.
"""

Prompt = Annotated[
    str,
    AfterValidator(_prompt),
    Field(description="What happens on screen: subject, action, camera, style. 1 to 5000 characters."),
]
NextPrompt = Annotated[
    str,
    AfterValidator(_prompt),
    Field(description="What happens next: action, camera, style. 1 to 5000 characters."),
]
PictureRatio = Annotated[
    AspectRatio, Field(description="Frame shape: 16:9 (default), 9:16, 1:1, 4:3, 3:4, 21:9 or 9:21.")
]
Ratio = Annotated[
    AspectRatio,
    Field(description="Frame shape: 16:9 (default), 9:16, 1:1, 4:3, 3:4, 21:9 or 9:21; see luma_list_aspect_ratios."),
]
FirstFrame = Annotated[str, Field(description="Public picture URL for the first frame; default none.")]
LastFrame = Annotated[str, Field(description="Public picture URL for the last frame; default none.")]
Loop = Annotated[bool, Field(description="true makes the end meet the beginning. Default: false.")]
Enhancement = Annotated[
    bool, Field(description="true (default) lets the backend enrich the prompt; false keeps its wording.")
]
Timeout = Annotated[
    float | None,
    AfterValidator(_timeout),
    Field(description="Seconds the backend may hold it, above 0 to 3600; default its own."),
]
Callback = Annotated[str | None, Field(description="Public URL that gets the result by POST; default none.")]
Key = Annotated[
    str | None,
    AfterValidator(_key),
    Field(
        description="New for each video, the same only to repeat a call: with other arguments it is invalid_request "
        "for a day. 1 to 128 characters, default none."
    ),
]
RetryUnknown = Annotated[
    bool,
    Field(
        description="true sends an unanswered call with its key anew and may buy twice: only if backend_timeout stays "
        "and the user agrees. Default: false."
    ),
]


Confirm = Annotated[
    bool, Field(description="true after the user agreed to the cost, where the call asked for it. Default: false.")
]


HIDDEN_BY_DEFAULT = frozenset({"confirm"})
"""Arguments that tools/list shows only to callers whose team requires consent to costly generations."""


class Arguments(BaseModel):
    """The arguments of one tool. Types are exact, and unknown arguments are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _writable(cls, value: Any) -> Any:
        """Refuse lone surrogates, which JSON can express and UTF-8 cannot: they could not be sent to the backend."""
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise PydanticCustomError("unwritable", NO_TEXT) from None
        return value


class NoArguments(Arguments):
    """No arguments."""


class SpendingArguments(Arguments):
    """The arguments that all billable tools have."""

    idempotency_key: Key = None
    retry_unknown: RetryUnknown = False
    confirm: Confirm = False

    def purchase_arguments(self) -> dict[str, Any]:
        """Return the arguments that determine the purchase. An idempotency key is bound to them."""
        return self.model_dump(exclude={"idempotency_key", "retry_unknown", "confirm"})


class GenerateArguments(SpendingArguments):
    """A video from words."""

    prompt: Prompt
    aspect_ratio: Ratio = "16:9"
    loop: Loop = False
    enhancement: Enhancement = True
    timeout: Timeout = None
    callback_url: Callback = None


class GenerateFromImageArguments(SpendingArguments):
    """A video that begins or ends with an image."""

    prompt: Prompt
    start_image_url: FirstFrame = ""
    end_image_url: LastFrame = ""
    aspect_ratio: PictureRatio = "16:9"
    loop: Loop = False
    enhancement: Enhancement = True
    timeout: Timeout = None
    callback_url: Callback = None


class _ExtendingArguments(SpendingArguments):
    """The arguments that both extend tools have."""

    prompt: NextPrompt
    end_image_url: LastFrame = ""
    callback_url: Callback = None

    def purchase_arguments(self) -> dict[str, Any]:
        """Omit an empty callback_url: earlier releases had no such argument, and idempotency keys outlive a release."""
        arguments = super().purchase_arguments()
        return arguments if self.callback_url else {key: arguments[key] for key in arguments if key != "callback_url"}


class ExtendArguments(_ExtendingArguments):
    """A continuation by id."""

    video_id: Annotated[
        Id,
        Field(
            description="A completed task's video_id, not its task_id; whether it outlives the link is undocumented."
        ),
    ]


class ExtendFromUrlArguments(_ExtendingArguments):
    """A continuation by URL."""

    video_url: Annotated[str, Field(description="The video_url of a get tool or of the user, unchanged.")]


Wait = Annotated[
    float,
    AfterValidator(_wait),
    Field(description="Seconds to wait until no task runs: 0 (default, at once) to 50; more is 50."),
]
WaitForOne = Annotated[
    float,
    AfterValidator(_wait),
    Field(description="Seconds to wait until the task ends: 0 (default, at once) to 50; more is 50."),
]
Detail = Annotated[
    Literal["brief", "full"],
    Field(description='"brief" (default), or "full" with prompt, size, thumbnail and times.'),
]


SubmissionState = Annotated[
    Literal["started", "unknown", "sent", "refused"] | None,
    Field(description="started, unknown, sent or refused; default all but refused."),
]
Since = Annotated[str | None, Field(description="From this ISO 8601 time (UTC) on; default none.")]
Member = Annotated[str | None, Field(description="Team keys only: one member; default all.")]
Limit = Annotated[float, AfterValidator(_limit), Field(description="1 to 100, default 20.")]
Cursor = Annotated[str | None, Field(description="next_cursor, same filters; default first page.")]


class TaskArguments(Arguments):
    """One task."""

    task_id: Annotated[Id, Field(description="Of a generate or extend tool or luma_list_tasks, not a video_id.")]
    wait_seconds: WaitForOne = 0


class ListArguments(Arguments):
    """A page of submissions."""

    state: SubmissionState = None
    member: Member = None
    since: Since = None
    limit: Limit = 20
    cursor: Cursor = None


class BatchArguments(Arguments):
    """Many tasks; see `batch_arguments` for the form with a limit."""

    task_ids: list[Id]
    wait_seconds: Wait = 0
    detail: Detail = "brief"


def batch_arguments(limit: int) -> type[BatchArguments]:
    """Return the arguments of the batch tool for at most `limit` ids."""
    description = (
        f"1 to {limit} task_ids of generate or extend tools or luma_list_tasks; up to 50 keep the answer short. "
        "Order is kept, repeated ids are answered once."
    )
    ids = Annotated[list[Id], Field(min_length=1, max_length=limit, description=description)]
    return create_model("BatchArguments", __base__=BatchArguments, task_ids=(ids, ...))

"""What tools take: the published input schemas, and the sentences for arguments that do not fit them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    create_model,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from app.domain.errors import InvalidRequest
from app.domain.foreign_text import LONGEST_ID
from app.domain.generation import LONGEST_PROMPT, AspectRatio
from app.mcp_server.tools.coercion import coerced, nearest

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,40}")
_MOST_FAULTS = 3
LONGEST_WAIT_SECONDS = 50
LONGEST_TIMEOUT_SECONDS = 3600
LONGEST_PAGE = 100


def _prompt(value: str) -> str:
    if not value.strip() or len(value) > LONGEST_PROMPT:
        raise PydanticCustomError("prompt", "must be 1 to 5000 characters of text")
    return value


def _key(value: str | None) -> str | None:
    if value is not None and not 0 < len(value) <= LONGEST_ID:
        raise PydanticCustomError("key", f"must be 1 to {LONGEST_ID} characters")
    return value


def _timeout(value: float | None) -> float | None:
    if value is not None and not 0 < value <= LONGEST_TIMEOUT_SECONDS:
        raise PydanticCustomError("timeout", f"must be a number above 0 and at most {LONGEST_TIMEOUT_SECONDS}")
    return value


def _wait(value: float) -> float:
    """Return the wait, cut to the longest: a caller who asks for more is answered sooner and may ask again."""
    if value < 0:
        raise PydanticCustomError("wait", f"must be a number from 0 to {LONGEST_WAIT_SECONDS}")
    return min(value, LONGEST_WAIT_SECONDS)


def _limit(value: float) -> float:
    if not 1 <= value <= LONGEST_PAGE or not value.is_integer():
        raise PydanticCustomError("limit", f"must be a whole number from 1 to {LONGEST_PAGE}")
    return value


Id = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=LONGEST_ID, pattern=r"^[!-~]+$"),
    WithJsonSchema({"type": "string"}),
]
"""One word of visible ASCII characters, as `is_plain_id` has it; blanks around it are not part of it.

The pattern is for Rust, not for clients.
"""

Prompt = Annotated[
    str,
    AfterValidator(_prompt),
    Field(description="What happens on screen: subject, action, place, camera, style. 1 to 5000 characters."),
]
NextPrompt = Annotated[
    str,
    AfterValidator(_prompt),
    Field(description="What happens next: action, camera, style. 1 to 5000 characters."),
]
Ratio = Annotated[AspectRatio, Field(description="Frame shape: 16:9 (default), 9:16, 1:1, 4:3, 3:4, 21:9 or 9:21.")]
FirstFrame = Annotated[str, Field(description="Public image URL for the first frame. Default: none.")]
LastFrame = Annotated[str, Field(description="Public image URL for the last frame. Default: none.")]
Loop = Annotated[bool, Field(description="true makes the end meet the beginning. Default: false.")]
Enhancement = Annotated[
    bool, Field(description="true (default) lets the backend enrich the prompt; false keeps its wording.")
]
Timeout = Annotated[
    float | None,
    AfterValidator(_timeout),
    Field(description="Rarely needed: backend seconds, above 0 to 3600. Default: its own."),
]
Callback = Annotated[str | None, Field(description="Public URL that the backend POSTs the result to. Default: none.")]
Key = Annotated[
    str | None,
    AfterValidator(_key),
    Field(
        description="A new name for each video, after a failed one too, 1 to 128 characters. For a day the same "
        "arguments get its task, others are refused. Default: none."
    ),
]
RetryUnknown = Annotated[
    bool,
    Field(
        description="true buys again, maybe twice, if backend_timeout stays despite the key: ask the user. "
        "Default: false."
    ),
]


class Arguments(BaseModel):
    """The arguments of one tool: exact types, and nothing beside those named."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _writable(cls, value: Any) -> Any:
        """Refuse half of a surrogate pair, which JSON can carry and no other text can: nothing could be sent on."""
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise PydanticCustomError("unwritable", _NO_TEXT) from None
        return value


class NoArguments(Arguments):
    """The tool takes none."""


class SpendingArguments(Arguments):
    """What every tool that spends takes."""

    idempotency_key: Key = None
    retry_unknown: RetryUnknown = False

    def bought(self) -> dict[str, Any]:
        """Return what a key stands for: everything but the key and how to use it."""
        return self.model_dump(exclude={"idempotency_key", "retry_unknown"})


class GenerateArguments(SpendingArguments):
    """A video from words."""

    prompt: Prompt
    aspect_ratio: Ratio = "16:9"
    loop: Loop = False
    enhancement: Enhancement = True
    timeout: Timeout = None
    callback_url: Callback = None


class GenerateFromImageArguments(SpendingArguments):
    """A video between images."""

    prompt: Prompt
    start_image_url: FirstFrame = ""
    end_image_url: LastFrame = ""
    aspect_ratio: Ratio = "16:9"
    loop: Loop = False
    enhancement: Enhancement = True
    timeout: Timeout = None
    callback_url: Callback = None


class _ExtendingArguments(SpendingArguments):
    """What both continuations take."""

    prompt: NextPrompt
    end_image_url: LastFrame = ""
    callback_url: Callback = None

    def bought(self) -> dict[str, Any]:
        """Leave out a callback_url that is not there: earlier releases took none, and their keys are still known."""
        bought = super().bought()
        return bought if self.callback_url else {key: bought[key] for key in bought if key != "callback_url"}


class ExtendArguments(_ExtendingArguments):
    """A continuation by id."""

    video_id: Annotated[
        Id,
        Field(description="The video_id that the get tools show for a completed task; not its task_id."),
    ]


class ExtendFromUrlArguments(_ExtendingArguments):
    """A continuation by URL."""

    video_url: Annotated[str, Field(description="A video_url of an earlier result, unchanged.")]


Wait = Annotated[
    float,
    AfterValidator(_wait),
    Field(description="Answer when no task runs any more, or after so many seconds: 0 (default, at once) to 50."),
]
WaitForOne = Annotated[
    float,
    AfterValidator(_wait),
    Field(description="Answer when the task has ended, or after so many seconds: 0 (default, at once) to 50."),
]
Detail = Annotated[
    Literal["brief", "full"],
    Field(description='"brief" (default), or "full" with prompt, size, thumbnail and times as well.'),
]


Submission = Annotated[
    Literal["started", "unknown", "sent", "refused"] | None,
    Field(description="started, unknown, sent or refused. Default: all but refused."),
]
Since = Annotated[str | None, Field(description="Only from this ISO 8601 time on (UTC). Default: none.")]
Limit = Annotated[float, AfterValidator(_limit), Field(description="Per page: 1 to 100. Default: 20.")]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before. Default: first page.")]


class TaskArguments(Arguments):
    """One task."""

    task_id: Annotated[Id, Field(description="The task_id that a generate or extend tool returned.")]
    wait_seconds: WaitForOne = 0


class ListArguments(Arguments):
    """A page of submissions."""

    state: Submission = None
    since: Since = None
    limit: Limit = 20
    cursor: Cursor = None


class TasksArguments(Arguments):
    """Many tasks; see `tasks_arguments` for the form with a limit."""

    task_ids: list[Id]
    wait_seconds: Wait = 0
    detail: Detail = "brief"


def tasks_arguments(limit: int) -> type[TasksArguments]:
    """Return the arguments of the batch tool for at most `limit` ids."""
    description = (
        f"1 to {limit} task_ids of generate and extend tools; up to 50 keep the answer short. Order is kept, "
        "repeated ids are answered once."
    )
    ids = Annotated[list[Id], Field(min_length=1, max_length=limit, description=description)]
    return create_model("TasksArguments", __base__=TasksArguments, task_ids=(ids, ...))


def read_arguments(model: type[Arguments], given: Mapping[str, Any]) -> Arguments:
    """Return `given` as the tool's arguments, read as `coerced` reads them.

    Raises InvalidRequest, whose sentence names the arguments at fault and repeats no value.
    """
    meant = coerced(model, given, spends=issubclass(model, SpendingArguments))
    try:
        return model.model_validate(meant)
    except ValidationError as exc:
        faults = exc.errors(include_url=False, include_input=False)
        sentences = [_sentence(model, detail, given) for detail in faults[:_MOST_FAULTS]]
        raise InvalidRequest(" ".join(sentences)) from None


def _sentence(model: type[Arguments], error: ErrorDetails, given: Mapping[str, Any]) -> str:
    name = _name(error["loc"])
    match error["type"] if error["loc"] else "name":  # only a name that is no text has no place
        case "missing":
            meant = next((other for other in given if nearest(model, other) == error["loc"][0]), "")
            hint = f" The call has `{meant}` in its place." if _PLAIN_NAME.fullmatch(meant) else ""
            return f"{name} is required.{hint}"
        case "too_long":
            return f"{name} holds more than {error['ctx']['max_length']} ids: split it into several calls."
        case "too_short":
            return f"{name} is empty: give at least one id."
        case kind:
            return f"{name} {_EXPECTED.get(kind) or _pydantic_words(error)}."


_NO_ID = f"is not an id: 1 to {LONGEST_ID} visible ASCII characters without spaces"
_NO_TEXT = "is not text that can be written"
_EXPECTED: dict[str, str] = {
    "name": _NO_TEXT,
    "unwritable": _NO_TEXT,
    "string_type": "must be a string",
    "string_pattern_mismatch": _NO_ID,
    "string_too_long": _NO_ID,
    "string_unicode": _NO_TEXT,
    "list_type": 'must be a list of strings, such as ["id1", "id2"]',
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "finite_number": "must be a number",
}


def _pydantic_words(error: ErrorDetails) -> str:
    expected = error.get("ctx", {}).get("expected")
    return f"must be one of {expected}" if expected else error["msg"]


def _name(location: tuple[int | str, ...]) -> str:
    """Return the argument's path, as far as it is one that a person would write."""
    if not location:
        return "The name of an argument"
    name, *rest = location
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        return "An argument"
    return f"`{name}{''.join(f'[{index}]' for index in rest if isinstance(index, int))}`"

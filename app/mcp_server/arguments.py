"""What tools take: the published input schemas, and the sentences for arguments that do not fit them."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

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

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,40}")
_MOST_FAULTS = 3


def _prompt(value: str) -> str:
    if not value.strip() or len(value) > LONGEST_PROMPT:
        raise PydanticCustomError("prompt", "must be 1 to 5000 characters of text")
    return value


Id = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=LONGEST_ID, pattern=r"^[!-~]+$"),
    WithJsonSchema({"type": "string"}),
]
"""One word of visible ASCII characters, as `is_plain_id` has it; blanks around it are not part of it.

The pattern is for Rust, not for clients.
"""

Prompt = Annotated[str, AfterValidator(_prompt), Field(description="What happens on screen: subject, motion, style.")]
AfterFrame = Annotated[str, Field(description="Public image URL for the last frame.")]
Loop = Annotated[bool, Field(description="Make the end meet the beginning.")]
Enhancement = Annotated[bool, Field(description="Let the backend enrich the prompt; false keeps its wording.")]
Timeout = Annotated[
    float | None, Field(gt=0, le=3600, description="Seconds the backend may take; null = its own limit.")
]
Callback = Annotated[str | None, Field(description="Public URL that the backend POSTs the result to.")]


Key = Annotated[
    str | None,
    Field(min_length=1, max_length=128, description="Your name for this purchase; see above."),
]
RetryUnknown = Annotated[bool, Field(description="Buy again under a key of unknown outcome.")]


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
    aspect_ratio: AspectRatio = "16:9"
    loop: Loop = False
    enhancement: Enhancement = True
    timeout: Timeout = None
    callback_url: Callback = None


class GenerateFromImageArguments(SpendingArguments):
    """A video between images."""

    prompt: Prompt
    start_image_url: Annotated[str, Field(description="Public image URL for the first frame.")] = ""
    end_image_url: AfterFrame = ""
    aspect_ratio: AspectRatio = "16:9"
    loop: Loop = False
    enhancement: Enhancement = True
    timeout: Timeout = None
    callback_url: Callback = None


class ExtendArguments(SpendingArguments):
    """A continuation by id."""

    video_id: Annotated[Id, Field(description="The video_id of a completed task; not its task_id.")]
    prompt: Prompt
    end_image_url: AfterFrame = ""


class ExtendFromUrlArguments(SpendingArguments):
    """A continuation by URL."""

    video_url: Annotated[str, Field(description="The video_url of a completed task.")]
    prompt: Prompt
    end_image_url: AfterFrame = ""


Wait = Annotated[float, Field(ge=0, le=50, description="0 answers at once.")]


class TaskArguments(Arguments):
    """One task."""

    task_id: Annotated[Id, Field(description="As returned by a generate or extend tool.")]
    wait_seconds: Wait = 0


class TasksArguments(Arguments):
    """Many tasks; see `tasks_arguments` for the form with a limit."""

    task_ids: list[Id]
    wait_seconds: Wait = 0


def tasks_arguments(limit: int) -> type[TasksArguments]:
    """Return the arguments of the batch tool for at most `limit` ids."""
    description = "Ids as returned by the generate and extend tools."
    ids = Annotated[list[Id], Field(min_length=1, max_length=limit, description=description)]
    return create_model("TasksArguments", __base__=TasksArguments, task_ids=(ids, ...))


def read_arguments(model: type[Arguments], given: Mapping[str, Any]) -> Arguments:
    """Return `given` as the tool's arguments; null counts as left out where there is a default.

    Raises InvalidRequest, whose sentence names the arguments at fault and repeats no value.
    """
    meant = {name: value for name, value in given.items() if value is not None or name not in _optional(model)}
    try:
        return model.model_validate(meant)
    except ValidationError as fault:
        faults = fault.errors(include_url=False, include_input=False)
        sentences = [_sentence(model, detail) for detail in faults[:_MOST_FAULTS]]
        raise InvalidRequest(" ".join(sentences)) from None


@cache
def _optional(model: type[Arguments]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if not field.is_required())


def input_schema(model: type[Arguments]) -> dict[str, Any]:
    """Return the published schema of `model`: what pydantic knows, without the titles that repeat the names."""
    schema: dict[str, Any] = _untitled(model.model_json_schema())
    schema.pop("description", None)
    return schema


def _untitled(schema: Any) -> Any:
    if isinstance(schema, dict):
        kept = {key: value for key, value in schema.items() if key != "title" or not isinstance(value, str)}
        return {key: _untitled(value) for key, value in kept.items()}
    return [_untitled(item) for item in schema] if isinstance(schema, list) else schema


def _sentence(model: type[Arguments], fault: ErrorDetails) -> str:
    name = _name(fault["loc"])
    match fault["type"] if fault["loc"] else "name":  # only a name that is no text has no place
        case "extra_forbidden":
            known = ", ".join(model.model_fields) or "none"
            return f"{name} is not an argument of this tool; it takes: {known}."
        case "string_too_short" | "string_too_long" if fault["loc"] == ("idempotency_key",):
            return f"{name} must be 1 to {LONGEST_ID} characters."
        case "too_long":
            return f"{name} holds more than {fault['ctx']['max_length']} ids: split it into several calls."
        case "too_short":
            return f"{name} is empty: give at least one id."
        case "greater_than" | "greater_than_equal" | "less_than_equal":
            return f"{name} must be a number {_bounds(model, fault['loc'][0])}."
        case kind:
            return f"{name} {_EXPECTED.get(kind) or _pydantic_words(fault)}."


def _bounds(model: type[Arguments], name: int | str) -> str:
    """Return the limits of a number, in words."""
    schema = model.model_json_schema()["properties"][name]
    limits = next((part for part in schema.get("anyOf", ()) if part.get("type") == "number"), schema)
    lowest = f"of at least {limits['minimum']:g}" if "minimum" in limits else f"above {limits['exclusiveMinimum']:g}"
    return f"{lowest} and at most {limits['maximum']:g}"


_NO_ID = f"is not an id: 1 to {LONGEST_ID} visible ASCII characters without spaces"
_NO_TEXT = "is not text that can be written"
_EXPECTED: dict[str, str] = {
    "missing": "is required",
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


def _pydantic_words(fault: ErrorDetails) -> str:
    expected = fault.get("ctx", {}).get("expected")
    return f"must be one of {expected}" if expected else fault["msg"]


def _name(location: tuple[int | str, ...]) -> str:
    """Return the argument's path, as far as it is one that a person would write."""
    if not location:
        return "The name of an argument"
    name, *rest = location
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        return "An argument"
    return f"`{name}{''.join(f'[{index}]' for index in rest if isinstance(index, int))}`"

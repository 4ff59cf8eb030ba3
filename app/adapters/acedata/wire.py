"""Translates AceDataCloud's JSON: commands into request bodies, and records into tasks."""

from collections.abc import Iterable, Sequence
from typing import Any

from app.adapters.acedata.errors import BackendErrorFields, error_fields_in, error_for
from app.adapters.acedata.policy import LINK_LIFE_SECONDS
from app.adapters.acedata.quotes import ComparisonBudget
from app.adapters.acedata.task_state import RecordFields, resolve_state
from app.domain.errors import ErrorCode
from app.domain.generation import Command, GenerateVideo
from app.domain.public_url import shown_url
from app.domain.task import YEAR_3000, Failure, Task, TaskState, Video
from app.domain.untrusted_text import MAX_SHOWN_PROMPT_LENGTH, is_plain_id, visible_line

FAILED_GENERATION_STATUS = 500
"""HTTP status assumed for the error in a record. With it, an error without a known code becomes a BackendError."""

MAX_SIDE_PIXELS = 65_535
"""Largest width or height of a video; a larger one is treated as absent."""


def retrieve_payload(task_ids: Sequence[str]) -> dict[str, Any]:
    """Return the body of a request for the records of `task_ids`.

    `limit` is not documented for Luma. AceDataCloud's sibling services have it, and return 12 records without it.
    """
    if len(task_ids) == 1:
        return {"action": "retrieve", "id": task_ids[0]}
    return {"action": "retrieve_batch", "ids": list(task_ids), "offset": 0, "limit": len(task_ids)}


def submission_payload(command: Command) -> dict[str, Any]:
    """Return the body of a submission of `command`, without the fields that are None."""
    body = _generate_fields(command) if isinstance(command, GenerateVideo) else _extend_fields(command)
    return {key: value for key, value in body.items() if value is not None} | {"async": True}


def _generate_fields(command: GenerateVideo) -> dict[str, Any]:
    return {
        "action": "generate",
        "prompt": command.prompt,
        "aspect_ratio": command.aspect_ratio,
        "loop": command.loop,
        "enhancement": command.enhancement,
        "start_image_url": command.start_image_url,
        "end_image_url": command.end_image_url,
        "timeout": command.timeout_seconds,
        "callback_url": command.callback_url,
    }


def _extend_fields(command: Any) -> dict[str, Any]:
    return {
        "action": "extend",
        "prompt": command.prompt,
        "video_id": command.video_id,
        "video_url": command.video_url,
        "end_image_url": command.end_image_url,
        "callback_url": command.callback_url,
    }


_PRIVATE_URL_AND_ID_FIELDS = ("start_image_url", "end_image_url", "video_url", "video_id", "callback_url")
"""Fields of a request, beside the prompt, that no error message may repeat."""

_COMPARED_FIELDS = ("action", "prompt", "start_image_url", "end_image_url", "video_id", "video_url")
"""Fields of a request that are compared with those that a record echoes."""


def echo_matches(record: dict[str, Any], command: Command) -> bool:
    """Return whether all of _COMPARED_FIELDS that a record echoes are those of `command`."""
    echoed, sent = _object(record.get("request")), submission_payload(command)
    return all(echoed[name] == sent.get(name) for name in _COMPARED_FIELDS if echoed.get(name) is not None)


def callback_url_in(record: dict[str, Any]) -> str | None:
    """Return the callback URL in the request that the record echoes, or None."""
    return _text(_object(record.get("request")).get("callback_url"))


def records_in(body: Any) -> list[dict[str, Any]] | None:
    """Return the records in `body`, the response to a read of one or several ids; None if `body` has another form.

    The response for a single unknown id is an empty object. Unknown ids are absent from the items of a batch, or are
    empty objects there.
    """
    if not isinstance(body, dict):
        return None
    if "items" in body:
        items = body["items"]
        return [item for item in items if isinstance(item, dict) and item] if isinstance(items, list) else None
    return [body] if body else []


def tasks_in(
    records: Iterable[dict[str, Any]], now: float, own_prefix: str | None = None, *, token: str = ""
) -> dict[str, Task]:
    """Return the tasks of `records` by id, at `now` (Unix seconds).

    Of several records with one id, the first with a final state is used, or else the last. Quoted error messages repeat
    neither `token` nor the request. See `task_from` for `own_prefix`.
    """
    tasks: dict[str, Task] = {}
    budget = ComparisonBudget(token)
    for record in records:
        task = task_from(record, now, own_prefix, budget)
        if task is not None and not (task.id in tasks and tasks[task.id].is_final):
            tasks[task.id] = task
    return tasks


def task_id_in(record: dict[str, Any]) -> str | None:
    """Return the task id in a record, or None if there is no valid one."""
    return valid_id(record.get("id")) or valid_id(_object(record.get("response")).get("task_id"))


def task_from(
    record: dict[str, Any], now: float, own_prefix: str | None = None, budget: ComparisonBudget | None = None
) -> Task | None:
    """Return the task in `record` at `now` (Unix seconds), or None if the record has no valid task id.

    `own_prefix` is the URL prefix of videos that this service serves itself, in the sandbox only. `budget` limits the
    comparisons of error messages with private texts, for all records of a response. The account's fields (user_id,
    application_id, credential_id, trace_id) are dropped, and so are unsafe ids and URLs.
    """
    response, task_id = _object(record.get("response")), task_id_in(record)
    if task_id is None:
        return None
    error_fields = error_fields_in(response)
    finished_at = _time(record.get("finished_at"))
    video = _video(response, finished_at, own_prefix)
    fields = _record_fields(response, error_fields, finished_at, has_video=video is not None)
    state = resolve_state(fields, now)
    created_at = _time(record.get("created_at"))
    return Task(
        id=task_id,
        state=state,
        prompt=_prompt(response.get("prompt")) or _prompt(_object(record.get("request")).get("prompt")),
        video=video if state is TaskState.COMPLETED else None,
        failure=_failure(error_fields, fields, record, budget or ComparisonBudget())
        if state is TaskState.FAILED
        else None,
        created_at=created_at,
        finished_at=finished_at,
        elapsed_seconds=_elapsed(record, created_at, finished_at),
    )


def _record_fields(
    response: dict[str, Any], error_fields: BackendErrorFields, finished_at: float | None, *, has_video: bool
) -> RecordFields:
    success = response.get("success")
    has_error_object = isinstance(response.get("error"), dict)
    return RecordFields(
        state_word=_text(response.get("state")),
        success=success if isinstance(success, bool) else None,
        has_video=has_video,
        error_code=error_fields.code if has_error_object else None,
        finished_at=finished_at,
    )


def _failure(
    error_fields: BackendErrorFields, fields: RecordFields, record: dict[str, Any], budget: ComparisonBudget
) -> Failure:
    if fields.has_video:
        return Failure(
            ErrorCode.BACKEND_ERROR,
            "AceDataCloud reports that this task failed, but also returns a video for it, so it may have been charged. "
            "Ask the user to look at the account's history before submitting it again.",
        )
    if fields.success is not False and fields.state_word != "failed":
        return Failure(
            ErrorCode.BACKEND_ERROR,
            "AceDataCloud reports that this task ended, but returns no video for it. Ask the user to look at the "
            "account's history before submitting it again.",
        )
    echoed, message = _echoed_texts(record), error_fields.message or ""
    private = budget.private_texts(message, echoed) if message and echoed else None
    if private is None:
        error_fields = BackendErrorFields(error_fields.code)
    error = error_for(error_fields, FAILED_GENERATION_STATUS, private_texts=private or ())
    if error.is_retryable:
        return Failure(error.code, "The generation failed at AceDataCloud and was not charged. Submit it again.")
    return Failure(error.code, str(error))


def _echoed_texts(record: dict[str, Any]) -> list[str]:
    """Return the caller's texts that a record echoes; none if the prompt is absent, or if a text is not a string.

    Without these texts, the error message is not quoted, because it cannot be checked for private text.
    """
    request = _object(record.get("request"))
    prompts = [prompt for prompt in (request.get("prompt"), _object(record.get("response")).get("prompt")) if prompt]
    texts = [*prompts, *(request[name] for name in _PRIVATE_URL_AND_ID_FIELDS if request.get(name))] if prompts else []
    return texts if all(isinstance(text, str) for text in texts) else []


def _video(response: dict[str, Any], finished_at: float | None, own_prefix: str | None) -> Video | None:
    url = _url(response.get("video_url"), own_prefix)
    if url is None:
        return None
    return Video(
        url=url,
        video_id=valid_id(response.get("video_id")),
        width=_pixels(response.get("video_width")),
        height=_pixels(response.get("video_height")),
        thumbnail_url=_url(response.get("thumbnail_url"), own_prefix),
        expires_at=finished_at + LINK_LIFE_SECONDS if finished_at is not None else None,
    )


def _elapsed(record: dict[str, Any], created_at: float | None, finished_at: float | None) -> float | None:
    if finished_at is None:
        return None
    elapsed = _seconds(record.get("elapsed"))
    started_at = _time(record.get("started_at")) or created_at
    return elapsed if elapsed is not None or started_at is None else round(max(0.0, finished_at - started_at), 3)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def valid_id(value: Any) -> str | None:
    """Return `value` if it is an id in the form that is accepted from callers, else None."""
    return value if isinstance(value, str) and is_plain_id(value) else None


def _text(value: Any) -> str | None:
    """Return `value` if it is a non-empty string, else None. Lone surrogates, valid in JSON, become question marks."""
    if not isinstance(value, str) or not value:
        return None
    return value if value.isascii() else value.encode(errors="replace").decode()


def _url(value: Any, own_prefix: str | None) -> str | None:
    """Return `value` if it is a URL that may be shown to callers, else None."""
    return shown_url(value, own_prefix=own_prefix) if isinstance(value, str) and value else None


def _prompt(value: Any) -> str | None:
    """Return the start of an echoed prompt as one line of visible characters, or None."""
    return visible_line(value, MAX_SHOWN_PROMPT_LENGTH) or None if isinstance(value, str) else None


def _time(value: Any) -> float | None:
    return _seconds(value) or None  # 0 means that the event has not happened yet


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < YEAR_3000 else None


def _pixels(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= MAX_SIDE_PIXELS else None

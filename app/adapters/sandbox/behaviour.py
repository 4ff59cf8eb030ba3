"""Options for behaviour that AceDataCloud does not document, so that tests can cover every plausible variant."""

from dataclasses import dataclass
from enum import StrEnum

MEDIA_LIFE_SECONDS = 30 * 24 * 3600.0
"""Time for which a finished video can be downloaded. Source: AceDataCloud's storage FAQ."""


class PendingForm(StrEnum):
    """Forms of `response` in the record of a running task. Each was seen in first-party code or documents."""

    MISSING = "missing"
    """The key is absent, which the first-party web app reads as pending."""
    NULL = "null"
    """`response` and `finished_at` are null, as in the tests of sibling services."""
    EMPTY = "empty"
    """`response` is an empty object."""
    STATE_PENDING = "pending"
    """`response` contains only `"state": "pending"`."""
    STATE_PROCESSING = "processing"
    """`response` contains only `"state": "processing"`."""
    SUCCESS_WITHOUT_URL = "success_without_url"
    """`response` has `"success": true` and the task id, but no video, as in the tests of AceDataCloud's SDK."""


class ErrorForm(StrEnum):
    """Forms of the body of an error response."""

    PLAIN = "plain"
    """`{"error": {"code", "message"}, "trace_id"}`, as in AceDataCloud's OpenAPI document."""
    WITH_SUCCESS = "with_success"
    """The same with `"success": false`, as in the guide to the tasks API."""
    STRING = "string"
    """`error` is a string, which AceDataCloud's SDK handles."""
    HTML = "html"
    """A proxy's HTML page with status 502, in place of every error."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The sandbox's behaviour in cases about which AceDataCloud's documents are silent or contradictory.

    The defaults are the documented behaviour, or else the most likely one. A value None disables a limit or an expiry.
    """

    pending: PendingForm = PendingForm.MISSING
    """The form of `response` in the record of a running task."""

    error: ErrorForm = ErrorForm.PLAIN
    """The form of the body of an error response."""

    async_says_success: bool = False
    """Whether the response to an asynchronous submission has `success: true` beside the task id."""

    batch_limit: int = 12
    """Maximum number of tasks in a batch response if the request has no `limit`.

    Source: AceDataCloud's sibling services.
    """

    honours_limit: bool = True
    """Whether a batch request's `limit` is used; otherwise `batch_limit` always applies."""

    newest_first: bool = True
    """Whether a batch response has the newest task first; otherwise tasks are in order of submission."""

    max_in_flight: int | None = 5
    """Maximum number of concurrent generations per token. Source: the concurrency FAQ."""

    reads_per_second: int | None = 60
    """Maximum number of requests to /luma/tasks of one token in one clock second. Source: the concurrency FAQ."""

    hidden_seconds: float = 0.0
    """Time for which /luma/tasks does not find a new task, as if its record were not written yet."""

    media_life_seconds: float | None = MEDIA_LIFE_SECONDS
    """Time after its end for which a task's files can be downloaded."""

    callback_retries: int = 0
    """Retries of a callback that could not be delivered; AceDataCloud documents no number."""


DOCUMENTED = Behaviour()
"""The default behaviour."""

"""The switches for what AceDataCloud leaves open, so that a client can be held against every plausible answer."""

from dataclasses import dataclass
from enum import StrEnum

MEDIA_LIFE_SECONDS = 30 * 24 * 3600.0
"""How long a finished video can be fetched, by AceDataCloud's storage FAQ."""


class PendingForm(StrEnum):
    """Forms of the `response` of a running task, each seen in first-party code or documents."""

    MISSING = "missing"
    """No such key: what the first-party web app takes for pending."""
    NULL = "null"
    """`response` and `finished_at` are null, as in the tests of sibling services."""
    EMPTY = "empty"
    """`response` is an empty object."""
    STATE_PENDING = "pending"
    """`response` holds nothing but the state word."""
    STATE_PROCESSING = "processing"
    """The same, with the other word."""
    SUCCESS_WITHOUT_URL = "success_without_url"
    """`response` says success and the task id but has no video yet, as in the tests of AceDataCloud's SDK."""


class ErrorForm(StrEnum):
    """Forms of the body of an error answer."""

    PLAIN = "plain"
    """`{"error": {"code", "message"}, "trace_id"}`, by AceDataCloud's OpenAPI document."""
    WITH_SUCCESS = "with_success"
    """The same with `"success": false`, as in the guide to the tasks API."""
    STRING = "string"
    """`error` is a bare sentence, which AceDataCloud's SDK is prepared for."""
    HTML = "html"
    """A proxy's HTML page with status 502 in place of any error."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the sandbox answers where AceDataCloud's documents are silent or at odds.

    The defaults are the documented form, or the likeliest one. Limits and lives are switched off with None.
    """

    pending: PendingForm = PendingForm.MISSING
    error: ErrorForm = ErrorForm.PLAIN

    async_says_success: bool = False
    """Whether an asynchronous submission answers `success: true` beside its task id."""

    batch_limit: int = 12
    """How many tasks a batch answers where no limit was asked for; the number of the sibling services."""

    honours_limit: bool = True
    """Whether a batch heeds the `limit` that was sent; otherwise `batch_limit` always holds."""

    newest_first: bool = True
    """Whether a batch answers the newest task first; otherwise in the order in which tasks were stored."""

    max_in_flight: int | None = 5
    """How many generations of one token may run at once, by the concurrency FAQ."""

    reads_per_second: int | None = 60
    """How many calls of /luma/tasks one token may make within a second of the clock, by the concurrency FAQ."""

    hidden_seconds: float = 0.0
    """For how long a new task is unknown to /luma/tasks, as if its record were not written yet."""

    media_life_seconds: float | None = MEDIA_LIFE_SECONDS
    """How long after its end a task's files can be fetched."""

    callback_retries: int = 0
    """How often a callback that could not be delivered is tried again; the number is not documented."""


DOCUMENTED = Behaviour()
"""Every switch at its default."""

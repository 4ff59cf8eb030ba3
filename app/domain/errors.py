"""The one tree of errors that a caller may meet.

LumaError
├── InvalidRequest    the call itself is wrong: change it before trying again
├── NotFound          the backend does not know the task id
├── Unauthorized      the bearer token is missing, wrong or expired
├── NoCredit          the AceDataCloud account has no credit left
├── AccountDisabled   AceDataCloud has disabled the account
├── Refused           moderation turned the prompt or an image down
├── RateLimited       too many requests or generations at once
├── BackendTimeout    AceDataCloud did not answer in time
├── BackendError      AceDataCloud failed, or answered something unusable
└── InternalError     this service failed; a bug, told apart so that nobody blames the backend

Messages are sentences of ours for the one who reads them; what the backend wrote goes to the log.
"""

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """The machine-readable half of every error that a tool answers with."""

    INVALID_REQUEST = "invalid_request"
    NOT_FOUND = "not_found"
    UNAUTHORIZED = "unauthorized"
    NO_CREDIT = "no_credit"
    ACCOUNT_DISABLED = "account_disabled"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    BACKEND_TIMEOUT = "backend_timeout"
    BACKEND_ERROR = "backend_error"
    INTERNAL_ERROR = "internal_error"


class LumaError(Exception):
    """A failure that its reader can act on; `str()` is the sentence to show."""

    code: ClassVar[ErrorCode]
    sentence: ClassVar[str]
    passes: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""

    def __init__(self, sentence: str | None = None, *, retry_after_seconds: float | None = None) -> None:
        """Carry `sentence`, or the class's own; `retry_after_seconds` is None where waiting does not help."""
        super().__init__(sentence or self.sentence)
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(LumaError):
    """The call itself is wrong."""

    code = ErrorCode.INVALID_REQUEST
    sentence = "AceDataCloud turned the request down as malformed. Change the arguments before trying again."


class NotFound(LumaError):
    """The backend does not know the id under this token."""

    code = ErrorCode.NOT_FOUND
    sentence = (
        "AceDataCloud does not know this task id. Check it against the id that the generating call returned; "
        "very old tasks are forgotten."
    )


class Unauthorized(LumaError):
    """The token is not accepted."""

    code = ErrorCode.UNAUTHORIZED
    sentence = (
        "AceDataCloud did not accept the bearer token. Ask the user for a valid AceDataCloud API token that "
        "covers Luma; trying again with the same one will not help."
    )


class NoCredit(LumaError):
    """The account is out of credit."""

    code = ErrorCode.NO_CREDIT
    sentence = (
        "The AceDataCloud account has no credit left, so nothing was generated or charged. The user can top it up "
        "at https://platform.acedata.cloud and then try again."
    )


class AccountDisabled(LumaError):
    """The account was disabled by its provider."""

    code = ErrorCode.ACCOUNT_DISABLED
    sentence = "AceDataCloud has disabled this account. Only the user can settle that, with AceDataCloud's support."


class Refused(LumaError):
    """Moderation said no."""

    code = ErrorCode.REFUSED
    sentence = "Moderation refused this prompt or image, and nothing was charged. Change it before trying again."


class RateLimited(LumaError):
    """Too much at once."""

    code = ErrorCode.RATE_LIMITED
    passes = True
    sentence = (
        "AceDataCloud's limit for this token is reached (5 generations at once). Wait for running tasks to finish, "
        "then try again."
    )


class BackendTimeout(LumaError):
    """No answer in time."""

    code = ErrorCode.BACKEND_TIMEOUT
    passes = True
    sentence = "AceDataCloud did not answer in time. Nothing is lost: ask again shortly."


class BackendError(LumaError):
    """A fault on the backend's side."""

    code = ErrorCode.BACKEND_ERROR
    passes = True
    sentence = "AceDataCloud had a fault and could not answer. Nothing is lost: ask again shortly."


class InternalError(LumaError):
    """A fault of this service's own."""

    code = ErrorCode.INTERNAL_ERROR
    sentence = (
        "This service had a fault of its own, which its operators find in their log. Tasks are safe at AceDataCloud: "
        "ask again shortly, but look before submitting a video again."
    )

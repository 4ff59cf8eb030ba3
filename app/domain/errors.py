"""The one tree of errors that a caller may meet.

LumaError
├── InvalidRequest    the call itself is wrong: change it before trying again
├── NotFound          the backend does not know the task id
├── Unauthorized      the bearer token is missing, wrong or expired
├── Forbidden         the caller may not do this: a scope is missing
├── Stopped           the team has stopped the spending of this caller
├── NoCredential      the team has no credential for the backend
├── NoCredit          the account has no credit left
├── AccountDisabled   the backend has disabled the account
├── Refused           moderation turned the prompt or an image down
├── RateLimited       too many requests or generations at once
├── BackendTimeout    the backend did not answer in time
├── OutcomeUnknown    a submission was sent and no answer came: it may have been started and charged
├── BackendError      the backend failed, or answered something unusable
└── InternalError     this service failed; a bug, told apart so that nobody blames the backend

Messages are sentences of ours for the one who reads them; what the backend wrote goes to the log. Each class has the
template of its usual sentence, which `BackendDescription.error` fills with the name and the facts of a backend.
"""

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """The machine-readable half of every error that a tool answers with."""

    INVALID_REQUEST = "invalid_request"
    NOT_FOUND = "not_found"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    STOPPED = "stopped"
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
    template: ClassVar[str]
    """The usual sentence; its fields are those of `BackendDescription.say`."""
    usual_wait_seconds: ClassVar[float | None] = None
    """When to try again where nobody named a time; None where waiting does not help."""

    def __init__(self, sentence: str, *, retry_after_seconds: float | None = None) -> None:
        """Carry `sentence`, and the wait that the backend asked for, if it did."""
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed later without anybody changing anything."""
        return self.usual_wait_seconds is not None

    @property
    def advised_wait_seconds(self) -> float | None:
        """When to try again: as the backend said, else as usual; None where waiting does not help."""
        return self.retry_after_seconds if self.retry_after_seconds is not None else self.usual_wait_seconds


class InvalidRequest(LumaError):
    """The call itself is wrong."""

    code = ErrorCode.INVALID_REQUEST
    template = "{backend} turned the request down as malformed. Change the arguments before trying again."


class NotFound(LumaError):
    """The backend does not know the id under this token."""

    code = ErrorCode.NOT_FOUND
    template = (
        "{backend} does not know this task id. Check it against the id that the generating call returned; "
        "very old tasks are forgotten."
    )


class Unauthorized(LumaError):
    """The token is not accepted."""

    code = ErrorCode.UNAUTHORIZED
    template = (
        "{backend} did not accept the bearer token. Ask the user for a valid {backend} API token that "
        "covers Luma; trying again with the same one will not help."
    )


class Forbidden(LumaError):
    """The caller's scopes do not allow the call."""

    code = ErrorCode.FORBIDDEN
    template = (
        "This token may not do that here: a scope is missing. Nothing was sent to {backend}. Ask the user for a token "
        "that may."
    )


class Stopped(LumaError):
    """The caller's spending was stopped."""

    code = ErrorCode.STOPPED
    template = (
        "The spending of this team, member or key was stopped by an administrator. Nothing was sent to {backend}. Tell "
        "the user; tasks can still be read."
    )


class NoCredential(LumaError):
    """The caller's team has nothing to ask the backend with."""

    code = ErrorCode.FORBIDDEN
    template = (
        "This team has no credential for {backend}, so nothing was sent. An administrator of this service can put one "
        "in: tell the user."
    )


class NoCredit(LumaError):
    """The account is out of credit."""

    code = ErrorCode.NO_CREDIT
    template = (
        "The {backend} account has no credit left, so nothing was generated or charged. The user can top it up "
        "at {account_url} and then try again."
    )


class AccountDisabled(LumaError):
    """The account was disabled by its provider."""

    code = ErrorCode.ACCOUNT_DISABLED
    template = "{backend} has disabled this account. Only the user can settle that, with {backend}'s support."


class Refused(LumaError):
    """Moderation said no."""

    code = ErrorCode.REFUSED
    template = "Moderation refused this prompt or image, and nothing was charged. Change it before trying again."


class RateLimited(LumaError):
    """Too much at once."""

    code = ErrorCode.RATE_LIMITED
    usual_wait_seconds = 10.0
    template = (
        "{backend}'s limit for this token is reached ({generations_at_once} generations at once). Wait for running "
        "tasks to finish, then try again."
    )


class BackendTimeout(LumaError):
    """No answer in time."""

    code = ErrorCode.BACKEND_TIMEOUT
    usual_wait_seconds = 5.0
    template = "{backend} did not answer in time. Nothing is lost: ask again shortly."


class OutcomeUnknown(LumaError):
    """Money may have been spent; to the one who reads it, a time-out that must not be answered by a retry."""

    code = ErrorCode.BACKEND_TIMEOUT
    template = (
        "The request was sent, but {backend} did not confirm it, so nobody can tell whether a video was started and "
        "will be charged. Do not simply submit again: ask the user to look at the account's history first."
    )


class BackendError(LumaError):
    """A fault on the backend's side."""

    code = ErrorCode.BACKEND_ERROR
    usual_wait_seconds = 5.0
    template = "{backend} had a fault and could not answer. Nothing is lost: ask again shortly."


class InternalError(LumaError):
    """A fault of this service's own."""

    code = ErrorCode.INTERNAL_ERROR
    template = (
        "This service had a fault of its own, which its operators find in their log. Tasks are safe at {backend}: "
        "ask again shortly, but look before submitting a video again."
    )

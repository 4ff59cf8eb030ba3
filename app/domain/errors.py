"""All errors that a tool may return to its caller.

LumaError
├── InvalidRequest    the call itself is wrong: change it before trying again
├── NotFound          the backend does not know the task id
├── Unauthorized      the bearer token is missing, wrong or expired
├── Forbidden         the caller may not do this: a scope is missing
├── LeftOut           the client's settings of the connection exclude the tool
├── Stopped           an administrator has stopped the spending of the caller's team, member or key
├── OverBudget        a budget of the caller's team, member or key has too little left
├── NoCredential      the team has no credential for the backend
├── NoCredit          the account has no credit left
├── AccountDisabled   the backend has disabled the account
├── Refused           moderation turned the prompt or an image down
├── RateLimited       too many requests or generations at once
├── BackendTimeout    the backend did not answer in time
├── OutcomeUnknown    a submission was sent and no answer came: it may have been started and charged
├── BackendError      the backend failed, or its answer cannot be used
└── InternalError     this service failed; not a failure of the backend
    └── NothingSent   it failed before a submission was sent

Messages are sentences of this service for the caller. The backend's own text goes to the log only. Each class has a
template for its usual sentence, which `BackendDescription.error` fills with the name and the facts of a backend.
"""

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """The machine-readable code in every error that a tool returns."""

    INVALID_REQUEST = "invalid_request"
    NOT_FOUND = "not_found"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    STOPPED = "stopped"
    BUDGET_EXCEEDED = "budget_exceeded"
    NO_CREDIT = "no_credit"
    ACCOUNT_DISABLED = "account_disabled"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    BACKEND_TIMEOUT = "backend_timeout"
    BACKEND_ERROR = "backend_error"
    INTERNAL_ERROR = "internal_error"


class LumaError(Exception):
    """A failure that the caller can act on. `str()` is the sentence to show."""

    code: ClassVar[ErrorCode]
    template: ClassVar[str]
    """The usual sentence; its fields are those of `BackendDescription.say`."""
    usual_wait_seconds: ClassVar[float | None] = None
    """Seconds to wait before a retry if the backend names no time; None if waiting does not help."""

    def __init__(self, sentence: str, *, retry_after_seconds: float | None = None) -> None:
        """`retry_after_seconds` is the wait that the backend or this service asks for; None if neither names one."""
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed later, unchanged."""
        return self.usual_wait_seconds is not None

    @property
    def advised_wait_seconds(self) -> float | None:
        """Seconds to wait before a retry: `retry_after_seconds`, else the usual wait; None if waiting does not help."""
        return self.retry_after_seconds if self.retry_after_seconds is not None else self.usual_wait_seconds


class InvalidRequest(LumaError):
    """The arguments of the call are not valid."""

    code = ErrorCode.INVALID_REQUEST
    template = "{backend} rejected the request as malformed. Change the arguments before trying again."


class NotFound(LumaError):
    """The backend does not know the id under this token."""

    code = ErrorCode.NOT_FOUND
    template = (
        "{backend} does not know this task id. Check it against the id that the generating call returned; "
        "very old tasks are not kept."
    )


class Unauthorized(LumaError):
    """The bearer token is missing, wrong or expired."""

    code = ErrorCode.UNAUTHORIZED
    template = (
        "{backend} did not accept the bearer token. Ask the user for a valid {backend} API token that "
        "covers Luma; trying again with the same one will not help."
    )


class Forbidden(LumaError):
    """The caller lacks the scope that the tool needs."""

    code = ErrorCode.FORBIDDEN
    template = (
        "This token lacks the scope that the tool needs. Nothing was sent to {backend}. Ask the user for a token that "
        "has it."
    )


class LeftOut(LumaError):
    """The client's settings of the connection (URL or headers) exclude the tool."""

    code = ErrorCode.FORBIDDEN
    template = (
        "The user's settings for this server leave out this tool. Nothing was sent to {backend}. Use the tools that "
        "are listed, or tell the user: the address of the server ends in /readonly, or the headers X-MCP-Readonly or "
        "X-MCP-Tools name other tools."
    )


class Stopped(LumaError):
    """An administrator has stopped the spending of the caller's team, member or key."""

    code = ErrorCode.STOPPED
    template = (
        "The spending of this team, member or key was stopped by an administrator. Nothing was sent to {backend}. Tell "
        "the user; tasks can still be read."
    )


class OverBudget(LumaError):
    """A purchase does not fit into a budget of the caller's team, member or key."""

    code = ErrorCode.BUDGET_EXCEEDED
    template = (
        "A budget of this team, member or key has too little left. Nothing was sent to {backend}. Tell the user; tasks "
        "can still be read."
    )


class NoCredential(LumaError):
    """The caller's team has no credential for the backend."""

    code = ErrorCode.FORBIDDEN
    template = (
        "This team has no credential for {backend}, so nothing was sent. An administrator of this service can put one "
        "in: tell the user."
    )
    own_template = (
        "You have not put a token of {backend} into your account here, so nothing was sent. Tell the user to do so at"
    )
    """For the only member of a personal team. The address of the account page follows."""


class NoCredit(LumaError):
    """The account is out of credit."""

    code = ErrorCode.NO_CREDIT
    template = (
        "The {backend} account has no credit left, so nothing was generated or charged. The user can top it up "
        "at {account_url} and then try again."
    )


class AccountDisabled(LumaError):
    """The backend has disabled the caller's account."""

    code = ErrorCode.ACCOUNT_DISABLED
    template = "{backend} has disabled this account. Only the user can resolve this, with {backend}'s support."


class Refused(LumaError):
    """Moderation refused the prompt or an image."""

    code = ErrorCode.REFUSED
    template = "Moderation refused this prompt or image, and nothing was charged. Change it before trying again."


class RateLimited(LumaError):
    """A limit of the backend or of this service is reached."""

    code = ErrorCode.RATE_LIMITED
    usual_wait_seconds = 10.0
    template = (
        "{backend}'s limit for this token is reached ({generations_at_once} generations at once). Wait for running "
        "tasks to finish, then try again."
    )


class BackendTimeout(LumaError):
    """The backend did not answer in time, and nothing was submitted."""

    code = ErrorCode.BACKEND_TIMEOUT
    usual_wait_seconds = 5.0
    template = "{backend} did not answer in time. Nothing is lost: ask again shortly."


class OutcomeUnknown(LumaError):
    """A submission may have been started and charged. Its code is that of a timeout, but it must not be retried."""

    code = ErrorCode.BACKEND_TIMEOUT
    template = (
        "The request was sent, but {backend} did not confirm it. A video may have been started and charged. "
        "Do not simply submit again: ask the user to look at the account's history first."
    )


class BackendError(LumaError):
    """The backend failed, or its answer cannot be used."""

    code = ErrorCode.BACKEND_ERROR
    usual_wait_seconds = 5.0
    template = "{backend} failed and could not answer. Nothing is lost: ask again shortly."


class InternalError(LumaError):
    """A failure of this service."""

    code = ErrorCode.INTERNAL_ERROR
    template = (
        "This service failed; its log has the details for its operators. Tasks are safe at {backend}: "
        "ask again shortly, but check for an earlier task before submitting a video again."
    )


class NothingSent(InternalError):
    """A failure of this service before a submission was sent, so that nothing was started or charged."""

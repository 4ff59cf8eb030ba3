"""Translates AceDataCloud's error responses into the errors of the domain.

The code in the body takes precedence over the HTTP status, because several errors share a status: an account without
credit, moderation and a disabled account all have 403. Some codes have two statuses. Bodies have a dozen forms, all of
which are accepted.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from app.adapters.acedata.policy import ACCOUNT_URL, ACEDATACLOUD
from app.adapters.acedata.quotes import quotable
from app.domain.errors import (
    AccountDisabled,
    BackendError,
    BackendTimeout,
    InvalidRequest,
    LumaError,
    NoCredit,
    RateLimited,
    Refused,
    Unauthorized,
)

_BY_CODE: dict[str, type[LumaError]] = {
    "bad_request": InvalidRequest,
    "content_too_large": InvalidRequest,
    "no_token": Unauthorized,
    "token_mismatched": Unauthorized,
    "invalid_token": Unauthorized,
    "token_expired": Unauthorized,
    "not_applied": Unauthorized,
    "used_up": NoCredit,
    "disabled": AccountDisabled,
    "forbidden": Refused,
    "too_many_requests": RateLimited,
    "rate_limited": RateLimited,
    "busy": RateLimited,
    "timeout": BackendTimeout,
    "no_api": BackendError,
    "api_not_implemented": BackendError,
    "api_error": BackendError,
}

_BY_STATUS: dict[int, type[LumaError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    402: NoCredit,
    408: BackendTimeout,
    413: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    504: BackendTimeout,
}

_READ_MESSAGES: dict[type[LumaError], str] = {
    NoCredit: (
        "The AceDataCloud account has no credit left, so AceDataCloud did not answer. The user can top it up at "
        f"{ACCOUNT_URL} and then ask again; do not submit anything a second time."
    ),
    RateLimited: (
        "AceDataCloud's rate limit for reads of this token is reached. Ask again shortly, about all tasks in one call."
    ),
    Refused: "AceDataCloud refused to answer. Asking again will not help: ask the user to look at the account.",
}
"""Messages for reads, by error. The default messages of these errors are about submissions."""

_QUOTING_ERRORS = (InvalidRequest, Refused)
"""Errors whose message quotes the backend's message, which is needed to correct the request."""

_REFUSAL_CODES = frozenset(_BY_CODE) - {"timeout", "no_api", "api_error", "busy"}
"""Codes of a submission that was refused before anything was started. `busy` is left out: its use is undocumented."""

_RATE_LIMIT_CODES = frozenset({"too_many_requests", "rate_limited"})
"""Codes of a rate limit, after which a caller may send the submission again."""

_INVALID_TOKEN_CODES = frozenset({"no_token", "invalid_token", "token_expired", "token_mismatched"})
_VALID_TOKEN_CODES = frozenset({"used_up", "forbidden"})
"""Codes that AceDataCloud sends only after it has accepted the token."""

_REFUSAL_STATUSES = frozenset({200, 400, 401, 402, 403, 413, 422, 429})
"""Statuses at which a refusal code counts. At any other status, a task may have been started."""

_RATE_LIMIT_STATUSES = frozenset({429})
"""Statuses at which a rate limit code counts: only the documented one, because the submission is then sent again."""

_REFUSAL_FIELDS = frozenset({"success", "error", "code", "message", "detail", "trace_id"})
_ERROR_FIELDS = frozenset({"code", "message", "detail", "type"})
"""All fields of a refusal and of its `error` object, as documented or observed."""

MAX_TEXT_LENGTH = 8_000
"""Longest text of a refusal, which may repeat a prompt. The search for a task id takes 0.2 ms per 1,000 characters."""

_TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BackendErrorFields:
    """The error code and message in a response body or record; None for each that is absent."""

    code: str | None = None
    message: str | None = field(default=None, repr=False)


def error_fields_in(body: Any) -> BackendErrorFields:
    """Return the error code and message in `body`, decoded JSON or a text that is not JSON. Both may be None."""
    if isinstance(body, str):
        return BackendErrorFields(message=body)
    if not isinstance(body, dict):
        return BackendErrorFields()
    error = body.get("error")
    if isinstance(error, dict):
        return BackendErrorFields(_text(error.get("code")), _text(error.get("message")))
    return BackendErrorFields(
        _text(body.get("code")), _text(error) or _text(body.get("detail")) or _text(body.get("message"))
    )


def error_for(
    error_fields: BackendErrorFields, status: int, *, private_texts: tuple[str, ...] = (), is_read: bool = False
) -> LumaError:
    """Return the domain's error for an error response with this HTTP status.

    A message that repeats one of the `private_texts` is not quoted. `is_read` selects the messages for reads. A 403
    without a known code becomes a BackendError: such a response comes from a proxy, not from moderation.
    """
    kind = _BY_CODE.get(error_fields.code or "") or _BY_STATUS.get(status, BackendError)
    text = (is_read and _READ_MESSAGES.get(kind)) or ACEDATACLOUD.say(kind.template)
    quote = quotable(error_fields.message, private_texts) if kind in _QUOTING_ERRORS else ""
    return kind(f"{text} AceDataCloud says: “{quote}”" if quote else text)


def started_nothing(error_fields: BackendErrorFields, status: int, body: Any) -> bool:
    """Return whether this response to a submission proves that nothing was started. False leaves it open."""
    statuses = _RATE_LIMIT_STATUSES if error_fields.code in _RATE_LIMIT_CODES else _REFUSAL_STATUSES
    return error_fields.code in _REFUSAL_CODES and status in statuses and _is_only_a_refusal(body)


def _is_only_a_refusal(body: Any) -> bool:
    """Return whether `body` is a documented refusal and nothing else: other content could be about a started task."""
    if not isinstance(body, dict) or not body.keys() <= _REFUSAL_FIELDS or body.get("success"):
        return False
    error = body.get("error")
    inner = error if isinstance(error, dict) else {}
    if not inner.keys() <= _ERROR_FIELDS:
        return False
    outer = {name: value for name, value in body.items() if value is not inner}
    return not any(
        isinstance(value, dict | list)
        or (
            isinstance(value, str) and (len(value) > MAX_TEXT_LENGTH or (name != "trace_id" and _TASK_ID.search(value)))
        )
        for name, value in (*outer.items(), *inner.items())
    )


def shows_invalid_token(error_fields: BackendErrorFields, status: int) -> bool:
    """Return whether the response means that the token itself is invalid."""
    return error_fields.code in _INVALID_TOKEN_CODES or (error_fields.code not in _BY_CODE and status == 401)  # noqa: PLR2004


def shows_valid_token(error_fields: BackendErrorFields) -> bool:
    """Return whether the response means that the token is valid, although the request failed."""
    return error_fields.code in _VALID_TOKEN_CODES


def code_for_log(error_fields: BackendErrorFields) -> str:
    """Return the code if it is documented, else "none" or "unknown": another code could contain a caller's text."""
    if error_fields.code is None:
        return "none"
    return error_fields.code if error_fields.code in _BY_CODE else "unknown"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None

"""Error answers of AceDataCloud, translated into the errors of the domain.

The code in the body decides, not the status: an empty account, moderation and a disabled account all come with 403, and
some codes come with two statuses. Bodies have a dozen shapes, and all of them are accepted.
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

_OF_A_QUESTION: dict[type[LumaError], str] = {
    NoCredit: (
        "The AceDataCloud account has no credit left, so AceDataCloud did not answer. The user can top it up at "
        f"{ACCOUNT_URL} and then ask again; do not submit anything a second time."
    ),
    RateLimited: (
        "AceDataCloud's limit of questions for this token is reached. Ask again shortly, about all tasks in one call."
    ),
    Refused: "AceDataCloud refused to answer. Asking again will not help: ask the user to look at the account.",
}
"""Sentences for errors of a read. The errors' own sentences speak of a submission."""

_SAYS_WHY = (InvalidRequest, Refused)
"""Errors that quote the backend's message, because nobody can act on them without it."""

_TURNED_DOWN = frozenset(_BY_CODE) - {"timeout", "no_api", "api_error", "busy"}
"""Codes that refuse a submission before anything is started. No document says when `busy` is answered."""

_LIMITS = frozenset({"too_many_requests", "rate_limited"})
"""Codes after which a submission is sent again."""

_REFUSED_TOKEN = frozenset({"no_token", "invalid_token", "token_expired", "token_mismatched"})
_BEHIND_THE_CHECK = frozenset({"used_up", "forbidden"})

_TURNED_DOWN_WITH = frozenset({200, 400, 401, 402, 403, 413, 422, 429})
"""The statuses with which such a code is believed; any other may come from a proxy, or after the start."""

_LIMITED_WITH = frozenset({429})
"""The same for a limit: a submission that was turned down by one is sent again."""

_OF_A_REFUSAL = frozenset({"success", "error", "code", "message", "detail", "trace_id"})
_OF_AN_ERROR = frozenset({"code", "message", "detail", "type"})
"""All that a refusal holds, as documented or seen."""

_TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Complaint:
    """The error inside a body, as far as it has one. `code` is None unless the error is structured."""

    code: str | None = None
    message: str | None = field(default=None, repr=False)


def complaint_in(body: Any) -> Complaint:
    """Return what `body` (decoded JSON, or text that was none) complains of; an empty Complaint where it does not."""
    if isinstance(body, str):
        return Complaint(message=body)
    if not isinstance(body, dict):
        return Complaint()
    error = body.get("error")
    if isinstance(error, dict):
        return Complaint(_text(error.get("code")), _text(error.get("message")))
    return Complaint(_text(body.get("code")), _text(error) or _text(body.get("detail")) or _text(body.get("message")))


def error_for(
    complaint: Complaint, status: int, *, private: tuple[str, ...] = (), is_question: bool = False
) -> LumaError:
    """Return our error for a complaint that came with an HTTP status; one that holds `private` text is not quoted.

    `is_question` is for reads, which buy nothing. A 403 without a known code comes from a proxy, not from moderation.
    """
    kind = _BY_CODE.get(complaint.code or "") or _BY_STATUS.get(status, BackendError)
    sentence = (is_question and _OF_A_QUESTION.get(kind)) or ACEDATACLOUD.say(kind.template)
    quote = quotable(complaint.message, private) if kind in _SAYS_WHY else ""
    return kind(f"{sentence} AceDataCloud says: “{quote}”" if quote else sentence)


def started_nothing(complaint: Complaint, status: int, body: Any) -> bool:
    """Whether a submission answered like this was certainly turned down; False where nobody can tell."""
    statuses = _LIMITED_WITH if complaint.code in _LIMITS else _TURNED_DOWN_WITH
    return complaint.code in _TURNED_DOWN and status in statuses and _is_a_refusal_alone(body)


def _is_a_refusal_alone(body: Any) -> bool:
    """Whether `body` is a documented refusal and nothing besides: whatever else it holds could be about a task."""
    if not isinstance(body, dict) or not body.keys() <= _OF_A_REFUSAL or body.get("success"):
        return False
    error = body.get("error")
    inner = error if isinstance(error, dict) else {}
    if not inner.keys() <= _OF_AN_ERROR:
        return False
    outer = {name: value for name, value in body.items() if value is not inner}
    return not any(
        isinstance(value, dict | list)
        or (name != "trace_id" and isinstance(value, str) and _TASK_ID.search(value) is not None)
        for name, value in (*outer.items(), *inner.items())
    )


def refuses_the_token(complaint: Complaint, status: int) -> bool:
    """Whether the token itself was not accepted, whatever it asked for."""
    return complaint.code in _REFUSED_TOKEN or (complaint.code not in _BY_CODE and status == 401)  # noqa: PLR2004


def accepts_the_token(complaint: Complaint) -> bool:
    """Whether a complaint comes from behind the check of the token."""
    return complaint.code in _BEHIND_THE_CHECK


def code_for_log(complaint: Complaint) -> str:
    """Return the complaint's code if it is one of those documented: any other may hold a caller's text."""
    if complaint.code is None:
        return "none"
    return complaint.code if complaint.code in _BY_CODE else "unknown"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None

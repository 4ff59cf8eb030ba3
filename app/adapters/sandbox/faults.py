"""The error answers of the AceDataCloud API: status, code and body.

Statuses and codes follow AceDataCloud's OpenAPI document and its guides; the sentences are ours, because no client
should depend on the wording.
"""

from dataclasses import dataclass
from typing import Any

from app.adapters.sandbox.behaviour import ErrorForm


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of error; `status` is the HTTP status that a synchronous answer has."""

    status: int
    code: str
    message: str


NO_TOKEN = Fault(400, "no_token", "The request carries no bearer token.")
BAD_REQUEST = Fault(400, "bad_request", "The request body is not what this API takes.")
NO_PROMPT = Fault(400, "bad_request", "A prompt is required.")
NO_SOURCE = Fault(400, "bad_request", "To extend a video, video_id or video_url must name one that was made here.")
INVALID_TOKEN = Fault(401, "invalid_token", "The authorization header is not a bearer token.")
NO_CREDIT = Fault(403, "used_up", "The sandbox plays an account whose credit is used up.")
MODERATED = Fault(403, "forbidden", "The sandbox plays a moderator who turns this prompt down.")
NO_API = Fault(404, "no_api", "There is no API at this address.")
TOO_MANY_READS = Fault(429, "too_many_requests", "This token has asked for tasks too often within a second.")
TOO_MANY_AT_ONCE = Fault(429, "rate_limited", "This token has too many generations in flight.")
BROKEN = Fault(500, "api_error", "The sandbox plays a generation that breaks down.")
TIMED_OUT = Fault(504, "timeout", "The generation took longer than the request was willing to wait.")

PROXY_STATUS = 502
PROXY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Refused(Exception):
    """A request that ends with `fault`."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def error_body(fault: Fault, trace_id: str, form: ErrorForm) -> dict[str, Any]:
    """Return the JSON body for `fault`; the HTML form has none and counts as plain here."""
    if form is ErrorForm.STRING:
        return {"error": fault.message}
    body: dict[str, Any] = {"error": {"code": fault.code, "message": fault.message}, "trace_id": trace_id}
    return {"success": False, **body} if form is ErrorForm.WITH_SUCCESS else body

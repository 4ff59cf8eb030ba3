"""The error responses of AceDataCloud's API: status, code and body.

Statuses and codes are those of AceDataCloud's OpenAPI document and guides. The messages are the sandbox's own, because
no client should depend on their wording.
"""

from dataclasses import dataclass
from typing import Any

from app.adapters.sandbox.behaviour import ErrorForm


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of error. `status` is the HTTP status of a synchronous response."""

    status: int
    code: str
    message: str


NO_TOKEN = Fault(400, "no_token", "The request carries no bearer token.")
BAD_REQUEST = Fault(400, "bad_request", "The request body is not valid for this API.")
NO_PROMPT = Fault(400, "bad_request", "A prompt is required.")
NO_SOURCE_VIDEO = Fault(
    400, "bad_request", "To extend a video, video_id or video_url must name one that was made here."
)
INVALID_TOKEN = Fault(401, "invalid_token", "The authorization header is not a bearer token.")
CREDIT_USED_UP = Fault(403, "used_up", "The sandbox simulates an account without credit.")
MODERATED = Fault(403, "forbidden", "The sandbox simulates a moderator who refuses this prompt.")
NO_API = Fault(404, "no_api", "There is no API at this address.")
TOO_MANY_READS = Fault(429, "too_many_requests", "This token has read tasks too often within a second.")
TOO_MANY_GENERATIONS = Fault(429, "rate_limited", "This token has too many generations in flight.")
GENERATION_FAILED = Fault(500, "api_error", "The sandbox simulates a generation that fails.")
TIMED_OUT = Fault(504, "timeout", "The generation took longer than the timeout of the request.")

PROXY_STATUS = 502
PROXY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Refused(Exception):
    """A request is refused. The response is the error `fault`."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def error_body(fault: Fault, trace_id: str, form: ErrorForm) -> dict[str, Any]:
    """Return the JSON body for `fault`. ErrorForm.HTML has no JSON body and is treated as PLAIN."""
    if form is ErrorForm.STRING:
        return {"error": fault.message}
    body: dict[str, Any] = {"error": {"code": fault.code, "message": fault.message}, "trace_id": trace_id}
    return {"success": False, **body} if form is ErrorForm.WITH_SUCCESS else body

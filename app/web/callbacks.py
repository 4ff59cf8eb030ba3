"""POST /callbacks/{ticket}: receives the callbacks that the backend sends at the end of a task.

The ticket is an encrypted text that this service has put into the callback URL of a submission.
"""

import contextlib
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.composition.services import CALLBACKS_PATH
from app.ports.backend import CallbackReport
from app.ports.repositories import DatabaseUnavailable
from app.services.purchases.callbacks import CallbackOutcome, Callbacks

MAX_CALLBACK_BYTES = 64 * 1024

_STATUS_OF_OUTCOME = {
    CallbackOutcome.TAKEN: 204,
    CallbackOutcome.REPEATED: 204,
    CallbackOutcome.EARLY: 202,
    CallbackOutcome.UNKNOWN_TICKET: 404,
    CallbackOutcome.OTHER_TASK: 409,
}
_ERRORS = {
    404: "This is not a callback URL of this service.",
    409: "This callback URL is for another task.",
    400: "This body is not a callback about a task.",
    413: f"A callback has at most {MAX_CALLBACK_BYTES} bytes.",
    503: "This service cannot record callbacks now: its database does not answer. Call again shortly.",
}


def callback_route(
    callbacks: Callbacks, parse: Callable[[bytes], CallbackReport | None], on_outcome: Callable[[str], None]
) -> Route:
    """Return the route of callbacks.

    `parse` returns the report in a body; None if the body is malformed. `on_outcome` is called with the
    outcome of each callback.
    """

    async def receive_callback(request: Request) -> Response:
        ticket = request.path_params["ticket"]
        if not callbacks.is_valid_ticket(ticket):  # before the body is read, because anybody can send requests
            on_outcome(CallbackOutcome.UNKNOWN_TICKET.value)
            return _response(404)
        body = await _body(request)
        if body is None:
            on_outcome("oversized")
            return _response(413)
        report = parse(body)
        if report is None:
            on_outcome("malformed")
            return _response(400)
        if not report.has_ended:
            on_outcome("running")
            return _response(204)
        try:
            outcome = await callbacks.handle(ticket, report.task_id)
        except DatabaseUnavailable:
            on_outcome("database_down")
            return _response(503)
        on_outcome(outcome.value)
        return _response(_STATUS_OF_OUTCOME[outcome])

    return Route(f"{CALLBACKS_PATH}/{{ticket}}", receive_callback, methods=["POST"])


async def _body(request: Request) -> bytes | None:
    """Return the body; None if it is too large. After a disconnect, return the part that has arrived."""
    body = bytearray()
    with contextlib.suppress(ClientDisconnect):  # a part is not valid JSON, so it counts as malformed
        async for part in request.stream():
            body += part
            if len(body) > MAX_CALLBACK_BYTES:
                return None
    return bytes(body)


def _response(status: int) -> Response:
    error = _ERRORS.get(status)
    return JSONResponse({"error": error}, status_code=status) if error else Response(status_code=status)

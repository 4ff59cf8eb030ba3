"""POST /callbacks/{ticket}: receives the backend's callbacks at the end of a task."""

import contextlib
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.composition import CALLBACKS_PATH
from app.ports.backend import CallbackReport
from app.ports.repositories import DatabaseUnavailable
from app.services.purchases.callbacks import CallbackOutcome, Callbacks

LARGEST_CALLBACK_BYTES = 64 * 1024

_STATUS = {
    CallbackOutcome.TAKEN: 204,
    CallbackOutcome.REPEATED: 204,
    CallbackOutcome.EARLY: 202,
    CallbackOutcome.UNKNOWN_TICKET: 404,
    CallbackOutcome.OTHER_TASK: 409,
}
_WORDS = {
    404: "This is no callback address of this service.",
    409: "This address is for another task.",
    400: "This body is no callback about a task.",
    413: f"A callback is at most {LARGEST_CALLBACK_BYTES} bytes.",
    503: "This service cannot take callbacks right now. Call again shortly.",
}


def callback_route(
    callbacks: Callbacks, parse: Callable[[bytes], CallbackReport | None], count: Callable[[str], None]
) -> Route:
    """Return the route; `parse` reads what the backend sends, `count` is told what became of each callback."""

    async def called(request: Request) -> Response:
        ticket = request.path_params["ticket"]
        if not callbacks.is_ours(ticket):  # before a byte of the body is read: any stranger can send one
            count(CallbackOutcome.UNKNOWN_TICKET.value)
            return _answer(404)
        body = await _body(request)
        if body is None:
            count("oversized")
            return _answer(413)
        report = parse(body)
        if report is None:
            count("malformed")
            return _answer(400)
        if not report.has_ended:
            count("running")
            return _answer(204)
        try:
            heard = await callbacks.handle(ticket, report.task_id)
        except DatabaseUnavailable:
            count("database_down")
            return _answer(503)
        count(heard.value)
        return _answer(_STATUS[heard])

    return Route(f"{CALLBACKS_PATH}/{{ticket}}", called, methods=["POST"])


async def _body(request: Request) -> bytes | None:
    """Return the body as far as it came, or None where it is too large."""
    body = bytearray()
    with contextlib.suppress(ClientDisconnect):  # what was cut short is no JSON either
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_CALLBACK_BYTES:
                return None
    return bytes(body)


def _answer(status: int) -> Response:
    words = _WORDS.get(status)
    return JSONResponse({"error": words}, status_code=status) if words else Response(status_code=status)

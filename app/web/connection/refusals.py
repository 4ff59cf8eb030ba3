"""Refusals that wait for the answers of earlier requests on their connection."""

from collections.abc import Callable

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def queued_refusal(
    behind: RequestResponseCycle, send: Callable[[], None]
) -> tuple[RequestResponseCycle, ASGI3Application]:
    """Return an entry of a connection's queue that calls `send` in its turn and writes nothing itself."""
    cycle = RequestResponseCycle(
        scope=behind.scope,
        transport=behind.transport,
        flow=behind.flow,
        logger=behind.logger,
        access_logger=behind.access_logger,
        access_log=False,
        default_headers=[],
        message_event=behind.message_event,
        expect_100_continue=False,
        keep_alive=False,
        on_response=lambda: None,
    )
    cycle.disconnected = True  # uvicorn would add an error of its own to an answer that the application did not send

    async def app(_scope: Scope, _receive: ASGIReceiveCallable, _send: ASGISendCallable) -> None:
        send()

    return cycle, app

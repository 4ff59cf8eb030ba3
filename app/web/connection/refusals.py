"""Refusals that wait until the responses to earlier requests of their connection are sent (HTTP pipelining)."""

from collections.abc import Callable

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def queued_refusal(
    behind: RequestResponseCycle, send: Callable[[], None]
) -> tuple[RequestResponseCycle, ASGI3Application]:
    """Return an entry for uvicorn's pipeline of a connection. When uvicorn starts the entry, `send` is called.

    `behind` is an earlier request of the connection. The entry copies its transport and scope.
    """
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
    cycle.disconnected = True  # otherwise uvicorn would write a 500, because the application sends no response

    async def app(_scope: Scope, _receive: ASGIReceiveCallable, _send: ASGISendCallable) -> None:
        send()

    return cycle, app

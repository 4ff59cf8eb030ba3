"""Error responses that wait for the responses to earlier requests on their connection."""

from collections.abc import Callable

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def queued_refusal(
    behind: RequestResponseCycle, send: Callable[[], None]
) -> tuple[RequestResponseCycle, ASGI3Application]:
    """Return an entry for a connection's pipeline. In its turn it calls `send`, and writes nothing itself.

    `behind` is a request of the connection, from which the entry takes its transport and scope.
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

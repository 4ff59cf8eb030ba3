"""An answer to a client that has left goes nowhere, also where uvicorn has not noticed that it left.

A client may send a second request before the first is answered. When its connection ends then, uvicorn 0.54 tells only
the later request, and the answer to the first meets a transport that raises.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLOSED = "the handler is closed"
"""What uvloop's RuntimeError says of a transport that has been closed; its other errors are faults of ours."""


class Departures:
    """Drops what can no longer be sent."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or keep one lifespan."""

        async def sent(message: Message) -> None:
            try:
                await send(message)
            except RuntimeError as fault:
                if _CLOSED not in str(fault):
                    raise

        await self._app(scope, receive, sent)

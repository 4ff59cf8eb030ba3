"""A client that leaves is noticed by the request that is being answered, also where it has sent others behind it.

uvicorn 0.54 tells only the newest request of a connection; one before it would be answered into the void, and a stream
would go on for ever.
"""

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class Connections(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, with the news of a departure for the request that it concerns."""

    _answering: RequestResponseCycle | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Remember which request is being answered: one at a time, while the others of the connection wait."""
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that request; those behind it are never begun."""
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

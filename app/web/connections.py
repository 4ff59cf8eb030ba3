"""A client that leaves is noticed by each of its requests, also by those that it has sent others behind.

uvicorn 0.54 tells only the newest request of a connection; one before it would be answered into the void, and a stream
would go on for ever.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class Connections(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, with the news of a departure for every request that it concerns."""

    def __init__(self, *parts: Any, **named: Any) -> None:
        """Take what uvicorn gives."""
        super().__init__(*parts, **named)
        self._overtaken: list[RequestResponseCycle] = []

    def on_headers_complete(self) -> None:
        """Keep the request that is still being answered in mind when another one comes in behind it."""
        before: RequestResponseCycle | None = self.cycle
        super().on_headers_complete()
        if before is not None and not before.response_complete:
            self._overtaken = [cycle for cycle in self._overtaken if not cycle.response_complete] + [before]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request that is not answered yet."""
        for cycle in self._overtaken:
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

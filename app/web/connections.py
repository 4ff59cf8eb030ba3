"""HTTP/1.1 as uvicorn speaks it over httptools, with two of its faults mended.

A client that leaves is noticed by the request that is being answered, also where it has sent others behind it: uvicorn
0.54 tells only the newest request of a connection.

An upgrade that is not taken is ignored and the body is read, as RFC 9110 section 7.8 has it. httptools takes the head
for the whole of such a request, and uvicorn feeds what follows into the same parser, so that the body of one caller's
request would be read as a request of whoever is next on a connection that a proxy shares.
"""

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

REFUSED_FRAMING = "An upgrade is not taken here, and this request does not say in Content-Length where it ends."


class Connections(HttpToolsProtocol):
    """One connection. Nothing that follows a request on it can come from that request's body."""

    _answering: RequestResponseCycle | None = None
    _is_refused = False
    _body_left: int | None = None
    """Bytes that are left of the body of a request whose upgrade is not taken; None outside such a request."""

    def data_received(self, data: bytes) -> None:
        """Read what came, which may be any part of any number of requests."""
        while data and not self.transport.is_closing():
            data = self._parsed(data) if self._body_left is None else self._read_body(data)

    def _parsed(self, data: bytes) -> bytes:
        """Feed the parser; return what follows the head of a request whose upgrade is not taken."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            if self._is_refused:
                self.send_400_response(REFUSED_FRAMING)
                return b""
            self._body_left = _content_length(self.headers)
            return data[exc.args[0] :] if self._body_left else self._end_of_body(data[exc.args[0] :])
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)
        return b""

    def _read_body(self, data: bytes) -> bytes:
        """Take what belongs to the body; return what follows it."""
        part = data[: self._body_left]
        self._body_left = (self._body_left or 0) - len(part)
        self.on_body(part)
        return b"" if self._body_left else self._end_of_body(data[len(part) :])

    def _end_of_body(self, rest: bytes) -> bytes:
        """Complete a request whose upgrade is not taken; `rest` is read by a parser that has seen nothing of it."""
        super().on_message_complete()
        self._body_left = None
        self.parser = httptools.HttpRequestParser(self)
        return rest

    def on_headers_complete(self) -> None:
        """Begin to answer, unless an upgrade leaves in doubt where the request ends."""
        if self.parser.should_upgrade() and not _is_plainly_framed(self.parser.get_method(), self.headers):
            self._is_refused = True
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Complete the request, unless the parser has only seen the head of one whose upgrade is not taken."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

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


def _is_plainly_framed(method: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether a request that asks for an upgrade ends where its Content-Length says, or with its head."""
    return method != b"CONNECT" and all(name != b"transfer-encoding" for name, _ in headers)


def _content_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the length of the body; the parser has refused what is no number, and a second length."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)

"""HTTP/1.1 connections: uvicorn's protocol, with message boundaries that no offer of an upgrade moves.

httptools ends a message at its head where the head offers an upgrade, and uvicorn 0.54 feeds the body to the same
parser, which takes it for the next request. Here the body is read by its length, and a new parser starts behind it.
"""

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.web.framing import BadMessage, Head, check_head, length_behind_upgrade, malformed

LINGER_SECONDS = 2.0
"""How long a refused sender may go on sending, so that it reads the refusal instead of a reset connection."""

MOST_PIPELINED = 16
"""Requests of one connection that may wait for the one before them."""


class _NoMoreRequests(Exception):
    """Raised in the parser at a request behind the last one of a connection; it is not answered."""


class Connections(HttpToolsProtocol):
    """One connection. It also tells the request that is being answered when its client leaves.

    uvicorn tells only the newest request of a connection; one before it would be answered into the void, and a stream
    would go on for ever.
    """

    _answering: RequestResponseCycle | None = None
    _reading_ended = False
    """Whether everything that still comes is dropped."""
    _is_last = False
    """Whether the newest request is the last of its connection, such as one with Connection: close."""
    _in_head = False
    _body_left = 0
    """Bytes to come of a body whose head offered an upgrade; no parser reads them."""
    _refusal: BadMessage | None = None

    def data_received(self, data: bytes) -> None:
        """Read requests, or refuse the connection at the first byte that belongs to none."""
        if self._reading_ended:
            return
        self._unset_keepalive_if_required()
        try:
            self._read(data)
        except BadMessage as exc:
            self._refuse(exc)
        except httptools.HttpParserError:
            if self._is_last and not self._in_body():
                self._reading_ended = True
            else:
                self._refuse(self._refusal or malformed("This is not well-formed HTTP/1.1."))

    def _read(self, data: bytes) -> None:
        while data:
            if self._body_left:
                part, data = data[: self._body_left], data[self._body_left :]
                self._body_left -= len(part)
                self.on_body(part)
                if not self._body_left:
                    super().on_message_complete()
                continue
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as exc:
                data = data[exc.args[0] :]
                self._read_past_upgrade()
            else:
                return

    def _read_past_upgrade(self) -> None:
        """Go on behind a head that offered an upgrade, with a parser that has not seen it."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does; see on_message_begin
        self._body_left = length_behind_upgrade(self.headers)
        if not self._body_left:
            super().on_message_complete()

    def on_message_begin(self) -> None:
        """Start a request, unless the one before it was the last."""
        if self._is_last:
            raise _NoMoreRequests
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those behind a chunked body are dropped, or they would count as the request's own."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the answer of a request whose end is certain."""
        try:
            self._check_head()
        except BadMessage as exc:
            self._refusal = exc
            raise
        self._in_head = False
        super().on_headers_complete()
        if self.expect_100_continue:
            self.cycle.keep_alive = False  # refused unread, the client may send the body after all, or not
        self._is_last = not self.cycle.keep_alive

    def _check_head(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            raise BadMessage(503, "too_many_pipelined", f"At most {MOST_PIPELINED} requests may wait on a connection.")
        parser = self.parser
        check_head(Head(parser.get_method(), self.url, parser.get_http_version(), self.headers))
        if parser.should_upgrade():
            length_behind_upgrade(self.headers)

    def on_message_complete(self) -> None:
        """Note the end of a body; where an upgrade is offered the parser sees it too early."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _in_body(self) -> bool:
        return self.cycle is not None and not self._in_head and self.cycle.more_body

    def _refuse(self, refusal: BadMessage) -> None:
        """Answer `refusal` after the requests before it, and read nothing more."""
        self._reading_ended = True
        broken = self.cycle if self._in_body() else None
        if broken is not None:
            broken.disconnected = True
            broken.message_event.set()
            self.pipeline = type(self.pipeline)(entry for entry in self.pipeline if entry[0] is not broken)
        answering = self._answering
        if answering is broken and broken is not None and broken.response_started:
            self.transport.close()
        elif answering is None or answering is broken or answering.response_complete:
            self._send_refusal(refusal)
        else:
            self.pipeline.appendleft((self._refused_cycle(answering), self._refused_app(refusal)))

    def _refused_cycle(self, like: RequestResponseCycle) -> RequestResponseCycle:
        """Return a cycle that writes nothing itself."""
        cycle = RequestResponseCycle(
            scope=like.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=like.message_event,
            expect_100_continue=False,
            keep_alive=False,
            on_response=lambda: None,
        )
        cycle.disconnected = True
        return cycle

    def _refused_app(self, refusal: BadMessage) -> ASGI3Application:
        async def app(_scope: Scope, _receive: ASGIReceiveCallable, _send: ASGISendCallable) -> None:
            self._send_refusal(refusal)

        return app

    def _send_refusal(self, refusal: BadMessage) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(refusal.response())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

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

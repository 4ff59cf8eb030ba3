"""uvicorn's HTTP/1.1 protocol, with limits, and with correct message boundaries after an Upgrade header.

If a head has an Upgrade header, httptools ends the message after the head. uvicorn 0.54 then feeds the body to the same
parser, which reads it as the next request. Here the body is read by its length, and a new parser starts after it.
"""

import asyncio
import logging
from functools import partial

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.services.log_throttle import ThrottledLog
from app.web.connection.account import CYCLE_BYTES, PIPELINED_PART_BYTES
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.connection.framing import (
    MAX_BODY_PARTS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
    MAX_TRAILER_BYTES,
    NO_TRAILERS,
    BadMessage,
    Head,
    body_length_after_upgrade,
    check_head,
    head_too_large,
    malformed,
    overloaded,
    target_too_long,
    too_slow,
)
from app.web.connection.limits import CONNECTION_LIMITS, ConnectionLimits, IdleKind
from app.web.connection.paced import PacedConnection
from app.web.connection.read_shares import FREE_BYTES, FREE_READS, FREE_WORK, PART_WORK, REQUEST_WORK
from app.web.connection.refusals import queued_refusal
from app.web.connection.timer import ConnectionTimer

LINGER_SECONDS = 2.0
"""Time for which input is read and dropped after a refusal, before the connection is closed.

Closing at once would reset the connection, and the client might not receive the refusal.
"""

HALF_CLOSED_SECONDS = 0.5
"""Time for which requests continue after the client has closed its side of the connection.

A client that waits for the response and one that is gone look the same until something is written (RFC 9112, section
9.6).
"""

MAX_PIPELINED = 16
MAX_PIPELINED_BYTES = 16 * 1024
"""Limits of the pipelined requests of one connection: their number, and the bytes of their heads and bodies.

PIPELINED_HEADER_BYTES and PIPELINED_PART_BYTES count as well.
"""

SMALL_HEAD_BYTES = 6 * 1024
"""The connection does not count heads up to this memory: the memory estimate of any request includes them."""

SMALL_READ_BYTES = 8 * 1024
"""A read up to this length is not reported to the memory budget if it ends with a complete request."""

PART_BYTES = 4 * 1024
"""Length of the parts in which heads and chunked bodies are passed to the parser."""

PROBE_URLS = (b"/livez", b"/readyz")

_NO_REQUEST = IdleKind.NO_REQUEST  # looked up once, because Python 3.11 is slow to look up members of an enumeration

_throttled_log = ThrottledLog(logging.getLogger(__name__))


class _NoMoreRequests(Exception):
    """Raised in a parser callback when a request follows the last one of a connection, and is not to be answered."""


class DisconnectAwareProtocol(PacedConnection):
    """The uvicorn protocol class of this service: one HTTP/1.1 connection.

    A disconnect is signalled to the request that is being answered. uvicorn signals it only to the newest request of a
    connection. If requests are pipelined, the request that is being answered is an older one. It would continue in
    vain, and a stream would never end.
    """

    _is_last = False
    """Whether the newest request is the last of its connection, such as one with Connection: close."""
    _body_parts = 0
    """Number of parts of the newest body that have arrived."""
    _is_chunked = False
    """Whether the newest body is chunked."""
    _is_half_closed = False
    """Whether the client has closed its side of the connection."""
    _is_over_limit = False
    """Whether this connection exceeds the limit of connections of the process. It then serves probes only."""
    _body_left = 0
    """Bytes that have not arrived yet of a body after an Upgrade header. They bypass the parser."""
    _refusal: BadMessage | None = None
    """The exception raised in a parser callback. It is stored because httptools raises another one instead."""
    _timer: ConnectionTimer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a head. The connection is aborted if the limit of connections is far exceeded."""
        super().connection_made(transport)
        self._pipelined = {}
        self._limits = self.app_state.get(CONNECTION_LIMITS) or ConnectionLimits()
        self._timer = ConnectionTimer(self.loop, transport, self._limits.write, self._on_timeout)
        self._timer.set_timeout(self._limits.head)
        transport.set_write_buffer_limits(high=0)  # writing is paused while any byte is in the write buffer
        limit, idle = self._limits.connections, self._limits.idle
        if len(self.connections) > limit and idle.make_room():
            _throttled_log.warn(
                "idle",
                "Closed idle connections for new ones: the limit of %d (LUMA_MCP_CONNECTIONS) is reached. If "
                "clients must connect anew too often, raise it",
                limit,
            )
        self._set_idle_kind(IdleKind.NO_REQUEST)
        self._is_over_limit = len(self.connections) > limit
        if len(self.connections) > limit + max(16, limit // 4):
            self._limits.on_refusal(503)
            _throttled_log.warn(
                "connections",
                "Closed new connections: far more than %d (LUMA_MCP_CONNECTIONS) are open, and none of them is idle. "
                "Raise the limit, or start another replica",
                limit,
            )
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse input, or drop it after a refusal. Charge costly reads, and pause reading if their share is used up."""
        if not self._reading_ended:
            self._parse(data)
        self._reads += 1
        if self._reads > FREE_READS or self._work > FREE_WORK or len(data) > FREE_BYTES or self._reading_ended:
            self._charge(len(data))
        self._work = 0

    def _parse(self, data: bytes) -> None:
        """Parse input. Refuse the connection if it is malformed or exceeds a limit."""
        try:
            self._read(data)
        except BadMessage as exc:
            self._refuse(exc)
        except httptools.HttpParserError:
            if self._is_last and not self._in_body:  # input after the last request is dropped
                self._reading_ended = True
            else:
                self._refuse(self._refusal or malformed("This is not well-formed HTTP/1.1."))
        else:
            self._set_deadline()
            if self._in_head or self._in_body or len(data) > SMALL_READ_BYTES or self.pipeline or self._is_counted:
                self._report_memory()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether to keep the connection open: True while a complete request is being answered.

        The connection is then closed after HALF_CLOSED_SECONDS. An incomplete pipelined request is dropped.
        """
        if self._is_half_closed:
            return True
        is_complete = self._is_answering() and not (self._in_body and self._answering is self.cycle)
        if not is_complete or self._reading_ended:
            return False
        if self._in_body:
            self._remove_pipelined(self.pipeline.popleft()[0])
        self._is_half_closed = self._reading_ended = True
        self._in_head = self._in_body = False
        self._timer.begin_message()
        self._set_deadline()
        return True

    def _set_deadline(self) -> None:
        """Set the deadline for the next input from the client. While writing is paused, the write timeout stays."""
        if self.flow.write_paused:
            return
        if self._is_half_closed:
            self._timer.set_message_timeout(HALF_CLOSED_SECONDS)
        elif self._in_head:
            self._timer.set_message_timeout(self._limits.head)
        elif self._in_body:
            self._timer.set_message_timeout(self._limits.body)
            self._set_partial_body()
        elif self.cycle is not None and not self.cycle.response_complete:
            self._timer.clear()

    def _on_timeout(self) -> None:
        """Refuse a request that arrives too slowly, or close a connection on which no request has begun."""
        if self.flow.read_paused and not self._is_half_closed:  # the client cannot send, because nothing is read
            self._timer.set_timeout(self._limits.body)
        elif self._reading_ended or not (self._in_head or self._in_body):
            self.transport.close()
            self._timer.set_timeout(self._limits.write)
        else:
            self._refuse(too_slow())

    def _read(self, data: bytes) -> None:
        """Pass `data` to the parser, or to `on_body` after an upgrade. Raises BadMessage and HttpParserError."""
        while data:
            if self._body_left:
                part, data = data[: self._body_left], data[self._body_left :]
                self._body_left -= len(part)
                self.on_body(part)
                if not self._body_left:
                    self._complete()
                continue
            # Heads and chunked bodies are parsed in small parts, because their overhead is only known after parsing.
            is_plain_body = self._in_body and not self._is_chunked
            part = data if is_plain_body or len(data) <= PART_BYTES else data[:PART_BYTES]
            self._overhead_bytes += len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as exc:
                data = data[exc.args[0] :]
                self._continue_after_upgrade()
            else:
                data = data[len(part) :]
                self._check_overhead(len(part))

    def _check_overhead(self, part_bytes: int) -> None:
        """Raise BadMessage for a head, a chunk extension or a trailer that is too long."""
        if self._in_head and not self._overhead_bytes:
            self._first_part_bytes = part_bytes
        if self._in_head and self._overhead_bytes > MAX_PIPELINED_BYTES and self._is_answering():
            raise overloaded(
                "While a request is in flight on this connection, at most 16 KB of the next one may arrive."
            )
        if self._in_body and self._overhead_bytes > MAX_TRAILER_BYTES:
            raise malformed("The chunked body has too long extensions or trailers. Send it without them.")
        if self._overhead_bytes > MAX_HEAD_BYTES:
            raise head_too_large()

    def _continue_after_upgrade(self) -> None:
        """Replace the parser after a head with an Upgrade header. The body bypasses the new parser."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does; see on_message_begin
        self._body_left = body_length_after_upgrade(self.headers)
        if not self._body_left:
            self._complete()

    def on_message_begin(self) -> None:
        """Start a request. Raises _NoMoreRequests if the one before it was the last."""
        if self._is_last:
            raise _NoMoreRequests
        self._in_head = True
        self._reads = 0
        self._head_bytes = self._first_part_bytes = 0
        self._timer.begin_message()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Store a part of the target. Raises BadMessage above MAX_TARGET_BYTES."""
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._fail(target_too_long())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header. Trailers are dropped, because uvicorn would add them to the request's headers.

        Raises BadMessage for a head that is too large, and for a trailer of NO_TRAILERS.
        """
        if not self._in_head:
            if name.lower() in NO_TRAILERS:
                self._fail(malformed("A trailer after the body is a field that is allowed only before it."))
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            self._fail(head_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head, and start the request, or queue it as pipelined. Raises BadMessage."""
        try:
            self._check_head()
        except BadMessage as exc:
            self._fail(exc)
        self._in_head = False
        self._in_body = True
        self._overhead_bytes = self._body_parts = 0
        self._is_chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        self._work += REQUEST_WORK + len(self.headers)
        self._set_idle_kind(None)
        super().on_headers_complete()
        if self.pipeline:
            self._add_pipelined(self.cycle, self._newest_pipelined_bytes(), CYCLE_BYTES + self._newest_head_cost())
        if self.expect_100_continue:
            self.cycle.keep_alive = False  # after an early response the client may or may not send the body
        self._is_last = not self.cycle.keep_alive
        self._resume_reading()

    def _fail(self, refusal: BadMessage) -> None:
        """Raise `refusal` in a parser callback. It is stored as well, because httptools raises another one instead."""
        self._refusal = refusal
        raise refusal

    def _check_head(self) -> None:
        """Raise BadMessage if the head is not accepted, or if too many requests are pipelined."""
        self._check_pipeline(self._newest_pipelined_bytes() if self._is_answering() else 0)
        if self._is_over_limit and self.url not in PROBE_URLS:
            raise overloaded("This service has reached its limit of connections. Try again in a moment.")
        parser = self.parser
        check_head(Head(parser.get_method(), self.url, parser.get_http_version(), self.headers))
        if parser.should_upgrade():
            body_length_after_upgrade(self.headers)

    def on_body(self, body: bytes) -> None:
        """Store a part of a body. Raises BadMessage if it has too many parts, or if pipelined requests are too long."""
        self._overhead_bytes = 0
        self._work += PART_WORK
        self._body_parts += 1
        if self._body_parts > MAX_BODY_PARTS:
            self._fail(malformed(f"A body comes in at most {MAX_BODY_PARTS} chunks."))
        super().on_body(body)
        if self.pipeline:
            self._add_pipelined(self.cycle, len(body) + (PIPELINED_PART_BYTES if self._is_chunked else 0), len(body))
            self._check_pipeline()

    def on_message_complete(self) -> None:
        """Complete the request, unless it has an Upgrade header: the parser then calls this before the body."""
        self._overhead_bytes = 0
        if not self.parser.should_upgrade():
            self._complete()

    def _complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
        if not self.cycle.response_complete:
            self._set_idle_kind(None)
        elif not (self.flow.write_paused or self.transport.is_closing()):
            self._wait_for_request()  # the response was sent before the request was complete
        self._resume_reading()

    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _wait_for_request(self) -> None:
        self._set_idle_kind(_NO_REQUEST)
        if not self._in_head:
            self._timer.set_timeout(self._limits.keep_alive)

    def _check_pipeline(self, head_bytes: int = 0) -> None:
        """Raise BadMessage if the pipelined requests, with a new head of `head_bytes`, exceed their limits."""
        if len(self.pipeline) >= MAX_PIPELINED or self._pipelined_bytes + head_bytes > MAX_PIPELINED_BYTES:
            self._fail(overloaded(f"At most {MAX_PIPELINED} requests may wait on a connection, and 16 KB in all."))

    def _resume_reading(self) -> None:
        """Resume reading if uvicorn has paused it for a large body or a pipelined request.

        While reading is paused, a disconnect is not noticed.
        """
        if self.flow.read_paused and (self.pipeline or not self.cycle.response_complete):
            self.flow.resume_reading()

    def _refuse(self, refusal: BadMessage) -> None:
        """Send `refusal` after the responses to earlier requests, and drop further input."""
        self._reading_ended, self._in_head, self.headers = True, False, []
        # The frames of a traceback would keep the input alive while the refusal waits.
        refusal.__traceback__ = refusal.__context__ = None
        incomplete = self.cycle if self._in_body else None
        if incomplete is not None:
            incomplete.disconnected = True
            incomplete.message_event.set()
            incomplete.body = bytearray()
            self.pipeline = type(self.pipeline)(entry for entry in self.pipeline if entry[0] is not incomplete)
            self._remove_pipelined(incomplete)
        answering = self._answering
        if answering is incomplete and incomplete is not None and incomplete.response_started:
            self.transport.close()
            self._timer.set_timeout(self._limits.write)
        elif answering is None or answering is incomplete or answering.response_complete:
            self._send_refusal(refusal)
        else:
            entry = queued_refusal(answering, partial(self._send_refusal, refusal))
            self.pipeline.appendleft(entry)
            self._add_pipelined(entry[0], 0, CYCLE_BYTES)
        self._report_memory()

    def _send_refusal(self, refusal: BadMessage) -> None:
        if self.transport.is_closing():
            return
        self._limits.on_refusal(refusal.status)
        _throttled_log.warn(
            refusal.code, "Refused a request and closed its connection: %d, %s", refusal.status, refusal
        )
        self.transport.write(refusal.response())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._linger()

    def _linger(self) -> None:
        self._set_idle_kind(IdleKind.ANSWERED)
        self._timer.set_timeout(LINGER_SECONDS)

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or wait for a request. Replaces uvicorn's method and keep-alive timer."""
        self.server_state.total_requests += 1
        self._release_request()
        if self.transport.is_closing():
            self._set_idle_kind(IdleKind.UNREAD_RESPONSE)
            self._timer.set_timeout(self._limits.write)
        elif self.flow.write_paused:
            self._set_idle_kind(IdleKind.UNREAD_RESPONSE)
            self.flow.pause_reading()  # until the client has read the response; resume_writing resumes it
        else:
            self._start_next()

    def _start_next(self) -> None:
        """Start the next pipelined request. Without one, wait for the next input, or close a half-closed connection."""
        self.flow.resume_reading()
        if self._is_counted:
            self._report_memory()
        if self.pipeline:
            self._set_idle_kind(None)
            cycle, app = self.pipeline.pop()
            self._remove_pipelined(cycle)
            self._start_asgi_task(cycle, app)
            self._set_deadline()
        elif self._is_half_closed:
            self.transport.close()
        elif self._reading_ended:
            self._linger()
        elif self._in_body:
            self._set_deadline()
        else:
            self._wait_for_request()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Start the application on a request. A connection answers one request at a time."""
        self._answering = cycle
        cost = self._head_cost(cycle)
        is_large = cost > SMALL_HEAD_BYTES
        self._disconnect = DisconnectSignal(cost, self._report_memory if is_large else None, self._report_memory)
        cycle.scope[DISCONNECT_SIGNAL] = self._disconnect  # type: ignore[literal-required]
        super()._start_asgi_task(cycle, app)
        if is_large:
            self._report_memory()  # thousands of requests may be read before the application starts on one

    def pause_writing(self) -> None:
        """Start the write timeout, because the write buffer is not empty."""
        super().pause_writing()
        self._timer.set_timeout(self._limits.write)
        self._report_memory()

    def resume_writing(self) -> None:
        """Stop the write timeout and continue, because the write buffer is empty."""
        super().resume_writing()
        if self.transport.is_closing():
            return
        self._timer.clear()
        if not self._is_answering():
            self._start_next()
        else:
            self._report_memory()
            self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Signal the disconnect to the request that is being answered. Pipelined requests are dropped."""
        self._timer.close()
        if self._disconnect is not None:
            self._disconnect.detach()  # the application may still run, and this connection counts nothing any more
        self._leave_limits()
        answering = self._answering
        if answering is not None:
            answering.disconnected = True
            answering.message_event.set()
            if self._disconnect is not None and not answering.response_complete:
                self._disconnect.notify()
        super().connection_lost(exc)
        del self.parser  # the reference cycle would keep this connection until the next garbage collection

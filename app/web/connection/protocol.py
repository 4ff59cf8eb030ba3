"""HTTP/1.1 connections: uvicorn's protocol with limits, and with correct message boundaries after an upgrade offer.

httptools ends a message at its head where the head offers an upgrade, and uvicorn 0.54 feeds the body to the same
parser, which takes it for the next request. Here the body is read by its length, and a new parser starts behind it.
"""

import asyncio
import logging
from functools import partial

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.web.connection.account import TARGET_COPIES, AccountedConnection
from app.web.connection.disconnects import DISCONNECT_SIGNAL, DisconnectSignal
from app.web.connection.framing import (
    MOST_BODY_PARTS,
    MOST_HEAD_BYTES,
    MOST_HEADERS,
    MOST_TARGET_BYTES,
    MOST_TRAILER_BYTES,
    NO_TRAILERS,
    BadMessage,
    Head,
    check_head,
    head_too_large,
    length_behind_upgrade,
    malformed,
    overloaded,
    target_too_long,
    too_slow,
)
from app.web.connection.limits import CONNECTION_LIMITS, ConnectionLimits, IdleKind
from app.web.connection.refusals import queued_refusal
from app.web.connection.timer import ConnectionTimer
from app.web.log_throttle import ThrottledLog

LINGER_SECONDS = 2.0
"""How long a refused sender may go on sending, so that it reads the refusal instead of a reset connection."""

HALF_CLOSED_SECONDS = 0.5
"""How long the requests of a client go on that has ended its side: it may wait for them, or have left (RFC 9112, 9.6).

The two look the same until something is written, and a call is not worked out for long for somebody who has left.
"""

MOST_PIPELINED = 16
MOST_PIPELINED_BYTES = 16 * 1024
"""Requests of one connection that may wait for the one before them, and the bytes of their heads and bodies."""

SMALL_HEAD_BYTES = 6 * 1024
"""A head up to so much, headers counted as they cost, is part of what a request takes in any case."""

SMALL_READ_BYTES = 8 * 1024
"""A request that comes whole in one read of up to so much is not counted."""

PART_BYTES = 4 * 1024
"""Of a head or a chunked body, the parser is given so much at once."""

PROBES = (b"/livez", b"/readyz")

_NO_REQUEST = IdleKind.NO_REQUEST  # looked up once: Python 3.11 finds members of an enumeration slowly

_bursts = ThrottledLog(logging.getLogger(__name__))


class _NoMoreRequests(Exception):
    """Raised in the parser at a request behind the last one of a connection; it is not answered."""


class DisconnectAwareProtocol(AccountedConnection):
    """One connection. A disconnect is signalled to the request that is being answered.

    uvicorn signals it only to the newest request of a connection. An earlier one would be answered in vain, and a
    stream would go on for ever.
    """

    _reading_ended = False
    """Whether everything that still comes is dropped."""
    _is_last = False
    """Whether the newest request is the last of its connection, such as one with Connection: close."""
    _body_parts = 0
    _is_chunked = False
    """Whether the newest body comes in chunks."""
    _is_half_closed = False
    """Whether the client sends nothing any more."""
    _is_full = False
    """Whether the process had all the connections that it takes when this one was made."""
    _body_left = 0
    """Bytes to come of a body whose head offered an upgrade; no parser reads them."""
    _refusal: BadMessage | None = None
    _resting: asyncio.TimerHandle | None = None
    """Reads on after a pause that follows a refusal."""
    _timer: ConnectionTimer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a head; a connection far above the limit is ended at once."""
        super().connection_made(transport)
        self._limits = self.app_state.get(CONNECTION_LIMITS) or ConnectionLimits()
        self._timer = ConnectionTimer(self.loop, transport, self._limits.write, self._time_is_up)
        self._timer.expect(self._limits.head)
        transport.set_write_buffer_limits(high=0)  # so writing pauses where the client has not taken everything
        most, idle = self._limits.connections, self._limits.idle
        if len(self.connections) > most and idle.make_room():
            _bursts.warn("idle", "Closed idle connections: more than %d are open (LUMA_MCP_CONNECTIONS)", most)
        self._become(IdleKind.NO_REQUEST)
        self._is_full = len(self.connections) > most
        if len(self.connections) > most + max(16, most // 4):
            self._limits.refused(503)
            _bursts.warn("connections", "Closed a connection: more than %d are open (LUMA_MCP_CONNECTIONS)", most)
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read requests, or refuse the connection at the first byte that belongs to none."""
        if self._reading_ended:
            return
        try:
            self._read(data)
        except BadMessage as exc:
            self._refuse(exc)
        except httptools.HttpParserError:
            if self._is_last and not self._in_body:
                self._reading_ended = True
            else:
                self._refuse(self._refusal or malformed("This is not well-formed HTTP/1.1."))
        else:
            self._set_deadline()
            if self._in_head or self._in_body or len(data) > SMALL_READ_BYTES or self.pipeline or self._is_noted:
                self._note_held()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Go on for a moment where whole requests are there, and return whether they are; drop the half of another."""
        if self._is_half_closed:
            return True
        is_whole = self._is_answering() and not (self._in_body and self._answering is self.cycle)
        if not is_whole or self._reading_ended:
            return False
        if self._in_body:
            self.pipeline.popleft()
        self._is_half_closed = self._reading_ended = True
        self._in_head = self._in_body = False
        self._timer.begin()
        self._set_deadline()
        return True

    def _set_deadline(self) -> None:
        if self.flow.write_paused:
            return
        if self._is_half_closed:
            self._timer.expect_once(HALF_CLOSED_SECONDS)
        elif self._in_head:
            self._timer.expect_once(self._limits.head)
        elif self._in_body:
            self._timer.expect_once(self._limits.body)
            self._become_half_sent()
        elif self.cycle is not None and not self.cycle.response_complete:
            self._timer.rest()

    def _time_is_up(self) -> None:
        """Refuse a request that comes too slowly; close a connection on which none has begun."""
        if self.flow.read_paused and not self._is_half_closed:  # the client waits for this service
            self._timer.expect(self._limits.body)
        elif self._reading_ended or not (self._in_head or self._in_body):
            self.transport.close()
            self._timer.expect(self._limits.write)
        else:
            self._refuse(too_slow())

    def _read(self, data: bytes) -> None:
        while data:
            if self._body_left:
                part, data = data[: self._body_left], data[self._body_left :]
                self._body_left -= len(part)
                self.on_body(part)
                if not self._body_left:
                    self._complete()
                continue
            # The parser takes what is no body in small parts: it says only afterwards what that was.
            is_plain_body = self._in_body and not self._is_chunked
            part = data if is_plain_body or len(data) <= PART_BYTES else data[:PART_BYTES]
            self._silent_bytes += len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as exc:
                data = data[exc.args[0] :]
                self._read_past_upgrade()
            else:
                data = data[len(part) :]
                self._check_silence(len(part))

    def _check_silence(self, part_bytes: int) -> None:
        """Raise BadMessage for a head, an extension or a trailer that goes on for too long."""
        if self._in_head and not self._silent_bytes:
            self._bytes_before = part_bytes
        if self._in_head and self._silent_bytes > MOST_PIPELINED_BYTES and self._is_answering():
            raise overloaded("A request is under way on this connection: the next one may wait with 16 KB.")
        if self._in_body and self._silent_bytes > MOST_TRAILER_BYTES:
            raise malformed("The chunked body has too long extensions or trailers.")
        if self._silent_bytes > MOST_HEAD_BYTES:
            raise head_too_large()

    def _read_past_upgrade(self) -> None:
        """Go on behind a head that offered an upgrade, with a parser that has not seen it."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does; see on_message_begin
        self._body_left = length_behind_upgrade(self.headers)
        if not self._body_left:
            self._complete()

    def on_message_begin(self) -> None:
        """Start a request, unless the one before it was the last."""
        if self._is_last:
            raise _NoMoreRequests
        self._in_head = True
        self._head_bytes = self._bytes_before = 0
        self._timer.begin()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Keep the target, up to a limit."""
        super().on_url(url)
        if len(self.url) > MOST_TARGET_BYTES:
            self._fail(target_too_long())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those behind a chunked body are dropped, or they would count as the request's own."""
        if not self._in_head:
            if name.lower() in NO_TRAILERS:
                self._fail(malformed("A field behind the body is one that must stand before it."))
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MOST_HEAD_BYTES or len(self.headers) >= MOST_HEADERS:
            self._fail(head_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the answer of a request whose end is certain."""
        try:
            self._check_head()
        except BadMessage as exc:
            self._fail(exc)
        self._in_head = False
        self._in_body = True
        self._silent_bytes = self._body_parts = 0
        self._is_chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        self._become(None)
        super().on_headers_complete()
        if self.expect_100_continue:
            self.cycle.keep_alive = False  # refused unread, the client may send the body after all, or not
        self._is_last = not self.cycle.keep_alive
        self._go_on_reading()

    def _fail(self, refusal: BadMessage) -> None:
        """End parsing; httptools passes no exception of its callbacks on."""
        self._refusal = refusal
        raise refusal

    def _check_head(self) -> None:
        self._check_waiting(self._head_bytes + TARGET_COPIES * len(self.url) if self._is_answering() else 0)
        if self._is_full and self.url not in PROBES:
            raise overloaded("This service has as many connections as it takes. Try again in a moment.")
        parser = self.parser
        check_head(Head(parser.get_method(), self.url, parser.get_http_version(), self.headers))
        if parser.should_upgrade():
            length_behind_upgrade(self.headers)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._silent_bytes = 0
        self._body_parts += 1
        if self._body_parts > MOST_BODY_PARTS:
            self._fail(malformed(f"A body comes in at most {MOST_BODY_PARTS} chunks."))
        super().on_body(body)
        if self.pipeline:
            self._check_waiting()

    def on_message_complete(self) -> None:
        """Note the end of a body; where an upgrade is offered the parser sees it too early."""
        self._silent_bytes = 0
        if not self.parser.should_upgrade():
            self._complete()

    def _complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
        if not self.cycle.response_complete:
            self._become(None)
        elif not (self.flow.write_paused or self.transport.is_closing()):
            self._wait_for_request()  # it was answered before all of it had come
        self._go_on_reading()

    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _wait_for_request(self) -> None:
        self._become(_NO_REQUEST)
        if not self._in_head:
            self._timer.expect(self._limits.keep_alive)

    def _check_waiting(self, head_bytes: int = 0) -> None:
        """Raise BadMessage where more waits behind the request that is being answered than may, with this head."""
        if len(self.pipeline) >= MOST_PIPELINED or self._waiting_bytes() + head_bytes > MOST_PIPELINED_BYTES:
            self._fail(overloaded(f"At most {MOST_PIPELINED} requests may wait on a connection, and of 16 KB in all."))

    def _go_on_reading(self) -> None:
        """Read on where uvicorn has paused for a large body or a request that waits: else no departure is noticed."""
        if self.flow.read_paused and (self.pipeline or not self.cycle.response_complete):
            self.flow.resume_reading()

    def _refuse(self, refusal: BadMessage) -> None:
        """Answer `refusal` after the requests before it, and read nothing more."""
        self._reading_ended, self._in_head, self.headers = True, False, []
        refusal.__traceback__ = refusal.__context__ = None  # they lead to what was read, and it may wait for its turn
        broken = self.cycle if self._in_body else None
        if broken is not None:
            broken.disconnected = True
            broken.message_event.set()
            broken.body = bytearray()
            self.pipeline = type(self.pipeline)(entry for entry in self.pipeline if entry[0] is not broken)
        answering = self._answering
        if answering is broken and broken is not None and broken.response_started:
            self.transport.close()
            self._timer.expect(self._limits.write)
        elif answering is None or answering is broken or answering.response_complete:
            self._send_refusal(refusal)
        else:
            self.pipeline.appendleft(queued_refusal(answering, partial(self._send_refusal, refusal)))
        if self._is_noted:
            self._note_held()

    def _send_refusal(self, refusal: BadMessage) -> None:
        if self.transport.is_closing():
            return
        self._limits.refused(refusal.status)
        _bursts.warn(refusal.code, "Refused a connection with %d: %s", refusal.status, refusal)
        self.transport.write(refusal.response())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._linger()

    def _linger(self) -> None:
        self._become(IdleKind.ANSWERED)
        self._timer.expect(LINGER_SECONDS)

    def on_response_complete(self) -> None:
        """Start the next request that waits, or wait for one; the timer is ours in place of uvicorn's."""
        self.server_state.total_requests += 1
        self._let_go()
        if self.transport.is_closing():
            self._become(IdleKind.UNREAD_ANSWER)
            self._timer.expect(self._limits.write)
        elif self.flow.write_paused:
            self._become(IdleKind.UNREAD_ANSWER)
            self.flow.pause_reading()  # until the client has taken what is there: see resume_writing
        elif self._disconnect is not None and self._disconnect.rest_seconds:
            self.flow.pause_reading()
            self._become(IdleKind.ANSWERED)
            self._resting = self.loop.call_later(self._disconnect.rest_seconds, self._go_on)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Start the next request, or wait for it or for the rest of the one that was answered already."""
        self.flow.resume_reading()
        if self._is_noted:
            self._note_held()
        if self.pipeline:
            self._become(None)
            self._start_asgi_task(*self.pipeline.pop())
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
        """Remember which request is being answered: one at a time, while the others of the connection wait."""
        self._answering = cycle
        cost = self._head_cost(cycle)
        is_large = cost > SMALL_HEAD_BYTES
        self._disconnect = DisconnectSignal(cost, self._note_held if is_large else None)
        cycle.scope[DISCONNECT_SIGNAL] = self._disconnect  # type: ignore[literal-required]
        super()._start_asgi_task(cycle, app)
        if is_large:
            self._note_held()  # thousands may be read before the first of them begins

    def pause_writing(self) -> None:
        """Start to watch a peer that has not taken everything."""
        super().pause_writing()
        self._timer.expect(self._limits.write)
        self._note_held()

    def resume_writing(self) -> None:
        """Go on as before: the peer has taken everything."""
        super().resume_writing()
        if self.transport.is_closing():
            return
        self._timer.rest()
        if not self._is_answering():
            self._go_on()
        else:
            self._note_held()
            self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Signal the disconnect to the request being answered. Requests behind it are never started."""
        self._timer.end()
        if self._resting is not None:
            self._resting.cancel()
        self._leave_limits()
        answering = self._answering
        if answering is not None:
            answering.disconnected = True
            answering.message_event.set()
            if self._disconnect is not None and not answering.response_complete:
                self._disconnect.notify()
        super().connection_lost(exc)
        del self.parser  # it refers to this connection, which would stay until the garbage collector looks

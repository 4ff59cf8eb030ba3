"""A connection that reports its idle state and its memory to the limits of the process."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.services.limits.memory_budget import NOBODY
from app.web.connection.disconnects import DisconnectSignal
from app.web.connection.limits import ConnectionLimits, IdleKind

HEADER_BYTES = 140
"""Memory of a header in addition to its text: a tuple and two bytes objects."""

TARGET_COPIES = 3
"""Copies of a request's target in memory: as received, as raw path and query, and as decoded path."""

CYCLE_BYTES = 3_000
"""Memory of a pipelined request in addition to its headers and body: ASGI scope, request and response objects."""

PIPELINED_HEADER_BYTES, PIPELINED_PART_BYTES = 28, 16
"""Bytes added for each header, and each part of a chunked body, in the size limit of pipelined requests."""


class AccountedConnection(HttpToolsProtocol):
    """A connection that counts in the limits of the process: IdleConnections and the memory budget."""

    _limits: ConnectionLimits
    _answering: RequestResponseCycle | None = None
    """The request whose response is being sent, or was sent last."""
    _disconnect: DisconnectSignal | None = None
    """The signal of that request."""
    _in_head = False
    """Whether the head of the newest request has begun and is incomplete. The subclass sets this and the next four."""
    _in_body = False
    """Whether the newest request has a complete head and an incomplete body."""
    _overhead_bytes = 0
    """Bytes of an unfinished head, chunk extension or trailer, since the last complete head or body part."""
    _head_bytes = 0
    """Length of the header lines of the newest head."""
    _first_part_bytes = 0
    """Length of the input chunk in which an earlier request ended and the unfinished head began; 0 if there is none."""
    _pipelined: dict[RequestResponseCycle, list[int]]
    """For each request that waits for the responses to earlier ones: its length and its memory, in bytes."""
    _pipelined_bytes = 0
    _pipelined_memory = 0
    """Sums of `_pipelined`. They are not computed on demand, because a body may come in thousands of parts."""
    _idle_kind: IdleKind | None = None
    """The idle state as last reported, while this connection waits for its client; otherwise None."""
    _is_counted = False
    """Whether the memory budget counts bytes of this connection."""

    def make_room(self) -> None:
        """Abort this connection, and release its memory for others."""
        self.connections.discard(self)
        self.pipeline.clear()  # now, because thousands of connections may be read before `connection_lost` is called
        self._pipelined.clear()
        self._pipelined_bytes = self._pipelined_memory = 0
        if self.cycle is not None and self.cycle is not self._answering:
            self.cycle.scope, self.cycle.body = {}, bytearray()  # type: ignore[typeddict-item]
            self.headers, self.scope = [], {}  # type: ignore[typeddict-item]
        if self._answering is not None and self._disconnect is not None and not self._disconnect.application_has_begun:
            self._disconnect.notify()
            self._answering.scope["headers"] = self.headers = []  # the cancelled task holds the scope for a moment
            self._answering.body = bytearray()
        self.transport.abort()

    def held_bytes(self) -> int:
        """Return the bytes of memory for unprocessed input, and for responses that the client has not read.

        For requests that RequestMemoryMiddleware does not count, it includes the bytes that the application holds.
        """
        held = 0
        if self._in_head:
            held = self._first_part_bytes + self._overhead_bytes + HEADER_BYTES * len(self.headers)
        elif self._in_body:
            held = self._overhead_bytes
            if not self.pipeline:
                held += self._newest_head_cost()
        if self._disconnect is not None:
            held += self._disconnect.application_bytes
            if not self._disconnect.application_has_begun:
                held += self._disconnect.head_bytes
        body = len(self._answering.body) if self._answering is not None else 0
        return held + body + self._pipelined_memory + self.transport.get_write_buffer_size()

    def _head_cost(self, cycle: RequestResponseCycle) -> int:
        """Return an estimate of the memory of a request's head."""
        return self._newest_head_cost() if cycle is self.cycle else _head_cost_of(cycle)

    def _newest_head_cost(self) -> int:
        """Return that estimate for the newest request, from the counters of its head."""
        return self._head_bytes + HEADER_BYTES * len(self.headers) + TARGET_COPIES * len(self.url)

    def _release_request(self) -> None:
        """Drop the data of the request whose response is complete, because its connection may stay open for long."""
        if (answered := self._answering) is None:
            return
        if answered is self.cycle and not self._in_head:
            self.headers, self.scope = [], {}  # type: ignore[typeddict-item]
        answered.scope = {}  # type: ignore[typeddict-item]
        if answered.body:
            answered.body = bytearray()  # the application has not read it

    def _newest_pipelined_bytes(self) -> int:
        """Return the bytes by which the newest request's head counts in MAX_PIPELINED_BYTES."""
        return self._head_bytes + PIPELINED_HEADER_BYTES * len(self.headers) + TARGET_COPIES * len(self.url)

    def _add_pipelined(self, cycle: RequestResponseCycle, length: int, memory: int) -> None:
        """Count a pipelined request, or a part of its body. `length` and `memory` are in bytes."""
        totals = self._pipelined.setdefault(cycle, [0, 0])
        totals[0] += length
        totals[1] += memory
        self._pipelined_bytes += length
        self._pipelined_memory += memory

    def _remove_pipelined(self, cycle: RequestResponseCycle) -> None:
        """Stop counting a request that is no longer pipelined."""
        length, memory = self._pipelined.pop(cycle, (0, 0))
        self._pipelined_bytes -= length
        self._pipelined_memory -= memory

    def _report_memory(self) -> None:
        """Report the memory of this connection. The budget may then close connections, including this one."""
        if held := self.held_bytes():
            self._is_counted = True
            self._limits.memory.hold(self, self._disconnect.owner if self._disconnect is not None else NOBODY, held)
        elif self._is_counted:
            self._is_counted = False
            self._limits.memory.release(self)

    def _set_idle_kind(self, kind: IdleKind | None) -> None:
        """Report the idle state of this connection; None if it does not wait for its client."""
        if kind is not self._idle_kind:
            self._limits.idle.move(self, self._idle_kind, kind)
            self._idle_kind = kind

    def _set_partial_body(self) -> None:
        """Report that this connection waits for the rest of a body, unless that request is pipelined."""
        if self.pipeline:
            return
        if self.cycle.response_complete:
            self._set_idle_kind(IdleKind.ANSWERED)
        elif any(name == b"authorization" for name, _ in self.headers):
            self._set_idle_kind(IdleKind.PARTIAL_BODY)
        else:
            self._set_idle_kind(IdleKind.PARTIAL_BODY_WITHOUT_TOKEN)

    def _leave_limits(self) -> None:
        """Remove this connection from the limits."""
        self._pipelined.clear()
        self._set_idle_kind(None)
        self._limits.memory.release(self)


def _text_bytes(cycle: RequestResponseCycle) -> int:
    """Return the length of a request's headers and of all copies of its target, in bytes."""
    scope = cycle.scope
    target = len(scope["raw_path"]) + len(scope["query_string"])
    return TARGET_COPIES * target + sum(len(name) + len(value) for name, value in scope["headers"])


def _head_cost_of(cycle: RequestResponseCycle) -> int:
    return _text_bytes(cycle) + HEADER_BYTES * sum(1 for _ in cycle.scope["headers"])

"""Accounting of one connection: its idle kind, and the memory that it holds."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.services.limits.memory_budget import NOBODY
from app.web.connection.disconnects import DisconnectSignal
from app.web.connection.limits import ConnectionLimits, IdleKind

HEADER_BYTES = 140
"""Memory of a header beside its text: a tuple and two bytes objects."""

TARGET_COPIES = 3
"""Copies of a request's target in memory: as received, as raw path and query, and as decoded path."""

CYCLE_BYTES = 3_000
"""Memory of a pipelined request beside its headers and body: its scope, and the request and response objects."""


HEADER_BYTES_AHEAD, PART_BYTES_AHEAD = 28, 16
"""Bytes that a header, and a part of a chunked body, count beside their text in the limit of pipelined requests."""


class AccountedConnection(HttpToolsProtocol):
    """Reports the idle kind and the memory of this connection to the limits of the process."""

    _limits: ConnectionLimits
    _answering: RequestResponseCycle | None = None
    """The request that is being answered, or was answered last."""
    _disconnect: DisconnectSignal | None = None
    """The signal of that request."""
    _in_head = False
    _in_body = False
    _overhead_bytes = 0
    """Bytes read since the last complete head or part of a body: of heads, chunk extensions and trailers."""
    _head_bytes = 0
    """Length of the header lines of the newest head."""
    _bytes_before = 0
    """Length of the read in which the unfinished head began. It may include earlier requests."""
    _ahead: dict[RequestResponseCycle, list[int]]
    """Bytes and memory of each pipelined request."""
    _ahead_bytes = 0
    _ahead_memory = 0
    """Their sums. They are kept up to date, because a body may come in thousands of parts."""
    _kind: IdleKind | None = None
    """None while this connection does not wait for its client."""
    _is_noted = False
    """Whether the memory budget counts bytes of this connection."""

    def make_room(self) -> None:
        """Abort this connection in favour of others, and release its memory."""
        self.connections.discard(self)
        self.pipeline.clear()  # now, because thousands of connections may be read before `connection_lost` is called
        self._ahead.clear()
        self._ahead_bytes = self._ahead_memory = 0
        if self.cycle is not None and self.cycle is not self._answering:
            self.cycle.scope, self.cycle.body = {}, bytearray()  # type: ignore[typeddict-item]
            self.headers, self.scope = [], {}  # type: ignore[typeddict-item]
        if self._answering is not None and self._disconnect is not None and not self._disconnect.has_begun:
            self._disconnect.notify()
            self._answering.scope["headers"] = self.headers = []  # the cancelled task keeps the scope for a moment
            self._answering.body = bytearray()
        self.transport.abort()

    def held_bytes(self) -> int:
        """Return the memory of what was received and not processed, and of what was written and not read."""
        head = 0
        if self._in_head:
            head = self._bytes_before + self._overhead_bytes + HEADER_BYTES * len(self.headers)
        elif self._in_body:
            head = self._overhead_bytes
            if not self.pipeline:
                head += self._newest_head_cost()
        if self._disconnect is not None and not self._disconnect.has_begun:
            head += self._disconnect.head_bytes
        body = len(self._answering.body) if self._answering is not None else 0
        return head + body + self._ahead_memory + self.transport.get_write_buffer_size()

    def _head_cost(self, cycle: RequestResponseCycle) -> int:
        """Return an estimate of the memory of a request's head."""
        return self._newest_head_cost() if cycle is self.cycle else _head_cost_of(cycle)

    def _newest_head_cost(self) -> int:
        """Return that of the newest request, by the counters of its head."""
        return self._head_bytes + HEADER_BYTES * len(self.headers) + TARGET_COPIES * len(self.url)

    def _release_request(self) -> None:
        """Drop the data of the answered request, because its connection may stay open for long."""
        if (answered := self._answering) is None:
            return
        if answered is self.cycle and not self._in_head:
            self.headers, self.scope = [], {}  # type: ignore[typeddict-item]
        answered.scope = {}  # type: ignore[typeddict-item]
        if answered.body:
            answered.body = bytearray()  # the application has not read it

    def _newest_bytes_ahead(self) -> int:
        """Return what the head of the newest request counts in the limit of pipelined requests."""
        return self._head_bytes + HEADER_BYTES_AHEAD * len(self.headers) + TARGET_COPIES * len(self.url)

    def _add_ahead(self, cycle: RequestResponseCycle, length: int, memory: int) -> None:
        """Count a pipelined request, or more of its body."""
        counted = self._ahead.setdefault(cycle, [0, 0])
        counted[0] += length
        counted[1] += memory
        self._ahead_bytes += length
        self._ahead_memory += memory

    def _remove_ahead(self, cycle: RequestResponseCycle) -> None:
        """Stop to count a request that is not pipelined any more."""
        length, memory = self._ahead.pop(cycle, (0, 0))
        self._ahead_bytes -= length
        self._ahead_memory -= memory

    def _note_held(self) -> None:
        """Report the memory of this connection. The budget may then close connections, including this one."""
        if held := self.held_bytes():
            self._is_noted = True
            self._limits.memory.hold(self, self._disconnect.owner if self._disconnect is not None else NOBODY, held)
        elif self._is_noted:
            self._is_noted = False
            self._limits.memory.release(self)

    def _set_idle_kind(self, kind: IdleKind | None) -> None:
        """Report what this connection waits for; None while it does not wait for its client."""
        if kind is not self._kind:
            self._limits.idle.move(self, self._kind, kind)
            self._kind = kind

    def _set_partial_body(self) -> None:
        """Report that a part of a body has arrived, unless its request waits behind another anyway."""
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
        self._ahead.clear()
        self._set_idle_kind(None)
        self._limits.memory.release(self)


def _text_bytes(cycle: RequestResponseCycle) -> int:
    """Return the length of a request's headers, and of all copies of its target."""
    scope = cycle.scope
    target = len(scope["raw_path"]) + len(scope["query_string"])
    return TARGET_COPIES * target + sum(len(name) + len(value) for name, value in scope["headers"])


def _head_cost_of(cycle: RequestResponseCycle) -> int:
    return _text_bytes(cycle) + HEADER_BYTES * sum(1 for _ in cycle.scope["headers"])

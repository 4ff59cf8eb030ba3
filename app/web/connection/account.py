"""Accounting of one connection: its idle state, and the bytes that it holds."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.services.limits.memory_budget import NOBODY
from app.web.connection.disconnects import DisconnectSignal
from app.web.connection.limits import ConnectionLimits, IdleKind

HEADER_BYTES = 140
"""Memory of a header beside its text: a tuple and two bytes objects."""

TARGET_COPIES = 3
"""The target of a request is held as it came, as raw path and query, and as decoded path."""

CYCLE_BYTES = 3_000
"""Memory of a pipelined request beside its headers and body: its scope and the objects that will answer it."""


class AccountedConnection(HttpToolsProtocol):
    """Reports the state and the memory of this connection to the limits of the process."""

    _limits: ConnectionLimits
    _answering: RequestResponseCycle | None = None
    _disconnect: DisconnectSignal | None = None
    """Belongs to the request that is being answered, or was answered last."""
    _in_head = False
    _in_body = False
    _silent_bytes = 0
    """Bytes read since the last end of a head or part of a body: of heads, chunk extensions and trailers."""
    _head_bytes = 0
    """Letters of the newest head."""
    _bytes_before = 0
    """Bytes read together with the beginning of the head that has not ended, and maybe of requests before it."""
    _kind: IdleKind | None = None
    _is_noted = False
    """Whether the limits count bytes of this connection."""

    def make_room(self) -> None:
        """Close this idle connection in favour of others."""
        self.connections.discard(self)
        self.pipeline.clear()  # at once: thousands of connections may be read in one turn, before any is lost
        if self._answering is not None and self._disconnect is not None and not self._disconnect.has_begun:
            self._disconnect.notify()
            self._answering.scope["headers"] = self.headers = []  # its task has begun nothing, and stays for a moment
        self.transport.abort()

    def held_bytes(self) -> int:
        """Return the bytes received and not yet processed, and those written and not yet read by the client."""
        head = 0
        if self._in_head:
            head = self._bytes_before + self._silent_bytes + HEADER_BYTES * len(self.headers)
        elif self._in_body:
            head = self._silent_bytes
            if not self.pipeline:
                head += self._newest_head_cost()
        if self._disconnect is not None and not self._disconnect.has_begun:
            head += self._disconnect.head_bytes
        body = len(self._answering.body) if self._answering is not None else 0
        waiting = sum(_cost_of(cycle) for cycle, _ in self.pipeline)
        return head + body + waiting + self.transport.get_write_buffer_size()

    def _head_cost(self, cycle: RequestResponseCycle) -> int:
        """Return about what the head of a request takes in memory."""
        return self._newest_head_cost() if cycle is self.cycle else _head_cost_of(cycle)

    def _newest_head_cost(self) -> int:
        """Return that of the newest request, from what was counted while its head came."""
        return self._head_bytes + HEADER_BYTES * len(self.headers) + TARGET_COPIES * len(self.url)

    def _let_go(self) -> None:
        """Drop the answered request: its connection may stay open for long."""
        if (answered := self._answering) is None:
            return
        if answered is self.cycle and not self._in_head:
            self.headers, self.scope = [], {}  # type: ignore[typeddict-item]
        answered.scope = {}  # type: ignore[typeddict-item]
        if answered.body:
            answered.body = bytearray()  # it was answered unread

    def _waiting_bytes(self) -> int:
        """Return what came of the requests that wait behind the one that is being answered."""
        return sum(_bytes_of(cycle) for cycle, _ in self.pipeline)

    def _note_held(self) -> None:
        """Report the bytes held now. This may close connections, including this one."""
        if held := self.held_bytes():
            self._is_noted = True
            self._limits.memory.hold(self, self._disconnect.owner if self._disconnect is not None else NOBODY, held)
        elif self._is_noted:
            self._is_noted = False
            self._limits.memory.release(self)

    def _become(self, kind: IdleKind | None) -> None:
        """Report what this connection waits for from its client; None while the client waits."""
        if kind is not self._kind:
            self._limits.idle.move(self, self._kind, kind)
            self._kind = kind

    def _become_half_sent(self) -> None:
        """Note that a part of a body has come; behind another request nothing waits for it yet."""
        if self.pipeline:
            return
        if self.cycle.response_complete:
            self._become(IdleKind.ANSWERED)
        elif any(name == b"authorization" for name, _ in self.headers):
            self._become(IdleKind.HALF_BODY)
        else:
            self._become(IdleKind.HALF_BODY_OF_NOBODY)

    def _leave_limits(self) -> None:
        """Note that the connection has ended."""
        self._become(None)
        self._limits.memory.release(self)


def _letters(cycle: RequestResponseCycle) -> int:
    scope = cycle.scope
    target = len(scope["raw_path"]) + len(scope["query_string"])
    return TARGET_COPIES * target + sum(len(name) + len(value) for name, value in scope["headers"])


def _bytes_of(cycle: RequestResponseCycle) -> int:
    return len(cycle.body) + _letters(cycle)


def _head_cost_of(cycle: RequestResponseCycle) -> int:
    return _letters(cycle) + HEADER_BYTES * sum(1 for _ in cycle.scope["headers"])


def _cost_of(cycle: RequestResponseCycle) -> int:
    """Return about what a request that waits takes in memory."""
    return CYCLE_BYTES + len(cycle.body) + _head_cost_of(cycle)

"""The timer of a connection, for deadlines that change with every request.

It uses one timer handle of the event loop. A later deadline does not reschedule the handle, because rescheduling
costs time. The handle then fires early, and is scheduled again.
"""

import asyncio
import fcntl
import termios
from array import array
from collections.abc import Callable
from contextlib import suppress
from math import inf

MIN_PROGRESS_BYTES = 16 * 1024
"""The connection is aborted if its peer acknowledges less than this within the write timeout."""


class ConnectionTimer:
    """Calls `on_timeout` at a deadline. If unsent output is left, it checks the peer's progress instead.

    A peer that has acknowledged too little output is too slow or gone, and its connection is aborted.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        write_timeout: float,
        on_timeout: Callable[[], None],
    ) -> None:
        """Start without a deadline. `write_timeout` is in seconds."""
        self._loop = loop
        self._transport = transport
        self._write_timeout = write_timeout
        self._on_timeout = on_timeout
        self._deadline = inf
        self._handle: asyncio.TimerHandle | None = None
        self._fires_at = inf
        self._message_began = 0.0
        self._unacknowledged = 0

    def set_timeout(self, seconds: float) -> None:
        """Set the deadline to `seconds` from now."""
        self._unacknowledged = unacknowledged_bytes(self._transport)
        self._set(self._loop.time() + seconds)

    def begin_message(self) -> None:
        """Set the beginning of the current request to now, for `set_message_timeout`."""
        self._message_began = self._loop.time()

    def set_message_timeout(self, seconds: float) -> None:
        """Set the deadline to `seconds` from the beginning of the current request. Parts that arrive do not move it."""
        self._set(self._message_began + seconds)

    def clear(self) -> None:
        """Remove the deadline."""
        self._deadline = inf

    def close(self) -> None:
        """Remove the deadline, and release the handle and the callback."""
        self.clear()
        self._on_timeout = _nothing
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, deadline: float) -> None:
        self._deadline = deadline
        if self._handle is None or deadline < self._fires_at:
            self._schedule()

    def _schedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._fires_at = self._deadline
        self._handle = self._loop.call_later(max(0.0, self._deadline - self._loop.time()), self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._deadline == inf:
            return
        if self._loop.time() < self._deadline:
            self._schedule()
            return
        self._deadline = inf
        unacknowledged = unacknowledged_bytes(self._transport)
        if not unacknowledged and not self._transport.is_closing():
            self._on_timeout()
        elif self._unacknowledged - unacknowledged < MIN_PROGRESS_BYTES:
            self._transport.abort()
        else:
            self.set_timeout(self._write_timeout)


def _nothing() -> None:
    return None


def unacknowledged_bytes(transport: asyncio.WriteTransport) -> int:
    """Return the bytes in the write buffer and in the socket's send queue; 0 if the write buffer is empty.

    The kernel takes bytes from the write buffer in steps of about a megabyte, for which a slow peer needs a minute. The
    send queue shows the peer's progress in between. Where TIOCOUTQ fails, as outside Linux, it counts as empty.
    """
    unacknowledged = transport.get_write_buffer_size()
    if unacknowledged:
        send_queue = array("i", [0])
        with suppress(OSError):
            fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, send_queue)
        unacknowledged += send_queue[0]
    return unacknowledged

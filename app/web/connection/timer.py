"""The timer of a connection. It is rescheduled only for a deadline earlier than its next check."""

import asyncio
import fcntl
import termios
from array import array
from collections.abc import Callable
from contextlib import suppress
from math import inf

LEAST_PROGRESS_BYTES = 16 * 1024
"""A peer that reads less than this within the write time-out counts as one that does not read."""


class ConnectionTimer:
    """Calls `late` at a deadline, and ends a connection whose peer does not read what is written."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        write_seconds: float,
        late: Callable[[], None],
    ) -> None:
        """Start without a deadline."""
        self._loop = loop
        self._transport = transport
        self._write_seconds = write_seconds
        self._late = late
        self._deadline = inf
        self._handle: asyncio.TimerHandle | None = None
        self._looks_at = inf
        self._began = 0.0
        self._untaken = 0

    def expect(self, seconds: float) -> None:
        """Set the deadline to `seconds` from now."""
        self._untaken = untaken_bytes(self._transport)
        self._set(self._loop.time() + seconds)

    def begin(self) -> None:
        """Note that a message begins now; `expect_once` counts from here."""
        self._began = self._loop.time()

    def expect_once(self, seconds: float) -> None:
        """Set the deadline to `seconds` from the beginning of the message: parts of it do not move it."""
        self._set(self._began + seconds)

    def rest(self) -> None:
        """Have no deadline."""
        self._deadline = inf

    def end(self) -> None:
        """Stop for good."""
        self.rest()
        self._late = _nothing
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, deadline: float) -> None:
        self._deadline = deadline
        if self._handle is None or deadline < self._looks_at:
            self._arm()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._looks_at = self._deadline
        self._handle = self._loop.call_later(max(0.0, self._deadline - self._loop.time()), self._look)

    def _look(self) -> None:
        self._handle = None
        if self._deadline == inf:
            return
        if self._loop.time() < self._deadline:
            self._arm()
            return
        self._deadline = inf
        untaken = untaken_bytes(self._transport)
        if not untaken and not self._transport.is_closing():
            self._late()
        elif self._untaken - untaken < LEAST_PROGRESS_BYTES:
            self._transport.abort()
        else:
            self.expect(self._write_seconds)


def _nothing() -> None:
    return None


def untaken_bytes(transport: asyncio.WriteTransport) -> int:
    """Return what the peer has not taken of the bytes that wait here; 0 where none wait.

    The system takes bytes off this process in steps of a megabyte or so, which a slow peer needs a minute for: what it
    holds itself counts too. Systems that do not tell (TIOCOUTQ is for Linux) count as holding none.
    """
    waiting = transport.get_write_buffer_size()
    if waiting:
        held = array("i", [0])
        with suppress(OSError):
            fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, held)
        waiting += held[0]
    return waiting

"""Limits the time that this process spends on bytes which complete no small request.

Reads of unfinished heads and bodies, of bytes behind a refusal or an early answer, and of many pipelined requests come
before any scheduling of requests. A client that sends a byte at a time costs a read for each. All such reads together
get a share of the time, and each connection an equal part of it: a connection that has used up its part is not read
until it has waited for it. Bodies of requests with accepted tokens have a share of their own, so that thousands of
connections of strangers do not slow them.
"""

import time
from collections.abc import Callable
from typing import Protocol

from uvicorn.protocols.http.flow_control import FlowControl

SHARE = 0.25
"""Part of the time that such reads may take."""

BURST_SECONDS = 0.005
"""Longest wait that is not waited: most reads are fewer and cheaper."""

WINDOW_SECONDS = 0.05
"""Time in which the connections are counted that are read."""

READ_WORK, REQUEST_WORK, PART_WORK = 100, 60, 3
"""Work of a read, of a request beside its headers, and of a part of a body. A header is a unit: about a microsecond."""

BYTES_OF_A_UNIT = 2048
"""Bytes that the kernel and the parser copy in a unit of work."""

FREE_WORK = 300
FREE_BYTES = 64 * 1024
FREE_READS = 6
"""Work and length of a read, and reads of one request, that cost a connection nothing. Most requests need one or two.

Without them, a client that sends a head and its body in two packets would be held in an attack.
"""

UNIT_SECONDS = 1e-6


class Reader(Protocol):
    """A connection that is read.

    Attributes:
        paid_until: time until which its part of the share is used up.
        read_window: the number of the last window in which it was counted.

    """

    paid_until: float
    read_window: int


class ReadShares:
    """Divides the share between the connections of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds that never go back."""
        self._clock = clock
        self._window = self._readers = self._readers_before = 0
        self._window_ends = 0.0
        self.held = 0
        """Number of connections that wait."""

    def charge(self, reader: Reader, work: int) -> float:
        """Count the work of one read. Return the seconds for which the connection is not to be read; 0.0 for none."""
        now = self._clock()
        if now >= self._window_ends:
            self._readers_before = self._readers if now < self._window_ends + WINDOW_SECONDS else 0
            self._readers, self._window, self._window_ends = 0, self._window + 1, now + WINDOW_SECONDS
        if reader.read_window != self._window:
            reader.read_window = self._window
            self._readers += 1
        readers = max(self._readers, self._readers_before) + self.held
        reader.paid_until = max(now, reader.paid_until) + work * UNIT_SECONDS * readers / SHARE
        wait = reader.paid_until - now
        return wait if wait > BURST_SECONDS else 0.0


class ReadFlow(FlowControl):
    """Flow control of a connection that is also held by its share of reads, whoever else pauses or resumes it."""

    is_held = False

    def hold(self) -> None:
        """Stop reading until `release`."""
        self.is_held = True
        if not self.read_paused:
            self._transport.pause_reading()

    def release(self) -> None:
        """Read again, unless reading is paused for another reason."""
        self.is_held = False
        if not self.read_paused:
            self._transport.resume_reading()

    def pause_reading(self) -> None:
        """Stop reading until `resume_reading`."""
        if self.is_held:
            self.read_paused = True
        else:
            super().pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless the connection is held."""
        if self.is_held:
            self.read_paused = False
        else:
            super().resume_reading()

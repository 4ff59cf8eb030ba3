"""Limits the fraction of the process's time that is spent on costly reads from connections.

Reads come before any scheduling of requests, so scheduling cannot limit them. A client that sends a byte at a time
causes one read per byte. The protocol (`protocol.py`) decides which reads are costly: those after the first FREE_READS
of a request, long ones, those with many requests, headers or body parts, and those of bytes that are dropped after a
refusal. All costly reads together may take SHARE of the time, and each connection with such reads an equal part of it.
A connection that has used up its part is held: it is not read until its `spent_until`. Bodies of requests with accepted
tokens have another ReadShares, so that thousands of connections without an accepted token do not slow them.
"""

import time
from collections.abc import Callable
from typing import Protocol

from uvicorn.protocols.http.flow_control import FlowControl

SHARE = 0.25
"""Fraction of the time of this process that costly reads may take."""

BURST_SECONDS = 0.005
"""A shorter wait is skipped, because a connection with few costly reads then needs no timer."""

WINDOW_SECONDS = 0.05
"""Length of the windows in which ReadShares counts the connections with costly reads."""

READ_WORK, REQUEST_WORK, PART_WORK = 100, 60, 3
"""Work units of a read, of a request without its headers, and of a body chunk from the parser. A header is one unit."""

BYTES_PER_UNIT = 2048
"""Bytes that the kernel and the parser copy in the time of one work unit."""

FREE_WORK = 300
FREE_BYTES = 64 * 1024
FREE_READS = 6
"""A read is free if it is within all three limits: work units, bytes, and reads since its request began.

Most requests need one or two reads. Without free reads, a client that sends a head and its body in two packets would
be held during an attack.
"""

UNIT_SECONDS = 1e-6
"""Time of one work unit."""


class Reader(Protocol):
    """A connection that is read.

    Attributes:
        spent_until: time until which its part of the share is used up, on the clock of ReadShares.
        read_window: number of the last window in which it was counted.

    """

    spent_until: float
    read_window: int


class ReadShares:
    """Divides the time for costly reads equally between the connections of one process that have such reads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._window = self._readers = self._readers_before = 0
        """Number of the current window, and of the connections with costly reads in it and in the window before."""
        self._window_ends = 0.0
        self.held_count = 0
        """Number of connections that are held. The connections maintain it."""

    def charge(self, reader: Reader, work: int) -> float:
        """Charge `reader` for one costly read of `work` units.

        Return the seconds for which the connection must be held; 0.0 if it may be read on.
        """
        now = self._clock()
        if now >= self._window_ends:
            self._readers_before = self._readers if now < self._window_ends + WINDOW_SECONDS else 0
            self._readers, self._window, self._window_ends = 0, self._window + 1, now + WINDOW_SECONDS
        if reader.read_window != self._window:
            reader.read_window = self._window
            self._readers += 1
        readers = max(self._readers, self._readers_before) + self.held_count
        reader.spent_until = max(now, reader.spent_until) + work * UNIT_SECONDS * readers / SHARE
        wait = reader.spent_until - now
        return wait if wait > BURST_SECONDS else 0.0


class ReadFlow(FlowControl):
    """uvicorn's flow control, with holds beside uvicorn's pauses. It reads while there is neither hold nor pause."""

    is_held = False

    def hold(self) -> None:
        """Stop reading at least until `release`."""
        self.is_held = True
        if not self.read_paused:
            self._transport.pause_reading()

    def release(self) -> None:
        """End the hold, and resume reading unless it is paused as well."""
        self.is_held = False
        if not self.read_paused:
            self._transport.resume_reading()

    def pause_reading(self) -> None:
        """Stop reading at least until `resume_reading`."""
        if self.is_held:
            self.read_paused = True
        else:
            super().pause_reading()

    def resume_reading(self) -> None:
        """End the pause, and resume reading unless the connection is held as well."""
        if self.is_held:
            self.read_paused = False
        else:
            super().resume_reading()

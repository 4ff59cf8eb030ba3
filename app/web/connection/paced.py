"""A connection whose reading is paused while its share of the time for reads is used up."""

import asyncio

from app.web.connection.account import AccountedConnection
from app.web.connection.read_shares import (
    BYTES_PER_UNIT,
    READ_WORK,
    ReadFlow,
    ReadShares,
)


class PacedConnection(AccountedConnection):
    """A connection that ReadShares charges for its reads, and that is not read while its share is used up.

    `_charge` is called for each costly read. ReadShares sets `spent_until` and `read_window`; see `Reader`.
    """

    flow: ReadFlow
    spent_until = 0.0
    read_window = -1
    _reading_ended = False
    """Whether further input is dropped."""
    _reads = 0
    """Number of reads since the newest request began."""
    _work = 0
    """Work units of the requests and body parts in this read."""
    _hold_timer: asyncio.TimerHandle | None = None
    """Resumes reading at the end of a hold."""
    _shares: ReadShares
    """The ReadShares that has paused this connection, or was the last to do so."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Replace uvicorn's flow control by one that can be held."""
        super().connection_made(transport)
        self.flow = ReadFlow(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel a hold."""
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._shares.held_count -= 1
            self._hold_timer = None
        super().connection_lost(exc)

    def _charge(self, read_bytes: int) -> None:
        """Charge this connection for a read, and hold it if its share is used up."""
        if self.transport.is_closing():
            return
        work = READ_WORK + self._work + read_bytes // BYTES_PER_UNIT
        is_reading_body = self._in_body and bool(self.scope)
        is_accepted = is_reading_body and self._limits.is_accepted(self.scope)  # type: ignore[arg-type]
        shares = self._limits.accepted_reads if is_accepted else self._limits.reads
        seconds = shares.charge(self, work)
        if seconds and self._hold_timer is None:
            self._shares = shares
            shares.held_count += 1
            self.flow.hold()
            self._hold_timer = self.loop.call_later(seconds, self._release)

    def _release(self) -> None:
        self._hold_timer = None
        self._shares.held_count -= 1
        if not self.transport.is_closing():
            self.flow.release()

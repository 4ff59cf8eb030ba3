"""Connections that are read no faster than their share of reads allows."""

import asyncio

from app.web.connection.account import AccountedConnection
from app.web.connection.read_shares import (
    BYTES_OF_A_UNIT,
    READ_WORK,
    ReadFlow,
    ReadShares,
)


class PacedConnection(AccountedConnection):
    """Counts the work of each read, and holds the connection while its share is used up."""

    flow: ReadFlow
    paid_until = 0.0
    read_window = -1
    _reading_ended = False
    """Whether further input is dropped."""
    _reads = 0
    """Reads since the newest request began."""
    _work = 0
    """Work of the requests and parts of bodies in this read."""
    _hold: asyncio.TimerHandle | None = None
    """Ends a wait for the share of reads."""
    _shares: ReadShares
    """The shares in which this connection waits, or has waited last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Use a flow control that can be held."""
        super().connection_made(transport)
        self.flow = ReadFlow(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        if self._hold is not None:
            self._hold.cancel()
            self._shares.held -= 1
            self._hold = None
        super().connection_lost(exc)

    def _charge(self, read_bytes: int) -> None:
        """Count the work of a read that is not free."""
        if self.transport.is_closing():
            return
        work = READ_WORK + self._work + read_bytes // BYTES_OF_A_UNIT
        is_unanswered = self._in_body and bool(self.scope)
        is_accepted = is_unanswered and self._limits.is_accepted(self.scope)  # type: ignore[arg-type]
        shares = self._limits.accepted_reads if is_accepted else self._limits.reads
        seconds = shares.charge(self, work)
        if seconds and self._hold is None:
            self._shares = shares
            shares.held += 1
            self.flow.hold()
            self._hold = self.loop.call_later(seconds, self._release)

    def _release(self) -> None:
        self._hold = None
        self._shares.held -= 1
        if not self.transport.is_closing():
            self.flow.release()

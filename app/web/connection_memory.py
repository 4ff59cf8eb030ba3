"""Bytes that connections hold and no request counts: what came and is not read, and what is written and not taken.

The bytes are bounded in all. Where that is too much, the caller whose connections hold most loses the one of them that
has held some for longest: a caller that holds less than the others loses none, however many the others are.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from app.web.bursts import BurstLog

MOST_CONNECTION_BYTES = 32 * 1024 * 1024
"""Of all connections of a process."""


class Holder(Protocol):
    """A connection."""

    def held_bytes(self) -> int:
        """Return what it holds now."""

    def make_room(self) -> None:
        """End it."""


@dataclass(slots=True)
class _Share:
    total: int = 0
    connections: dict[Holder, int] = field(default_factory=dict)


class ConnectionMemory:
    """Counts what the connections of each caller hold; those whose token is not accepted, or who have none, are one."""

    def __init__(
        self, is_accepted: Callable[[str], bool] = lambda _owner: False, ended: Callable[[], None] = lambda: None
    ) -> None:
        """`is_accepted` tells whether the backend has accepted the token of an owner lately.

        `ended` is called for each connection that is ended.
        """
        self._is_accepted = is_accepted
        self._ended = ended
        self._bursts = BurstLog(logging.getLogger(__name__))
        self._shares: dict[str, _Share] = {}
        self._owners: dict[Holder, str] = {}
        self.total = 0

    def hold(self, connection: Holder, owner: str, amount: int) -> None:
        """Note how much a connection holds now, for `owner` or nobody (""); where that is too much in all, end some."""
        name = owner if owner and self._is_accepted(owner) else ""
        if self._owners.get(connection, name) != name:
            self.release(connection)
        self._owners[connection] = name
        share = self._shares.setdefault(name, _Share())
        self._set(share, connection, amount)
        while self.total > MOST_CONNECTION_BYTES:
            self._make_room()

    def release(self, connection: Holder) -> None:
        """Note that a connection holds nothing any more."""
        name = self._owners.pop(connection, None)
        if name is None:
            return
        share = self._shares[name]
        self._set(share, connection, 0)
        del share.connections[connection]
        if not share.connections:
            del self._shares[name]

    def _set(self, share: _Share, connection: Holder, amount: int) -> None:
        more = amount - share.connections.get(connection, 0)
        share.connections[connection] = amount
        share.total += more
        self.total += more

    def _make_room(self) -> None:
        """End the oldest connection of the largest share; one that holds less by now than it did counts as new."""
        share = max(self._shares.values(), key=lambda one: one.total)
        connection, noted = next(iter(share.connections.items()))
        held = connection.held_bytes()
        owner = self._owners[connection]
        self.release(connection)
        if held >= noted:
            self._ended()
            self._bursts.warn(
                "memory",
                "Ended a connection: clients leave more than %d MB of requests unfinished and of answers unread, and "
                "its caller holds most of that. Other callers are served",
                MOST_CONNECTION_BYTES // 1024**2,
            )
            connection.make_room()
        elif held:
            self._owners[connection] = owner
            self._set(self._shares.setdefault(owner, _Share()), connection, held)

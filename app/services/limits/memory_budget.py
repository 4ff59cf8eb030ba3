"""One memory budget for requests and connections, so that their limits do not add up.

A request takes its memory from the budget, or is refused. A connection's memory is its unprocessed input and its unsent
output. Connections may use the memory that requests leave, and at least an eighth of the budget. If they use more,
connections are closed one after the other: the oldest connection of the owner whose connections hold the most.

All tokens that the backend has not accepted, and connections without a token, share at most half of the budget.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from app.services.limits.caller_quota import CallerQuota, QuotaLimits

SHARE_OF_ONE_CALLER = 9
"""The requests of one token may hold at most 1/SHARE_OF_ONE_CALLER of the budget.

By default, that is enough for 100 waiting calls.
"""

SHARE_OF_CONNECTIONS = 8
"""1/SHARE_OF_CONNECTIONS of the budget is reserved for connections."""

NOBODY = ""
"""The owner of all connections without a token that the backend has accepted lately."""


class Holder(Protocol):
    """A connection that holds memory."""

    def held_bytes(self) -> int:
        """Return the bytes that the connection holds now."""

    def make_room(self) -> None:
        """Close the connection."""


@dataclass(slots=True)
class _OwnerConnections:
    """The connections of one owner, oldest first, with their bytes."""

    total: int = 0
    connections: dict[Holder, int] = field(default_factory=dict)


class MemoryBudget(CallerQuota):
    """Limits the bytes of requests, and closes connections that exceed the rest of the budget.

    Attributes:
        in_use: bytes that requests hold.
        held: bytes that connections hold.

    """

    def __init__(
        self,
        limit: int,
        is_accepted: Callable[[str], bool] = lambda _owner: False,
        on_refusal: Callable[[], None] = lambda: None,
        on_connection_closed: Callable[[], None] = lambda: None,
    ) -> None:
        """Limit requests and connections together to `limit` bytes.

        `is_accepted` returns whether the backend has accepted an owner's token lately. `on_refusal` is called for each
        refused request, and `on_connection_closed` for each closed connection.
        """
        for_requests = limit - limit // SHARE_OF_CONNECTIONS
        limits = QuotaLimits(for_requests, limit // SHARE_OF_ONE_CALLER, for_requests // 2)
        super().__init__(limits, is_accepted, on_refusal)
        self._limit = limit
        self._on_connection_closed = on_connection_closed
        self._by_owner: dict[str, _OwnerConnections] = {}
        self._owners: dict[Holder, str] = {}
        self.held = 0

    def take(self, owner: str, amount: int = 1, already_taken: int = 0) -> bool:
        """Take `amount` bytes for a request, and return whether the limits allow it. Close connections if necessary.

        `already_taken` is the number of bytes that the same request holds.
        """
        is_taken = super().take(owner, amount, already_taken)
        if is_taken and self.held:
            self._make_room()
        return is_taken

    def hold(self, connection: Holder, owner: str, amount: int) -> None:
        """Record the bytes that a connection holds now. `owner` is NOBODY for a connection without a token.

        If all connections together hold too much, some are closed, maybe also this one.
        """
        name = owner if owner and self._is_accepted(owner) else NOBODY
        if self._owners.get(connection, name) != name:
            self.release(connection)
        self._owners[connection] = name
        self._set(self._by_owner.setdefault(name, _OwnerConnections()), connection, amount)
        self._make_room()

    def release(self, connection: Holder) -> None:
        """Record that a connection holds nothing any more."""
        name = self._owners.pop(connection, None)
        if name is None:
            return
        group = self._by_owner[name]
        self._set(group, connection, 0)
        del group.connections[connection]
        if not group.connections:
            del self._by_owner[name]

    def _set(self, group: _OwnerConnections, connection: Holder, amount: int) -> None:
        change = amount - group.connections.get(connection, 0)
        group.connections[connection] = amount
        group.total += change
        self.held += change

    def _make_room(self) -> None:
        while (nobody := self._by_owner.get(NOBODY)) and nobody.total + self._unaccepted_in_use > self._limit // 2:
            self._close_one_of(nobody)
        while self._by_owner and self.held + self.in_use > self._limit:
            self._close_one_of(max(self._by_owner.values(), key=lambda group: group.total))

    def _close_one_of(self, group: _OwnerConnections) -> None:
        """Close the owner's oldest connection. If it holds less than recorded, count it as the newest instead."""
        connection, recorded = next(iter(group.connections.items()))
        held = connection.held_bytes()
        owner = self._owners[connection]
        self.release(connection)
        if held >= recorded:
            self._on_connection_closed()
            connection.make_room()
        elif held:
            self._owners[connection] = owner
            self._set(self._by_owner.setdefault(owner, _OwnerConnections()), connection, held)

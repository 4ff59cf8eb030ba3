"""One memory budget for requests and connections, so that their limits do not add up.

Requests under way are lent theirs, or refused. Connections hold what came and is not read yet, and what is written and
not taken: they have what requests leave, and an eighth of all where these leave nothing. Beyond that, the caller
whose connections hold most loses the one of them that has held some for longest.

Half of the budget is the most for all tokens together that the backend has not accepted, and for those who have none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from app.services.limits.caller_quota import CallerQuota, QuotaLimits

SHARE_OF_ONE_CALLER = 16
"""The requests of one token may hold this part of the budget."""

SHARE_OF_CONNECTIONS = 8
"""This part of the budget is never lent to requests."""

NOBODY = ""
"""The owner of all connections whose token the backend has not accepted lately."""


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


class MemoryBudget(CallerQuota):
    """Gives bytes to requests, and closes connections that would exceed the rest of the budget."""

    def __init__(
        self,
        most: int,
        is_accepted: Callable[[str], bool] = lambda _owner: False,
        refused: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Have `most` bytes held; `is_accepted` tells whether the backend has accepted the token of an owner lately.

        `refused` is called for each request that is lent nothing, and `ended` for each connection that is ended.
        """
        lent = most - most // SHARE_OF_CONNECTIONS
        super().__init__(QuotaLimits(lent, most // SHARE_OF_ONE_CALLER, lent // 2), is_accepted, refused)
        self._most = most
        self._ended = ended
        self._shares: dict[str, _Share] = {}
        self._owners: dict[Holder, str] = {}
        self.held = 0

    def take(self, owner: str, amount: int = 1) -> bool:
        """Lend `amount` to a request, for which connections make room, and return whether there was as much left."""
        is_lent = super().take(owner, amount)
        if is_lent and self.held:
            self._make_room()
        return is_lent

    def hold(self, connection: Holder, owner: str, amount: int) -> None:
        """Note how much a connection holds now, for `owner` or nobody (""); where that is too much in all, end some."""
        name = owner if owner and self._is_accepted(owner) else NOBODY
        if self._owners.get(connection, name) != name:
            self.release(connection)
        self._owners[connection] = name
        self._set(self._shares.setdefault(name, _Share()), connection, amount)
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
        self.held += more

    def _make_room(self) -> None:
        while (nobody := self._shares.get(NOBODY)) and nobody.total + self._unaccepted_in_use > self._most // 2:
            self._end_one_of(nobody)
        while self._shares and self.held + self.in_use > self._most:
            self._end_one_of(max(self._shares.values(), key=lambda share: share.total))

    def _end_one_of(self, share: _Share) -> None:
        """End the oldest connection of a share; one that holds less by now than it did counts as new."""
        connection, noted = next(iter(share.connections.items()))
        held = connection.held_bytes()
        owner = self._owners[connection]
        self.release(connection)
        if held >= noted:
            self._ended()
            connection.make_room()
        elif held:
            self._owners[connection] = owner
            self._set(self._shares.setdefault(owner, _Share()), connection, held)

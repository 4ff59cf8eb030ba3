"""Quotas of a resource: per caller, in total, and for all callers whose token the backend has not accepted.

Any string is a token, so all callers with tokens that the backend has not accepted share a part of the quota. They
cannot take the rest from accepted callers. The last quarter of the quota is reserved for callers that hold little, so
that large users leave room for new ones. Of this quarter, the last half is reserved for accepted callers,
so that any number of made-up tokens leaves room for customers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.domain.errors import RateLimited

RETRY_AFTER_SECONDS = 5.0

SMALL_SHARE = 32
"""The last quarter is for callers that hold at most 1/SMALL_SHARE of their own limit, or a single unit.

By default, that is three requests at once of the memory budget, and 75 task ids in flight.
"""

SHARE_OF_FREE = 6
"""The only request of an accepted caller may also hold 1/SHARE_OF_FREE of what is free without it."""


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """The limits of a quota.

    Attributes:
        total: limit of all callers together.
        per_caller: limit of each caller.
        unaccepted: limit of all callers together whose token the backend has not accepted lately.

    """

    total: int
    per_caller: int
    unaccepted: int


class CallerQuota:
    """Counts the amounts that callers hold in this process. The unit depends on the resource: calls, ids or bytes.

    A caller that holds nothing takes no memory.

    Attributes:
        in_use: amount that all callers hold together.

    """

    def __init__(
        self,
        limits: QuotaLimits,
        is_accepted: Callable[[str], bool],
        on_refusal: Callable[[], None] = lambda: None,
        on_change: Callable[[int], None] = lambda _in_use: None,
    ) -> None:
        """Enforce `limits`. `is_accepted` returns whether the backend has accepted a caller's token lately.

        `on_refusal` is called for each refusal. `on_change` is called with the amount in use when `place` takes or
        releases a unit.
        """
        self._on_change = on_change
        self._limits = limits
        self._unreserved = limits.total - limits.total // 4
        self._max_in_use_for_unaccepted = limits.total - limits.total // 8
        """Amount of all callers together up to which an unaccepted caller may take."""
        self._unreserved_for_unaccepted = limits.unaccepted - limits.unaccepted // 4
        self._is_accepted = is_accepted
        self._on_refusal = on_refusal
        self._held: dict[str, int] = {}
        self._unaccepted: dict[str, int] = {}  # the part of `_held` that was taken before the token was accepted
        self._unaccepted_in_use = 0
        self.in_use = 0

    def take(self, owner: str, amount: int = 1, already_taken: int = 0) -> bool:
        """Take `amount` for `owner`, and return whether the quota allowed it.

        `already_taken` is the amount that was taken for the same request before.
        """
        is_accepted = self._is_accepted(owner)
        if is_accepted and owner in self._unaccepted:
            self._unaccepted_in_use -= self._unaccepted.pop(owner)
        held_after = self.held_by(owner) + amount
        fits_without_reserve = self.in_use + amount <= self._unreserved and (
            is_accepted or self._unaccepted_in_use + amount <= self._unreserved_for_unaccepted
        )
        if held_after > self._limits.per_caller or not (
            fits_without_reserve or self._may_use_reserve(held_after, amount, already_taken, is_accepted=is_accepted)
        ):
            self._on_refusal()
            return False
        if not amount:
            return True
        self._held[owner] = held_after
        self.in_use += amount
        if not is_accepted:
            self._unaccepted[owner] = self._unaccepted.get(owner, 0) + amount
            self._unaccepted_in_use += amount
        return True

    def held_by(self, owner: str) -> int:
        """Return the amount that `owner` holds."""
        return self._held.get(owner, 0)

    def _may_use_reserve(self, held_after: int, amount: int, already_taken: int, *, is_accepted: bool) -> bool:
        """Return whether a caller may take `amount` from the reserve; `held_after` is the caller's total then."""
        limits = self._limits
        if not amount:
            return True
        if is_accepted:
            free = limits.total - self.in_use
            is_only_request = held_after == already_taken + amount <= (free + already_taken) // SHARE_OF_FREE
        else:
            free = min(self._max_in_use_for_unaccepted - self.in_use, limits.unaccepted - self._unaccepted_in_use)
            is_only_request = False
        return amount <= free and (is_only_request or held_after <= max(limits.per_caller // SMALL_SHARE, 1))

    def give_back(self, owner: str, amount: int = 1) -> None:
        """Release `amount` that was taken for `owner`."""
        if not amount:
            return
        remaining = self._held[owner] - amount
        self.in_use -= amount
        if remaining:
            self._held[owner] = remaining
        else:
            del self._held[owner]
        if (unaccepted := self._unaccepted.get(owner)) is not None:
            released = min(amount, unaccepted)
            self._unaccepted_in_use -= released
            if unaccepted > released:
                self._unaccepted[owner] = unaccepted - released
            else:
                del self._unaccepted[owner]

    @contextmanager
    def place(self, owner: str, refusal: str) -> Iterator[None]:
        """Hold one unit inside `with`. Raises RateLimited with the sentence `refusal` if none is free."""
        if not self.take(owner):
            raise RateLimited(refusal, retry_after_seconds=RETRY_AFTER_SECONDS)
        self._on_change(self.in_use)
        try:
            yield
        finally:
            self.give_back(owner)
            self._on_change(self.in_use)

"""Quotas of a resource: per caller, for all callers, and for all callers whose token is not accepted.

Any string is a token, so callers whose token the backend has not accepted share a part: they cannot take the rest from
those who are known. The last quarter is for callers that hold next to nothing: those who hold as much as they may
cannot take the rest from one that comes. Half of that is for those among them whose token is accepted: however many
tokens are made up, together they leave it to a customer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.domain.errors import RateLimited

RETRY_AFTER_SECONDS = 5.0

SMALL_SHARE = 64
"""The last quarter is for callers that hold at most this part of their own limit, or ask for the first time."""


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """The limits of a quota: for all callers, for one, and for all together whose token is not accepted."""

    total: int
    per_caller: int
    unaccepted: int


class CallerQuota:
    """Counts what callers hold in this process. The unit is the user's choice: places, ids or bytes.

    A caller that holds nothing takes no memory.
    """

    def __init__(
        self,
        limits: QuotaLimits,
        is_accepted: Callable[[str], bool],
        refused: Callable[[], None] = lambda: None,
        changed: Callable[[int], None] = lambda _in_use: None,
    ) -> None:
        """Lend as `limits` says; `is_accepted` tells whether the backend has accepted a caller's token lately.

        `refused` is called for each refusal, and `changed` with what is lent whenever a place is taken or given back.
        """
        self._changed = changed
        self._limits = limits
        self._plenty = limits.total - limits.total // 4
        self._most_for_unaccepted = limits.total - limits.total // 8
        self._plenty_for_unaccepted = limits.unaccepted - limits.unaccepted // 4
        self._is_accepted = is_accepted
        self._refused = refused
        self._held: dict[str, int] = {}
        self._unaccepted: dict[str, int] = {}  # a part of the above
        self._unaccepted_in_use = 0
        self.in_use = 0

    def take(self, owner: str, amount: int = 1) -> bool:
        """Take `amount` for `owner`, and return whether the quota allowed it."""
        is_accepted = self._is_accepted(owner)
        if is_accepted and owner in self._unaccepted:
            self._unaccepted_in_use -= self._unaccepted.pop(owner)
        held = self._held.get(owner, 0) + amount
        is_plenty = self.in_use + amount <= self._plenty and (
            is_accepted or self._unaccepted_in_use + amount <= self._plenty_for_unaccepted
        )
        if held > self._limits.per_caller or not (
            is_plenty or self._may_have_the_rest(held, amount, is_accepted=is_accepted)
        ):
            self._refused()
            return False
        if not amount:
            return True
        self._held[owner] = held
        self.in_use += amount
        if not is_accepted:
            self._unaccepted[owner] = self._unaccepted.get(owner, 0) + amount
            self._unaccepted_in_use += amount
        return True

    def _may_have_the_rest(self, held: int, amount: int, *, is_accepted: bool) -> bool:
        """Return whether a caller may hold `held` in all, of which `amount` is new, though little is left."""
        limits = self._limits
        return amount == 0 or (
            (held == amount or held <= limits.per_caller // SMALL_SHARE)
            and self.in_use + amount <= (limits.total if is_accepted else self._most_for_unaccepted)
            and (is_accepted or self._unaccepted_in_use + amount <= limits.unaccepted)
        )

    def give_back(self, owner: str, amount: int = 1) -> None:
        """Return `amount`, taken for `owner`, to the quota."""
        if not amount:
            return
        left = self._held[owner] - amount
        self.in_use -= amount
        if left:
            self._held[owner] = left
        else:
            del self._held[owner]
        if (unaccepted := self._unaccepted.get(owner)) is not None:
            less = min(amount, unaccepted)
            self._unaccepted_in_use -= less
            if unaccepted > less:
                self._unaccepted[owner] = unaccepted - less
            else:
                del self._unaccepted[owner]

    @contextmanager
    def place(self, owner: str, refusal: str) -> Iterator[None]:
        """Hold one place while entered. Raises RateLimited with the sentence `refusal` if none is free."""
        if not self.take(owner):
            raise RateLimited(refusal, retry_after_seconds=RETRY_AFTER_SECONDS)
        self._changed(self.in_use)
        try:
            yield
        finally:
            self.give_back(owner)
            self._changed(self.in_use)

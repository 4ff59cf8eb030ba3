"""How much of one resource callers hold at once: bounded for each of them, and for all together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.domain.errors import RateLimited

RETRY_AFTER_SECONDS = 5.0


class CallerQuota:
    """Counts what callers hold in this process. The unit is the user's choice: places, ids or bytes.

    A caller that holds nothing takes no memory.
    """

    def __init__(
        self,
        total: int,
        per_caller: int,
        refused: Callable[[], None] = lambda: None,
        changed: Callable[[int], None] = lambda _in_use: None,
    ) -> None:
        """Lend at most `per_caller` to one caller and `total` to all.

        `refused` is called for each refusal, and `changed` with what is lent whenever a place is taken or given back.
        """
        self._changed = changed
        self._total = total
        self._per_caller = per_caller
        self._refused = refused
        self._held: dict[str, int] = {}
        self.in_use = 0

    def take(self, owner: str, amount: int = 1) -> bool:
        """Lend `amount` to `owner`, and return whether there was as much left."""
        held = self._held.get(owner, 0) + amount
        if held > self._per_caller or self.in_use + amount > self._total:
            self._refused()
            return False
        self._held[owner] = held
        self.in_use += amount
        return True

    def add(self, owner: str, amount: int) -> None:
        """Lend `amount` more to `owner`, whatever is left: for what exists already and cannot be refused."""
        self._held[owner] = self._held.get(owner, 0) + amount
        self.in_use += amount

    def give_back(self, owner: str, amount: int = 1) -> None:
        """Take back `amount`, which was lent to `owner`."""
        left = self._held[owner] - amount
        self.in_use -= amount
        if left:
            self._held[owner] = left
        else:
            del self._held[owner]

    @contextmanager
    def place(self, owner: str, refusal: str) -> Iterator[None]:
        """Lend one place while entered. Raises RateLimited with the sentence `refusal` where none is left."""
        if not self.take(owner):
            raise RateLimited(refusal, retry_after_seconds=RETRY_AFTER_SECONDS)
        self._changed(self.in_use)
        try:
            yield
        finally:
            self.give_back(owner)
            self._changed(self.in_use)

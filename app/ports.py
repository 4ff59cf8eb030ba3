"""What the services need from outside, and what failure means at each seam."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.domain.generation import Command
from app.domain.principal import Principal
from app.domain.purchase import NewPurchase, Purchase, PurchaseState
from app.domain.rendered import RenderedTask
from app.domain.task import Answer, Task


@dataclass(frozen=True, slots=True)
class Reading:
    """What one question to the backend gave: an answer for every id asked, and how many calls it took."""

    answers: Mapping[str, Answer]
    calls: int


class LumaGateway(Protocol):
    """The backend that makes videos."""

    async def find_tasks(
        self, principal: Principal, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> Reading:
        """Read the tasks named; free of charge. A fault belongs to the ids it touched and is among the answers.

        `on_send` is called before each call to the backend, once it no longer waits for a place.
        """
        ...

    async def submit(self, principal: Principal, command: Command) -> str:
        """Start a generation and return its task id; costs money, so it is never sent twice.

        Raises LumaError where it was not started, or where nobody can tell.
        """
        ...

    async def callback_url_of(self, principal: Principal, task_id: str, command: Command) -> str | None:
        """Return what the backend was told to call for the task, if it knows it and echoes nothing but `command`.

        Raises LumaError.
        """
        ...


class Renderer(Protocol):
    """What turns a task into the bytes that answers are joined from."""

    def __call__(self, task: Task) -> RenderedTask:
        """Return `task` rendered, with nothing in it that depends on when it is asked for. Pure, and never fails."""
        ...


class StoreUnavailable(Exception):
    """The store cannot answer now; what it holds may still be there later."""


class StoreRefuses(StoreUnavailable):
    """The store answers, but does not do what it is asked: a replica, full, loading, or without the right to."""


class StoreBusy(StoreUnavailable):
    """More is asked of the store than this process may ask at once; the store itself may be well."""


class DatabaseUnavailable(Exception):
    """The database cannot answer now, or did not answer in time: an operation may or may not have happened."""


class DatabaseTooNew(Exception):
    """A newer release of this program has migrated the database; `str()` says what to do."""


class Purchases(Protocol):
    """The submissions of all callers to one backend, each recorded before it is sent.

    Every method raises DatabaseUnavailable, and may be repeated.
    """

    async def claim(self, new: NewPurchase) -> Purchase | None:
        """Record `new` as sent and return None; return the purchase that holds its key where there is one."""
        ...

    async def take_over(self, earlier: Purchase, new: NewPurchase) -> bool:
        """Record `new` as sent under the key that `earlier` holds, and return whether it still held it."""
        ...

    async def settle(self, attempt: str, state: PurchaseState, task_id: str | None = None) -> bool:
        """Move a purchase to `state`, and return whether that was allowed. `refused` gives the key back."""
        ...

    async def record(self, new: NewPurchase, state: PurchaseState, task_id: str | None) -> None:
        """Record the outcome of a purchase that is not recorded for certain; a refused one holds no key."""
        ...

    async def forget(self, attempt: str) -> None:
        """Delete a purchase that was sent for a token which the backend does not know."""
        ...

    async def of_callback(self, callback_id: str) -> Purchase | None:
        """Return the purchase whose callback this is."""
        ...

    async def note_call(self, attempt: str) -> bool:
        """Note that the backend has called back, and return whether this was the first time."""
        ...

    async def add_claim(self, callback_id: str, task_id: str) -> None:
        """Remember which task a callback named, for a bounded number of tasks."""
        ...

    async def claims(self, callback_id: str) -> list[str]:
        """Return the tasks that callbacks named, the first one first."""
        ...

    async def newest(
        self,
        owners: Sequence[str],
        most: int,
        *,
        states: Collection[PurchaseState] = tuple(PurchaseState),
        since: float | None = None,
        before: tuple[float, str] | None = None,
    ) -> list[Purchase]:
        """Return at most `most` purchases of `owners`, the newest first.

        `since` is in unix seconds; `before` is `created_at` and `attempt` of the last one that is known already.
        """
        ...

    async def task_ids(self, owners: Sequence[str], prefix: str, most: int) -> list[str]:
        """Return at most `most` ids of the owners' tasks that begin with `prefix`, the newest first."""
        ...

    async def delete_old(self, *, refused_seconds: float, seconds: float) -> int:
        """Delete purchases older than `seconds`, refused ones and claims older than `refused_seconds`; count them."""
        ...


class Store(Protocol):
    """Bytes by key with a time to live. Absence means never put, expired or evicted; nobody may tell which.

    Every method raises StoreUnavailable where the store cannot answer in time.
    """

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value per key, in order, in one round trip. The keys share one tenant."""
        ...

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        """Keep each value for its time, in one round trip. The keys share one tenant."""
        ...

    async def remove_many(self, keys: Sequence[str]) -> None:
        """Forget the keys; those that are not there are no matter. The keys share one tenant."""
        ...

    async def ping(self) -> None:
        """Return if the store answers."""
        ...


class Coordination(Protocol):
    """What replicas agree on: who holds something, who waits for what, and what just happened.

    Every method raises StoreUnavailable where the agreement cannot be had in time. Times to live are in seconds.
    """

    async def get(self, key: str) -> bytes | None:
        """Return what is there, or None."""
        ...

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        """Put `value` where there is none and return None; else leave and return what is there."""
        ...

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        """Put `value` in the place of `expected`, and return whether that was still there."""
        ...

    async def remove(self, key: str, expected: bytes) -> None:
        """Remove the key if it still holds `expected`."""
        ...

    async def any_key(self, pattern: str) -> bool:
        """Return whether a key matches the glob `pattern`: looks through all keys, which may take seconds."""
        ...

    async def add_members(self, key: str, members: Sequence[str], ttl_seconds: float) -> None:
        """Add members to a set, each for its own time; adding again renews it."""
        ...

    async def members(self, key: str, most: int) -> list[str]:
        """Return at most `most` members that are still in their time, the one that stays longest first."""
        ...

    async def publish(self, message: bytes) -> None:
        """Tell every process that listens, this one too. Nothing is kept for those who do not listen now."""
        ...

    def subscribe(self, listener: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `listener` with every message from now on, and return what ends that. It must not raise or wait."""
        ...


class Sealing(Protocol):
    """What hands out texts that only this service can read and make."""

    def close(self, purpose: str, content: dict[str, Any], audience: str = "") -> str:
        """Return `content` sealed, in characters that any URL takes."""
        ...

    def open(self, purpose: str, text: str, audiences: Sequence[str] = ()) -> dict[str, Any] | None:
        """Return what was sealed for this purpose, or None.

        `audiences` has the name of the one audience under each secret key, in their order.
        """
        ...


class Signing(Protocol):
    """What tells our own words from those of others who can write to what we share."""

    def sign(self, place: str, body: bytes) -> bytes:
        """Return `body` with a mark that counts at `place` alone; a place holds no NUL."""
        ...

    def verified(self, place: str, signed: bytes) -> bytes | None:
        """Return what was signed for `place`, or None."""
        ...

    def verified_each(self, signed: Iterable[tuple[str, bytes | None]]) -> Iterator[bytes | None]:
        """Yield what was signed for each place, in order, or None where nothing was."""
        ...

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        """Return the keyed hashes that stand for `text`, one for each secret key, the current one first."""
        ...


WITHHELD = ("queue_full", "queue_slow", "token_refused")
"""Why a call is not sent to the backend: too many are queued, it was queued too long, its token was just refused."""


class Telemetry(Protocol):
    """Who is told what happened; telling never fails and never waits."""

    def backend_called(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count one HTTP call to the backend; `outcome` is "ok" or an error code."""
        ...

    def store_failed(self, operation: str) -> None:
        """Count one operation that the store did not answer."""
        ...

    def call_withheld(self, reason: str) -> None:
        """Count one call that was answered here instead of being sent; `reason` is one of WITHHELD."""
        ...

    def value_refused(self) -> None:
        """Count one cached value that could not be trusted and was ignored."""
        ...

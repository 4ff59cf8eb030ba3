"""Probes every operation of the store that the service needs, on keys and a channel of its own."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from app.ports.coordination import Coordination, EventBus, EventKind
from app.ports.repositories import DatabaseUnavailable
from app.ports.store import Store, StoreRefuses, StoreUnavailable
from app.services.key_namespace import KeyNamespace

KEPT_SECONDS = 10.0
HEARD_WITHIN_SECONDS = 2.0
TENANT = "probe"

SHARED_SECONDS = 1.0
"""How long a try counts for those who ask after it."""

ADVICE = {
    "READONLY": "is a replica that takes no writes: name the master, or all Sentinels",
    "MASTERDOWN": "is a replica whose master is down",
    "MOVED": "is a node of a Cluster: write redis+cluster:// in LUMA_MCP_REDIS_URL",
    "CROSSSLOT": "is a node of a Cluster: write redis+cluster:// in LUMA_MCP_REDIS_URL",
    "CLUSTERDOWN": "is a Cluster that does not serve all of its slots",
    "LOADING": "is still loading its data: try again shortly",
    "OOM": "is full: raise maxmemory, or shorten LUMA_MCP_RESULT_TTL_SECONDS",
    "MISCONF": "takes no writes because it cannot save to its disk",
    "NOPERM": "does not give this user the rights that docs/redis.md lists",
    "NOAUTH": "wants a user and a password: write them into LUMA_MCP_REDIS_URL",
    "WRONGPASS": "does not accept the user or the password of LUMA_MCP_REDIS_URL",
}
"""The meaning of Redis error codes for an operator."""


def explained(exc: StoreUnavailable) -> str:
    """Return what is wrong with a store that failed, as the end of a sentence that begins with its name."""
    if isinstance(exc, StoreRefuses):
        return ADVICE.get(str(exc), f"refuses ({exc})")
    return f"does not answer ({exc})"


async def probe(store: Store, coordination: Coordination, keys: KeyNamespace, *, with_channel: bool = False) -> None:
    """Write, read, compare and set, and remove; `with_channel` also publishes and listens.

    Raises StoreUnavailable for the first thing that fails; of a channel that stays silent it is "channel is silent".
    """
    name = secrets.token_hex(8)
    value, held = keys.key(TENANT, "value", name), keys.key(TENANT, "held", name)
    await store.put_many({value: b"1"}, {value: KEPT_SECONDS})
    if await store.get_many([value]) != [b"1"]:
        raise StoreUnavailable("a value that was just written is not there")
    await store.remove_many([value])
    await coordination.put_if_absent(held, b"1", KEPT_SECONDS)
    if not await coordination.replace(held, b"1", b"2", KEPT_SECONDS):
        raise StoreUnavailable("a value that was just written is another")
    await coordination.remove(held, b"2")
    if with_channel:
        await _probe_channel(coordination, name.encode())


class SharedProbe:
    """Lets all who ask within a second share one try, so that nobody can make the store busy with them."""

    def __init__(self, try_store: Callable[[], Awaitable[None]], clock: Callable[[], float]) -> None:
        """Share the tries of `try_store`, by `clock`, which counts seconds and never goes back."""
        self._try_store = try_store
        self._clock = clock
        self._trying: asyncio.Future[Exception | None] | None = None
        self._began_at = 0.0

    async def __call__(self) -> None:
        """Raise what a try that began less than a second ago raised, or a new one. Raises what the try raised."""
        if self._trying is None or (self._trying.done() and self._clock() - self._began_at >= SHARED_SECONDS):
            self._began_at = self._clock()
            self._trying = asyncio.ensure_future(self._try())
        error = await asyncio.shield(self._trying)
        if error is not None:
            raise error.with_traceback(None)

    async def _try(self) -> Exception | None:
        try:
            await self._try_store()
        except (StoreUnavailable, DatabaseUnavailable) as exc:
            return exc.with_traceback(None)
        return None


async def _probe_channel(events: EventBus, message: bytes) -> None:
    heard = asyncio.Event()
    unsubscribe = events.subscribe(EventKind.PROBE, lambda said: heard.set() if said == message else None)
    try:
        async with asyncio.timeout(HEARD_WITHIN_SECONDS):
            while not heard.is_set():  # the channel may not be open yet
                await events.publish(EventKind.PROBE, message)
                await _within(heard, HEARD_WITHIN_SECONDS / 10)
    except TimeoutError:
        raise StoreUnavailable("channel is silent") from None
    finally:
        unsubscribe()


async def _within(heard: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await heard.wait()
    except TimeoutError:
        return

"""Probes of the store: each operation that the service needs, on separate keys and a separate kind of event."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from app.ports.coordination import Coordination, EventBus, EventKind
from app.ports.repositories import DatabaseUnavailable
from app.ports.store import Store, StoreRefuses, StoreUnavailable
from app.services.key_namespace import KeyNamespace

KEPT_SECONDS = 10.0
"""Time to live of the values that a probe writes."""

TENANT = "probe"

SHARED_SECONDS = 1.0
"""Time after the start of a probe for which its result is shared."""

ADVICE = {
    "READONLY": "is a replica that takes no writes: name the master, or all Sentinels",
    "MASTERDOWN": "is a replica whose master is down",
    "MOVED": "is a node of a Cluster: write redis+cluster:// in LUMA_MCP_REDIS_URL",
    "CROSSSLOT": "is a node of a Cluster: write redis+cluster:// in LUMA_MCP_REDIS_URL",
    "CLUSTERDOWN": "is a Cluster that does not serve all of its slots",
    "LOADING": "is still loading its data: try again shortly",
    "OOM": "is full: raise maxmemory, or shorten LUMA_MCP_RESULT_TTL_SECONDS",
    "MISCONF": "accepts no writes because it cannot save to its disk",
    "DB": "has no database of the number in LUMA_MCP_REDIS_URL",
    "NOPERM": "does not give this user the rights that docs/redis.md lists",
    "NOAUTH": "requires a user and a password: write them into LUMA_MCP_REDIS_URL",
    "WRONGPASS": "does not accept the user or the password of LUMA_MCP_REDIS_URL",
}
"""Meaning of Redis error codes, as the end of a sentence that begins with the name of the store."""


def explained(exc: StoreUnavailable) -> str:
    """Return the meaning of `exc` for operators, as the end of a sentence that begins with the name of the store."""
    if isinstance(exc, ChannelSilent):
        return "delivers no events: give this user the rights that docs/redis.md lists, or try again shortly"
    if isinstance(exc, StoreRefuses):
        return ADVICE.get(str(exc), f"refuses ({exc})")
    return f"does not answer ({exc})"


class ChannelSilent(StoreUnavailable):
    """A published event did not arrive: this process may not subscribe, or its subscription is being opened again."""

    def __init__(self) -> None:
        super().__init__("channel is silent")


async def probe(
    store: Store, coordination: Coordination, keys: KeyNamespace, *, received_within_seconds: float
) -> None:
    """Write, read, compare-and-set and remove values, publish an event, and receive it.

    Raises StoreUnavailable for the first operation that fails: ChannelSilent if the event does not arrive in time.
    """
    probe_id = secrets.token_hex(8)
    value, lease = keys.key(TENANT, "value", probe_id), keys.key(TENANT, "held", probe_id)
    await store.put_many({value: b"1"}, {value: KEPT_SECONDS})
    if await store.get_many([value]) != [b"1"]:
        raise StoreUnavailable("a value that was just written is missing or wrong")
    await store.remove_many([value])
    await coordination.put_if_absent(lease, b"1", KEPT_SECONDS)
    if not await coordination.replace(lease, b"1", b"2", KEPT_SECONDS):
        raise StoreUnavailable("a lease that was just written is missing or wrong")
    await coordination.remove(lease, b"2")
    await _probe_channel(coordination, probe_id.encode(), received_within_seconds)


class SharedProbe:
    """Shares one probe among all requests within SHARED_SECONDS, so that frequent requests do not load the store."""

    def __init__(self, try_store: Callable[[], Awaitable[None]], clock: Callable[[], float]) -> None:
        """Probe with `try_store`. `clock` is monotonic, in seconds."""
        self._try_store = try_store
        self._clock = clock
        self._probing: asyncio.Future[Exception | None] | None = None
        self._began_at = 0.0

    async def __call__(self) -> None:
        """Return or raise the result of a probe that runs or began less than SHARED_SECONDS ago, else of a new one.

        Raises StoreUnavailable and DatabaseUnavailable, as the probe did.
        """
        if self._probing is None or (self._probing.done() and self._clock() - self._began_at >= SHARED_SECONDS):
            self._began_at = self._clock()
            self._probing = asyncio.ensure_future(self._probe())
        error = await asyncio.shield(self._probing)
        if error is not None:
            raise error.with_traceback(None)

    async def _probe(self) -> Exception | None:
        try:
            await self._try_store()
        except (StoreUnavailable, DatabaseUnavailable) as exc:
            return exc.with_traceback(None)
        return None


async def _probe_channel(events: EventBus, message: bytes, within_seconds: float) -> None:
    received = asyncio.Event()
    unsubscribe = events.subscribe(EventKind.PROBE, lambda arrived: received.set() if arrived == message else None)
    try:
        async with asyncio.timeout(within_seconds):
            while not received.is_set():  # the subscription may not be active yet
                await events.publish(EventKind.PROBE, message)
                await _wait_at_most(received, within_seconds / 10)
    except TimeoutError:
        raise ChannelSilent from None
    finally:
        unsubscribe()


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

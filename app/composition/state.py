"""Builds the state that replicas share: store, cache and snapshots, coordination, rate limiter, and sealing keys."""

from dataclasses import dataclass
from functools import partial

from app.adapters.memory.coordination import MemoryCoordination
from app.adapters.memory.rate_limiter import MemoryRateLimiter
from app.adapters.memory.store import MemoryStore
from app.adapters.redis.coordination import RedisCoordination
from app.adapters.redis.rate_limiter import RedisRateLimiter
from app.adapters.redis.store import RedisStore, connect
from app.adapters.token_sealer import TokenSealer
from app.adapters.value_sealer import AesValueSealer
from app.adapters.value_signer import HmacSigner
from app.composition.clocks import Clocks
from app.domain.backend import BackendDescription
from app.domain.freshness import CachePolicy
from app.mcp_server.tools.rendering import render
from app.observability.metrics import Metrics
from app.ports.rate_limiter import RateLimiter
from app.services.key_namespace import KeyNamespace, key_namespace
from app.services.limits.backend_limits import BackendLimits
from app.services.polling.callback_trust import CallbackTrust
from app.services.tasks.cache import TASK_KIND, TaskCache
from app.services.tasks.circuit_breaker import FailOpenStore
from app.services.tasks.sealed_values import SealedValues
from app.services.tasks.snapshots import SNAPSHOT_KIND, TaskSnapshots
from app.settings import Settings, SettingsError

LOCAL_CACHE_BYTES = 8 * 1024 * 1024
"""Capacity of each process's own cache of finished tasks; a task takes about 1.5 KB."""

MEMORY_STORE_BYTES = 16 * 1024 * 1024
"""Capacity of the store that replaces Redis in a process without one."""


@dataclass(frozen=True, slots=True)
class SharedState:
    """State that replicas share through Redis, and the secret keys and key names on which they must agree.

    Without Redis, each process has a store in its own memory.

    Attributes:
        sealer: encrypts callback tickets and task handles with the secret key.
        signing: signs events and the members of sets with the secret key.
        keys: the names of keys and channels in Redis.
        callback_trust: tracks whether callbacks arrive, by the ends of tasks that this process has read.

    """

    store: MemoryStore | RedisStore
    coordination: MemoryCoordination | RedisCoordination
    rate_limiter: RateLimiter
    cache: TaskCache
    snapshots: TaskSnapshots
    sealer: TokenSealer
    signing: HmacSigner
    keys: KeyNamespace
    callback_trust: CallbackTrust


def build_shared_state(
    settings: Settings, backend: BackendDescription, metrics: Metrics, clocks: Clocks, backend_limits: BackendLimits
) -> SharedState:
    """Return the shared state. Raises SettingsError for an unsupported Redis URL."""
    store = _build_store(settings, metrics, clocks)
    fail_open_store = FailOpenStore(store, metrics, clocks.monotonic)
    signing, keys = HmacSigner(*settings.secret_keys()), key_namespace(settings.redis_prefix, backend.address)
    values = AesValueSealer(*settings.secret_keys())
    sealed_snapshots = SealedValues(SNAPSHOT_KIND, keys, values)
    coordination = _build_coordination(store, signing, keys, clocks)
    return SharedState(
        store=store,
        coordination=coordination,
        rate_limiter=_build_rate_limiter(store, keys, clocks),
        cache=_build_cache(
            settings,
            fail_open_store,
            SealedValues(TASK_KIND, keys, values),
            metrics,
            clocks,
            backend_limits,
        ),
        snapshots=TaskSnapshots(
            fail_open_store, sealed_snapshots, render=render, wall_clock=clocks.wall, monotonic_clock=clocks.monotonic
        ),
        sealer=TokenSealer(*settings.secret_keys()),
        signing=signing,
        keys=keys,
        callback_trust=CallbackTrust(
            settings.public_url or "",
            backend,
            coordination,
            keys,
            on_missing=partial(metrics.count_callback, "missing"),
            on_doubt_change=metrics.callbacks_doubted.set,
        ),
    )


def _build_cache(  # noqa: PLR0913, PLR0917 - the dependencies of the cache
    settings: Settings,
    store: FailOpenStore,
    sealed_values: SealedValues,
    metrics: Metrics,
    clocks: Clocks,
    backend_limits: BackendLimits,
) -> TaskCache:
    return TaskCache(
        store,
        sealed_values,
        CachePolicy(settings.result_ttl_seconds, settings.pending_ttl_seconds),
        metrics,
        render=render,
        reads=backend_limits.store_reads,
        turns=backend_limits.work_turns,
        local_bytes=LOCAL_CACHE_BYTES,
        wall_clock=clocks.wall,
    )


def _build_coordination(
    store: MemoryStore | RedisStore, signing: HmacSigner, keys: KeyNamespace, clocks: Clocks
) -> MemoryCoordination | RedisCoordination:
    if isinstance(store, RedisStore):
        return RedisCoordination(store.connection, signing, keys.channel(store.connection.database), clocks.wall)
    return MemoryCoordination(clocks.monotonic)


def _build_rate_limiter(store: MemoryStore | RedisStore, keys: KeyNamespace, clocks: Clocks) -> RateLimiter:
    if isinstance(store, RedisStore):
        return RedisRateLimiter(store.connection, keys, clocks.wall)
    return MemoryRateLimiter(clocks.monotonic)


def _build_store(settings: Settings, metrics: Metrics, clocks: Clocks) -> MemoryStore | RedisStore:
    if settings.redis_url is None:
        return MemoryStore(capacity_bytes=MEMORY_STORE_BYTES, clock=clocks.monotonic)
    try:
        store = connect(settings.redis_url.get_secret_value())
    except ValueError as exc:
        raise SettingsError(f"LUMA_MCP_REDIS_URL {exc}.") from None
    store.connection.report_to(metrics.link_failed)
    return store

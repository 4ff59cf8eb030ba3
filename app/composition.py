"""The composition root: every part is made here, from settings, and nowhere else."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import httpx

from app.adapters.acedata.backend import AceDataBackend
from app.adapters.acedata.client import AceDataClient, Timeouts
from app.adapters.acedata.policy import describe
from app.adapters.acedata.pool import pooled_client
from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.adapters.memory.coordination import MemoryCoordination
from app.adapters.memory.store import MemoryStore
from app.adapters.network_environment import EnvironmentFault
from app.adapters.redis.coordination import RedisCoordination
from app.adapters.redis.store import RedisStore, connect
from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.engine import Sandbox
from app.adapters.sql.engine import database_now
from app.adapters.sql.purchases import SqlClock
from app.adapters.token_sealer import TokenSealer
from app.adapters.value_signer import HmacSigner
from app.domain.backend import BackendDescription
from app.domain.freshness import CachePolicy
from app.domain.public_url import hosts_in
from app.domain.rendered import TaskResult
from app.mcp_server.extensions.subscriptions import MOST_LISTENERS, MOST_LISTENERS_PER_CALLER
from app.mcp_server.server import McpServer, build_server
from app.mcp_server.tools.call_handler import RequestContext
from app.mcp_server.tools.catalog import catalogue
from app.mcp_server.tools.definition import LumaTool, Services
from app.mcp_server.tools.rendering import render
from app.observability.call_log import CallLog, call_formatter
from app.observability.metrics import Metrics
from app.observability.refusals import Refusals
from app.observability.tracing import replace_spans
from app.persistence import Persistence, build_persistence
from app.ports.backend import VideoBackend
from app.services.key_namespace import KeyNamespace, key_namespace
from app.services.limits.backend_limits import BackendLimits
from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.fair_limiter import FairLimiter
from app.services.limits.memory_budget import SHARE_OF_ONE_CALLER, MemoryBudget
from app.services.limits.token_status import TokenStatusCache
from app.services.polling.callback_trust import CallbackTrust
from app.services.polling.poller import PollerDependencies
from app.services.polling.registry import PollerRegistry
from app.services.polling.waiter import MOST_WAITING, MOST_WAITING_PER_CALLER, TaskWaiter
from app.services.purchases.callbacks import Callbacks
from app.services.purchases.limiter import ConcurrencyLimiter
from app.services.purchases.service import MOST_UNDER_WAY, MOST_UNDER_WAY_PER_CALLER, VideoService
from app.services.purchases.submitted_tasks import SubmittedTasks
from app.services.tasks.cache import TASK_KIND, TaskCache
from app.services.tasks.circuit_breaker import FailOpenStore
from app.services.tasks.lookup import FlightKey, TaskService
from app.services.tasks.queued_ids import QueuedIds
from app.services.tasks.signed_values import SignedValues
from app.services.tasks.single_flight import SingleFlight
from app.services.tasks.snapshots import SNAPSHOT_KIND, TaskSnapshots
from app.settings import Settings, SettingsError

VERSION = version("luma-mcp")

LOCAL_BYTES = 8 * 1024 * 1024
"""Finished tasks kept in each process, about 1.5 KB each."""

MEMORY_STORE_BYTES = 16 * 1024 * 1024

SHARE_OF_UNACCEPTED = 4
"""Callers whose token the backend has not accepted may together have this part of the places to wait and listen."""

SANDBOX_MEDIA_PATH = "/sandbox/media"
CALLBACKS_PATH = "/callbacks"


@dataclass(frozen=True, slots=True)
class Clocks:
    """Time, as the parts are given it: unix seconds, seconds that never go back, waiting, and the database's clock."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    database: SqlClock = database_now


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of one process. Nothing is connected until `running` is entered."""

    tools: tuple[LumaTool, ...]
    services: Services
    tenants: PassthroughAuthenticator
    metrics: Metrics
    store: MemoryStore | RedisStore
    coordination: MemoryCoordination | RedisCoordination
    backend: VideoBackend
    flights: SingleFlight[FlightKey, TaskResult]
    request_memory: MemoryBudget
    token_status: TokenStatusCache
    sandbox: Sandbox | None
    callbacks: Callbacks | None
    persistence: Persistence

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Lend the parts; on the way out, stop what is in the air and close every connection."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.persistence.running())
            await stack.enter_async_context(self.store)
            await stack.enter_async_context(self.coordination)
            await stack.enter_async_context(self.backend)
            stack.push_async_callback(self.flights.aclose)
            stack.push_async_callback(self.services.pollers.aclose)
            stack.push_async_callback(self.services.videos.aclose)
            yield


def assemble(  # noqa: PLR0913 - the seams of tests
    settings: Settings,
    *,
    base_url: str,
    transport: httpx.AsyncBaseTransport | None = None,
    timeouts: Timeouts | None = None,
    clocks: Clocks | None = None,
    backend: VideoBackend | None = None,
) -> Assembly:
    """Return the parts that `settings` ask for, without any I/O.

    `base_url` is where this process is reached, for the sandbox's own videos. The others are seams: `backend` replaces
    that of the settings, and `transport` the network to it. Raises SettingsError for a Redis URL of no known form.
    """
    clocks, metrics = clocks or Clocks(), Metrics()
    refusals = Refusals(metrics, clocks.monotonic)
    sandbox = _sandbox(settings, base_url, clocks) if settings.backend == "sandbox" else None
    description = backend.description if backend is not None else _description(settings)
    backend_limits = BackendLimits(clocks.monotonic, description.policy.generations_at_once)
    if backend is None:
        network = transport if sandbox is None else httpx.ASGITransport(app=sandbox_app(sandbox))
        client = _acedata_client(settings, metrics, backend_limits, timeouts or Timeouts(), network)
        backend = AceDataBackend(client, clocks.wall, description=description, own_media_url=_media_url(sandbox))
    shared = _shared(settings, description, metrics, clocks, backend_limits)
    persistence = build_persistence(
        settings,
        shared.coordination,
        shared.signing,
        shared.keys,
        wall_clock=clocks.wall,
        clock=clocks.monotonic,
        sleep=clocks.sleep,
        database_clock=clocks.database,
        is_accepted=backend_limits.token_status.is_accepted,
        backend=description,
    )
    callbacks = _callbacks(settings, description, shared, persistence, clocks)
    flights: SingleFlight[FlightKey, TaskResult] = SingleFlight()
    queued = QueuedIds(description, metrics, clocks.monotonic, backend_limits.token_status.is_accepted)
    tasks = TaskService(backend, shared.cache, shared.snapshots, flights, backend_limits.token_status, queued)
    videos = _videos(backend, shared, persistence, callbacks, clocks, refusals, backend_limits)
    return Assembly(
        tools=catalogue(settings.batch_limit, description),
        services=_services(
            settings, description, tasks, videos, shared, persistence, clocks, sandbox, refusals, backend_limits
        ),
        tenants=PassthroughAuthenticator(*_secrets(settings)),
        metrics=metrics,
        store=shared.store,
        coordination=shared.coordination,
        backend=backend,
        flights=flights,
        request_memory=_request_memory(settings, description, refusals, backend_limits),
        token_status=backend_limits.token_status,
        sandbox=sandbox,
        callbacks=callbacks,
        persistence=persistence,
    )


def build_mcp_server(settings: Settings, assembly: Assembly, caller: RequestContext) -> McpServer:
    """Return the MCP surface over the parts, for a transport whose callers `caller` knows."""
    wants_lines = settings.log_level in ("DEBUG", "INFO")
    call_log = CallLog(assembly.metrics, call_formatter(settings.log_format) if wants_lines else None)
    mcp_server = build_server(assembly.tools, assembly.services, caller, call_log, version=VERSION)
    replace_spans(mcp_server.server, {tool.name for tool in assembly.tools})
    return mcp_server


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the replicas of a service have in common, and a process alone has for itself."""

    store: MemoryStore | RedisStore
    coordination: MemoryCoordination | RedisCoordination
    cache: TaskCache
    snapshots: TaskSnapshots
    sealer: TokenSealer
    signing: HmacSigner
    keys: KeyNamespace
    callback_trust: CallbackTrust


def _shared(
    settings: Settings, backend: BackendDescription, metrics: Metrics, clocks: Clocks, backend_limits: BackendLimits
) -> _Shared:
    store = _store(settings, metrics, clocks)
    open_store = FailOpenStore(store, metrics, clocks.monotonic)
    signing, keys = HmacSigner(*_secrets(settings)), key_namespace(settings.redis_prefix, backend.address)
    snapshots = SignedValues(SNAPSHOT_KIND, keys, signing)
    coordination = _coordination(store, signing, keys, clocks)
    return _Shared(
        store=store,
        coordination=coordination,
        cache=_cache(
            settings,
            open_store,
            SignedValues(TASK_KIND, keys, signing),
            metrics,
            clocks,
            backend_limits.store_reads,
        ),
        snapshots=TaskSnapshots(
            open_store, snapshots, render=render, wall_clock=clocks.wall, monotonic_clock=clocks.monotonic
        ),
        sealer=TokenSealer(*_secrets(settings)),
        signing=signing,
        keys=keys,
        callback_trust=CallbackTrust(
            settings.public_url or "",
            backend,
            coordination,
            keys,
            missing=partial(metrics.callback_heard, "missing"),
            doubted=metrics.callbacks_doubted.set,
        ),
    )


def _services(  # noqa: PLR0913, PLR0917 - the parts list of everything that tools answer with
    settings: Settings,
    backend: BackendDescription,
    tasks: TaskService,
    videos: VideoService,
    shared: _Shared,
    persistence: Persistence,
    clocks: Clocks,
    sandbox: Sandbox | None,
    refusals: Refusals,
    backend_limits: BackendLimits,
) -> Services:
    pollers = PollerRegistry(
        PollerDependencies(
            tasks.read,
            shared.cache,
            shared.snapshots,
            shared.coordination,
            shared.keys,
            shared.callback_trust,
            backend,
            clocks.wall,
            clocks.sleep,
        )
    )
    return Services(
        tasks=tasks,
        waiting=TaskWaiter(
            tasks,
            shared.cache,
            pollers,
            backend,
            clocks.monotonic,
            clocks.sleep,
            places=_waiting_places(backend, refusals, backend_limits),
        ),
        videos=videos,
        submitted=SubmittedTasks(persistence.purchases),
        snapshots=shared.snapshots,
        pollers=pollers,
        leases=shared.coordination,
        keys=shared.keys,
        signing=shared.signing,
        sealer=shared.sealer,
        backend=backend,
        listeners=_listener_places(backend, refusals, backend_limits),
        wall_clock=clocks.wall,
        sleep=clocks.sleep,
        media_url=_media_url(sandbox),
        own_hosts=hosts_in([*settings.hosts(), *((sandbox.media_url,) if sandbox is not None else ())]),
    )


def _waiting_places(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    effect = (
        f"Refused a call that would wait: {MOST_WAITING_PER_CALLER} of its token or {MOST_WAITING} in all wait "
        f"already, or {MOST_WAITING // SHARE_OF_UNACCEPTED} of tokens that {backend.name} has not accepted. Calls that "
        "do not wait are answered."
    )
    lent = QuotaLimits(MOST_WAITING, MOST_WAITING_PER_CALLER, MOST_WAITING // SHARE_OF_UNACCEPTED)
    shown = refusals.metrics.waiting_callers.set
    return CallerQuota(lent, backend_limits.token_status.is_accepted, refusals.reporter("waits", effect), shown)


def _listener_places(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    effect = (
        f"Refused a listener: {MOST_LISTENERS_PER_CALLER} of its token or {MOST_LISTENERS} in all are served already, "
        f"or {MOST_LISTENERS // SHARE_OF_UNACCEPTED} of tokens that {backend.name} has not accepted."
    )
    lent = QuotaLimits(MOST_LISTENERS, MOST_LISTENERS_PER_CALLER, MOST_LISTENERS // SHARE_OF_UNACCEPTED)
    shown = refusals.metrics.listeners.set
    return CallerQuota(lent, backend_limits.token_status.is_accepted, refusals.reporter("listeners", effect), shown)


def _request_memory(
    settings: Settings, backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits
) -> MemoryBudget:
    refused = (
        f"Answered 429: requests of one token hold 1/{SHARE_OF_ONE_CALLER} of LUMA_MCP_REQUEST_MEMORY_MB "
        f"({settings.request_memory_mb}), those of all tokens hold all of it, or those of tokens that "
        f"{backend.name} has not accepted hold half. Others are served."
    )
    ended = (
        "Ended a connection: unfinished requests and unread answers hold what requests under way leave of "
        f"LUMA_MCP_REQUEST_MEMORY_MB ({settings.request_memory_mb}), and its caller holds most of that. Others are "
        "served."
    )
    return MemoryBudget(
        settings.request_memory_mb * 1_000_000,
        backend_limits.token_status.is_accepted,
        refusals.reporter("request_memory", refused),
        refusals.reporter("connection_memory", ended),
    )


def _callbacks(
    settings: Settings, backend: BackendDescription, shared: _Shared, persistence: Persistence, clocks: Clocks
) -> Callbacks | None:
    """Return what the backend may call, where it can: it calls back and is not here, and the service has an address."""
    if settings.public_url is None or backend.address is None or not backend.capabilities.calls_back:
        return None
    base_url = f"{settings.public_url}{CALLBACKS_PATH}"
    return Callbacks(
        base_url,
        shared.sealer,
        shared.coordination,
        shared.cache,
        shared.snapshots,
        persistence.purchases,
        shared.callback_trust,
        clocks.wall,
    )


def _videos(  # noqa: PLR0913, PLR0917 - buying touches everything that must know of it
    backend: VideoBackend,
    shared: _Shared,
    persistence: Persistence,
    callbacks: Callbacks | None,
    clocks: Clocks,
    refusals: Refusals,
    backend_limits: BackendLimits,
) -> VideoService:
    limiter = ConcurrencyLimiter(backend.description, clocks.monotonic, clocks.sleep)
    return VideoService(
        backend,
        shared.snapshots,
        persistence.service,
        limiter,
        callbacks=callbacks,
        token_status=backend_limits.token_status,
        places=_purchase_places(backend.description, refusals, backend_limits),
        telemetry=refusals.metrics,
        in_flight=refusals.metrics.submissions_in_flight.set,
    )


def _purchase_places(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    effect = (
        f"Refused a submission: {MOST_UNDER_WAY_PER_CALLER} of its token or {MOST_UNDER_WAY} in all are under way, "
        f"or {MOST_UNDER_WAY // SHARE_OF_UNACCEPTED} of tokens that {backend.name} has not accepted. They go on when "
        "their callers leave; nothing of the refused one was sent."
    )
    lent = QuotaLimits(MOST_UNDER_WAY, MOST_UNDER_WAY_PER_CALLER, MOST_UNDER_WAY // SHARE_OF_UNACCEPTED)
    return CallerQuota(lent, backend_limits.token_status.is_accepted, refusals.reporter("submissions", effect))


def _secrets(settings: Settings) -> list[str]:
    return [key.get_secret_value() for key in settings.secret_key]


def _cache(  # noqa: PLR0913, PLR0917 - the parts list of the cache
    settings: Settings,
    store: FailOpenStore,
    owned: SignedValues,
    metrics: Metrics,
    clocks: Clocks,
    reads: FairLimiter,
) -> TaskCache:
    return TaskCache(
        store,
        owned,
        CachePolicy(settings.result_ttl_seconds, settings.pending_ttl_seconds),
        metrics,
        render=render,
        reads=reads,
        local_bytes=LOCAL_BYTES,
        wall_clock=clocks.wall,
    )


def _coordination(
    store: MemoryStore | RedisStore, signing: HmacSigner, keys: KeyNamespace, clocks: Clocks
) -> MemoryCoordination | RedisCoordination:
    if isinstance(store, RedisStore):
        return RedisCoordination(store.link, signing, keys.channel(store.link.database), clocks.wall)
    return MemoryCoordination(clocks.monotonic)


def _store(settings: Settings, metrics: Metrics, clocks: Clocks) -> MemoryStore | RedisStore:
    if settings.redis_url is None:
        return MemoryStore(capacity_bytes=MEMORY_STORE_BYTES, clock=clocks.monotonic)
    try:
        store = connect(settings.redis_url.get_secret_value())
    except ValueError as exc:
        raise SettingsError(f"LUMA_MCP_REDIS_URL {exc}.") from None
    store.link.report_to(metrics.link_failed)
    return store


def _sandbox(settings: Settings, base_url: str, clocks: Clocks) -> Sandbox:
    media_url = f"{settings.public_url or base_url}{SANDBOX_MEDIA_PATH}"
    return Sandbox(seconds=settings.sandbox_seconds, media_url=media_url, clock=clocks.wall)


def _description(settings: Settings) -> BackendDescription:
    if settings.backend == "sandbox":
        return describe(expected_seconds=settings.sandbox_seconds)
    return describe(address=settings.acedata_url)


def _media_url(sandbox: Sandbox | None) -> str | None:
    """Return where this service itself serves videos: in the sandbox, else nowhere."""
    return sandbox.media_url if sandbox is not None else None


def _acedata_client(
    settings: Settings,
    metrics: Metrics,
    backend_limits: BackendLimits,
    timeouts: Timeouts,
    network: httpx.AsyncBaseTransport | None,
) -> AceDataClient:
    client = partial(pooled_client, settings.acedata_url, user_agent=f"luma-mcp/{VERSION}", transport=network)
    try:
        reads = client(connections=backend_limits.read_connections)
        purchases = client(connections=backend_limits.purchase_connections, keeps_connections=False)
    except EnvironmentFault as exc:
        raise SettingsError(str(exc)) from None
    return AceDataClient(reads, metrics, timeouts, backend_limits, purchases=purchases)

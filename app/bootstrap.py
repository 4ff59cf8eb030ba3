"""The composition root: every part is made here, from settings, and nowhere else."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import httpx

from app.adapters.acedata import AceDataGateway
from app.adapters.acedata_http import AceDataClient, Patience
from app.adapters.acedata_pool import pooled_client
from app.adapters.identity import Tenants
from app.adapters.memory import MemoryStore
from app.adapters.memory_coordination import MemoryCoordination
from app.adapters.network_environment import EnvironmentFault
from app.adapters.redis_coordination import RedisCoordination
from app.adapters.redis_store import RedisStore, connect
from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.engine import Sandbox
from app.adapters.seal import Seal
from app.adapters.signing import Signer
from app.adapters.sql.engine import database_now
from app.adapters.sql.purchases import SqlClock
from app.domain.freshness import Lifetimes, Pace
from app.domain.public_url import hosts_in
from app.domain.rendered import TaskResult
from app.durability import Durable, durable
from app.mcp_server.catalogue import catalogue
from app.mcp_server.door import Caller
from app.mcp_server.listening import MOST_LISTENERS, MOST_LISTENERS_PER_CALLER
from app.mcp_server.rendering import render
from app.mcp_server.server import Surface, build_server
from app.mcp_server.tool import LumaTool, Services
from app.observability.journal import Journal, line_of_a_call
from app.observability.metrics import Metrics
from app.observability.refusals import Refusals
from app.observability.tracing import replace_spans
from app.services.callback_trust import CallbackTrust
from app.services.callbacks import Callbacks
from app.services.caller_quota import CallerQuota, Lent
from app.services.edge_memory import SHARE_OF_ONE_CALLER, EdgeMemory
from app.services.fail_open import FailOpenStore
from app.services.fair_limiter import FairLimiter
from app.services.key_space import KeySpace, key_space
from app.services.owned import Owned
from app.services.queued_ids import QueuedIds
from app.services.records import RECORD_KIND, TaskRecords
from app.services.single_flight import SingleFlight
from app.services.standing import TokenStanding
from app.services.submission_slots import SubmissionSlots
from app.services.submitted_tasks import SubmittedTasks
from app.services.task_cache import TASK_KIND, TaskCache
from app.services.tasks import FlightKey, TaskService
from app.services.traffic import Traffic
from app.services.videos import MOST_UNDER_WAY, MOST_UNDER_WAY_PER_CALLER, VideoService
from app.services.waiting import MOST_WAITING, MOST_WAITING_PER_CALLER, WaitingRoom
from app.services.watch import WatchParts
from app.services.watching import Watches
from app.settings import Settings, SettingsError

VERSION = version("luma-mcp")

LOCAL_BYTES = 8 * 1024 * 1024
"""Finished tasks kept in each process, about 1.5 KB each."""

MEMORY_STORE_BYTES = 16 * 1024 * 1024

SHARE_OF_UNACCEPTED = 4
"""Callers whose token AceDataCloud has not accepted may together have this part of the places to wait and listen."""

EXPECTED_SECONDS = 150.0
"""What a generation takes as a rule: the documented ones took 154 and 156 s, the guide says 1 to 2 minutes."""

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
    tenants: Tenants
    metrics: Metrics
    store: MemoryStore | RedisStore
    coordination: MemoryCoordination | RedisCoordination
    backend: httpx.AsyncClient
    purchases: httpx.AsyncClient
    flights: SingleFlight[FlightKey, TaskResult]
    request_memory: EdgeMemory
    standing: TokenStanding
    sandbox: Sandbox | None
    callbacks: Callbacks | None
    durable: Durable

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Lend the parts; on the way out, stop what is in the air and close every connection."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.durable.running())
            stack.push_async_callback(self.store.aclose)
            stack.push_async_callback(self.coordination.aclose)
            stack.push_async_callback(self.backend.aclose)
            stack.push_async_callback(self.purchases.aclose)
            stack.push_async_callback(self.flights.aclose)
            stack.push_async_callback(self.services.watches.aclose)
            stack.push_async_callback(self.services.videos.aclose)
            self.coordination.start()
            yield


def assemble(
    settings: Settings,
    *,
    base_url: str,
    transport: httpx.AsyncBaseTransport | None = None,
    patience: Patience | None = None,
    clocks: Clocks | None = None,
) -> Assembly:
    """Return the parts that `settings` ask for, without any I/O.

    `base_url` is where this process is reached, for the sandbox's own videos. The others are seams: `transport`
    replaces the network to the backend. Raises SettingsError for a Redis URL of no known form.
    """
    clocks, metrics = clocks or Clocks(), Metrics()
    refusals = Refusals(metrics, clocks.monotonic)
    sandbox = _sandbox(settings, base_url, clocks) if settings.backend == "sandbox" else None
    traffic = Traffic(clocks.monotonic)
    network = transport if sandbox is None else httpx.ASGITransport(app=sandbox_app(sandbox))
    backend = _backend(settings, traffic.read_connections, network)
    purchases = _backend(settings, traffic.purchase_connections, network, keeps_connections=False)
    gateway = AceDataGateway(
        AceDataClient(backend, metrics, patience or Patience(), traffic, purchases=purchases),
        clocks.wall,
        own_media_url=sandbox.media_url if sandbox is not None else None,
    )
    shared = _shared(settings, metrics, clocks, traffic)
    durable_parts = durable(
        settings,
        shared.coordination,
        shared.signing,
        shared.keys,
        wall_clock=clocks.wall,
        clock=clocks.monotonic,
        sleep=clocks.sleep,
        database_clock=clocks.database,
        is_accepted=traffic.standing.is_accepted,
    )
    callbacks = _callbacks(settings, shared, durable_parts, clocks)
    flights: SingleFlight[FlightKey, TaskResult] = SingleFlight()
    queued = QueuedIds(metrics, clocks.monotonic, traffic.standing.is_accepted)
    tasks = TaskService(gateway, shared.cache, shared.records, flights, traffic.standing, queued)
    videos = _videos(gateway, shared, durable_parts, callbacks, clocks, refusals, traffic)
    return Assembly(
        tools=catalogue(settings.batch_limit),
        services=_services(settings, tasks, videos, shared, durable_parts, clocks, sandbox, refusals, traffic),
        tenants=Tenants(*_secrets(settings)),
        metrics=metrics,
        store=shared.store,
        coordination=shared.coordination,
        backend=backend,
        purchases=purchases,
        flights=flights,
        request_memory=_request_memory(settings, refusals, traffic),
        standing=traffic.standing,
        sandbox=sandbox,
        callbacks=callbacks,
        durable=durable_parts,
    )


def surface_of(settings: Settings, assembly: Assembly, caller: Caller) -> Surface:
    """Return the MCP surface over the parts, for a transport whose callers `caller` knows."""
    wants_lines = settings.log_level in ("DEBUG", "INFO")
    journal = Journal(assembly.metrics, line_of_a_call(settings.log_format) if wants_lines else None)
    surface = build_server(assembly.tools, assembly.services, caller, journal, version=VERSION)
    replace_spans(surface.server, {tool.name for tool in assembly.tools})
    return surface


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the replicas of a service have in common, and a process alone has for itself."""

    store: MemoryStore | RedisStore
    coordination: MemoryCoordination | RedisCoordination
    cache: TaskCache
    records: TaskRecords
    seal: Seal
    signing: Signer
    keys: KeySpace
    callback_trust: CallbackTrust


def _shared(settings: Settings, metrics: Metrics, clocks: Clocks, traffic: Traffic) -> _Shared:
    store = _store(settings, metrics, clocks)
    open_store = FailOpenStore(store, metrics, clocks.monotonic)
    signing, keys = Signer(*_secrets(settings)), _key_space(settings)
    records = Owned(RECORD_KIND, keys, signing)
    coordination = _coordination(store, signing, keys, clocks)
    return _Shared(
        store=store,
        coordination=coordination,
        cache=_cache(
            settings,
            open_store,
            Owned(TASK_KIND, keys, signing),
            metrics,
            clocks,
            traffic.store_reads,
        ),
        records=TaskRecords(
            open_store, records, render=render, wall_clock=clocks.wall, monotonic_clock=clocks.monotonic
        ),
        seal=Seal(*_secrets(settings)),
        signing=signing,
        keys=keys,
        callback_trust=CallbackTrust(
            settings.public_url or "",
            coordination,
            keys,
            missing=partial(metrics.callback_heard, "missing"),
            doubted=metrics.callbacks_doubted.set,
        ),
    )


def _key_space(settings: Settings) -> KeySpace:
    return key_space(settings.redis_prefix, settings.acedata_url if settings.backend == "acedata" else None)


def _services(  # noqa: PLR0913, PLR0917 - the parts list of everything that tools answer with
    settings: Settings,
    tasks: TaskService,
    videos: VideoService,
    shared: _Shared,
    durable: Durable,
    clocks: Clocks,
    sandbox: Sandbox | None,
    refusals: Refusals,
    traffic: Traffic,
) -> Services:
    pace = Pace(settings.sandbox_seconds if sandbox is not None else EXPECTED_SECONDS)
    watches = Watches(
        WatchParts(
            tasks.read,
            shared.cache,
            shared.records,
            shared.coordination,
            shared.keys,
            shared.callback_trust,
            pace,
            clocks.wall,
            clocks.sleep,
        )
    )
    return Services(
        tasks=tasks,
        waiting=WaitingRoom(
            tasks, shared.cache, watches, clocks.monotonic, clocks.sleep, places=_waiting_places(refusals, traffic)
        ),
        videos=videos,
        submitted=SubmittedTasks(durable.purchases),
        records=shared.records,
        watches=watches,
        coordination=shared.coordination,
        keys=shared.keys,
        signing=shared.signing,
        seal=shared.seal,
        pace=pace,
        listeners=_listener_places(refusals, traffic),
        wall_clock=clocks.wall,
        sleep=clocks.sleep,
        media_url=sandbox.media_url if sandbox is not None else None,
        own_hosts=hosts_in([*settings.hosts(), *((sandbox.media_url,) if sandbox is not None else ())]),
    )


def _waiting_places(refusals: Refusals, traffic: Traffic) -> CallerQuota:
    effect = (
        f"Refused a call that would wait: {MOST_WAITING_PER_CALLER} of its token or {MOST_WAITING} in all wait "
        f"already, or {MOST_WAITING // SHARE_OF_UNACCEPTED} of tokens that AceDataCloud has not accepted. Calls that "
        "do not wait are answered."
    )
    lent = Lent(MOST_WAITING, MOST_WAITING_PER_CALLER, MOST_WAITING // SHARE_OF_UNACCEPTED)
    shown = refusals.metrics.waiting_callers.set
    return CallerQuota(lent, traffic.standing.is_accepted, refusals.reporter("waits", effect), shown)


def _listener_places(refusals: Refusals, traffic: Traffic) -> CallerQuota:
    effect = (
        f"Refused a listener: {MOST_LISTENERS_PER_CALLER} of its token or {MOST_LISTENERS} in all are served already, "
        f"or {MOST_LISTENERS // SHARE_OF_UNACCEPTED} of tokens that AceDataCloud has not accepted."
    )
    lent = Lent(MOST_LISTENERS, MOST_LISTENERS_PER_CALLER, MOST_LISTENERS // SHARE_OF_UNACCEPTED)
    shown = refusals.metrics.listeners.set
    return CallerQuota(lent, traffic.standing.is_accepted, refusals.reporter("listeners", effect), shown)


def _request_memory(settings: Settings, refusals: Refusals, traffic: Traffic) -> EdgeMemory:
    refused = (
        f"Answered 429: requests of one token hold 1/{SHARE_OF_ONE_CALLER} of LUMA_MCP_REQUEST_MEMORY_MB "
        f"({settings.request_memory_mb}), those of all tokens hold all of it, or those of tokens that AceDataCloud has "
        "not accepted hold half. Others are served."
    )
    ended = (
        "Ended a connection: unfinished requests and unread answers hold what requests under way leave of "
        f"LUMA_MCP_REQUEST_MEMORY_MB ({settings.request_memory_mb}), and its caller holds most of that. Others are "
        "served."
    )
    return EdgeMemory(
        settings.request_memory_mb * 1_000_000,
        traffic.standing.is_accepted,
        refusals.reporter("request_memory", refused),
        refusals.reporter("connection_memory", ended),
    )


def _callbacks(settings: Settings, shared: _Shared, durable: Durable, clocks: Clocks) -> Callbacks | None:
    """Return what the backend may call, where it can: the service has an address and the backend is a real one."""
    if settings.public_url is None or settings.backend == "sandbox":
        return None
    base_url = f"{settings.public_url}{CALLBACKS_PATH}"
    return Callbacks(
        base_url,
        shared.seal,
        shared.coordination,
        shared.cache,
        shared.records,
        durable.purchases,
        shared.callback_trust,
        clocks.wall,
    )


def _videos(  # noqa: PLR0913, PLR0917 - buying touches everything that must know of it
    gateway: AceDataGateway,
    shared: _Shared,
    durable: Durable,
    callbacks: Callbacks | None,
    clocks: Clocks,
    refusals: Refusals,
    traffic: Traffic,
) -> VideoService:
    slots = SubmissionSlots(clocks.monotonic, clocks.sleep)
    return VideoService(
        gateway,
        shared.records,
        durable.service,
        slots,
        callbacks=callbacks,
        standing=traffic.standing,
        places=_purchase_places(refusals, traffic),
        telemetry=refusals.metrics,
        in_flight=refusals.metrics.submissions_in_flight.set,
    )


def _purchase_places(refusals: Refusals, traffic: Traffic) -> CallerQuota:
    effect = (
        f"Refused a submission: {MOST_UNDER_WAY_PER_CALLER} of its token or {MOST_UNDER_WAY} in all are under way, "
        f"or {MOST_UNDER_WAY // SHARE_OF_UNACCEPTED} of tokens that AceDataCloud has not accepted. They go on when "
        "their callers leave; nothing of the refused one was sent."
    )
    lent = Lent(MOST_UNDER_WAY, MOST_UNDER_WAY_PER_CALLER, MOST_UNDER_WAY // SHARE_OF_UNACCEPTED)
    return CallerQuota(lent, traffic.standing.is_accepted, refusals.reporter("submissions", effect))


def _secrets(settings: Settings) -> list[str]:
    return [key.get_secret_value() for key in settings.secret_key]


def _cache(  # noqa: PLR0913, PLR0917 - the parts list of the cache
    settings: Settings,
    store: FailOpenStore,
    owned: Owned,
    metrics: Metrics,
    clocks: Clocks,
    reads: FairLimiter,
) -> TaskCache:
    return TaskCache(
        store,
        owned,
        Lifetimes(settings.result_ttl_seconds, settings.pending_ttl_seconds),
        metrics,
        render=render,
        reads=reads,
        local_bytes=LOCAL_BYTES,
        wall_clock=clocks.wall,
    )


def _coordination(
    store: MemoryStore | RedisStore, signing: Signer, keys: KeySpace, clocks: Clocks
) -> MemoryCoordination | RedisCoordination:
    if isinstance(store, RedisStore):
        return RedisCoordination(store.link, signing, keys.channel(store.link.database), clocks.wall)
    return MemoryCoordination(clocks.monotonic)


def _store(settings: Settings, metrics: Metrics, clocks: Clocks) -> MemoryStore | RedisStore:
    if settings.redis_url is None:
        return MemoryStore(capacity_bytes=MEMORY_STORE_BYTES, clock=clocks.monotonic)
    try:
        store = connect(settings.redis_url.get_secret_value())
    except ValueError as fault:
        raise SettingsError(f"LUMA_MCP_REDIS_URL {fault}.") from None
    store.link.report_to(metrics.link_failed)
    return store


def _sandbox(settings: Settings, base_url: str, clocks: Clocks) -> Sandbox:
    media_url = f"{settings.public_url or base_url}{SANDBOX_MEDIA_PATH}"
    return Sandbox(seconds=settings.sandbox_seconds, media_url=media_url, clock=clocks.wall)


def _backend(
    settings: Settings,
    connections: int,
    transport: httpx.AsyncBaseTransport | None,
    *,
    keeps_connections: bool = True,
) -> httpx.AsyncClient:
    try:
        return pooled_client(
            settings.acedata_url,
            user_agent=f"luma-mcp/{VERSION}",
            connections=connections,
            transport=transport,
            keeps_connections=keeps_connections,
        )
    except EnvironmentFault as exc:
        raise SettingsError(str(exc)) from None

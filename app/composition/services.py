"""Builds the services: lookup, polling, purchases and callbacks."""

from app.adapters.sandbox.engine import Sandbox
from app.composition.backend import (
    media_url_of,
)
from app.composition.clocks import Clocks
from app.composition.quotas import listener_quota, submission_quota, waiting_quota
from app.composition.state import SharedState
from app.domain.backend import BackendDescription
from app.domain.public_url import hosts_in
from app.domain.rendered import TaskResult
from app.mcp_server.tools.definition import Services
from app.observability.metrics import Metrics
from app.observability.refusals import Refusals
from app.persistence import Persistence, build_persistence
from app.ports.backend import VideoBackend
from app.services.limits.backend_limits import BackendLimits
from app.services.polling.poller import PollerDependencies
from app.services.polling.registry import PollerRegistry
from app.services.polling.waiter import TaskWaiter
from app.services.purchases.callbacks import Callbacks
from app.services.purchases.limiter import ConcurrencyLimiter
from app.services.purchases.service import VideoService
from app.services.purchases.submitted_tasks import SubmittedTasks
from app.services.tasks.lookup import FlightKey, TaskService
from app.services.tasks.queued_ids import QueuedIds
from app.services.tasks.single_flight import SingleFlight
from app.settings import Settings

CALLBACKS_PATH = "/callbacks"


def persistence_of(
    settings: Settings, backend: BackendDescription, shared: SharedState, clocks: Clocks, backend_limits: BackendLimits
) -> Persistence:
    """Return the database and the services on it."""
    return build_persistence(
        settings,
        shared.coordination,
        shared.signing,
        shared.keys,
        wall_clock=clocks.wall,
        clock=clocks.monotonic,
        sleep=clocks.sleep,
        database_clock=clocks.database,
        is_accepted=backend_limits.token_status.is_accepted,
        backend=backend,
    )


def build_lookup(  # noqa: PLR0913, PLR0917 - a lookup uses every kind of state
    backend: VideoBackend,
    shared: SharedState,
    flights: SingleFlight[FlightKey, TaskResult],
    metrics: Metrics,
    clocks: Clocks,
    backend_limits: BackendLimits,
) -> TaskService:
    """Return the service that finds tasks in the cache, in fetches under way, and at the backend."""
    token_status = backend_limits.token_status
    queued = QueuedIds(backend.description, metrics, clocks.monotonic, token_status.is_accepted)
    return TaskService(backend, shared.cache, shared.snapshots, flights, token_status, queued)


def _build_pollers(
    tasks: TaskService, shared: SharedState, backend: BackendDescription, clocks: Clocks
) -> PollerRegistry:
    return PollerRegistry(
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


def build_services(  # noqa: PLR0913, PLR0917 - tools use every capability
    settings: Settings,
    backend: BackendDescription,
    tasks: TaskService,
    videos: VideoService,
    shared: SharedState,
    persistence: Persistence,
    clocks: Clocks,
    sandbox: Sandbox | None,
    refusals: Refusals,
    backend_limits: BackendLimits,
) -> Services:
    """Return the services that tools call."""
    pollers = _build_pollers(tasks, shared, backend, clocks)
    return Services(
        tasks=tasks,
        waiter=TaskWaiter(
            tasks,
            shared.cache,
            pollers,
            backend,
            clocks.monotonic,
            clocks.sleep,
            places=waiting_quota(backend, refusals, backend_limits),
        ),
        videos=videos,
        submitted=SubmittedTasks(persistence.purchases, backend_limits.database_reads),
        snapshots=shared.snapshots,
        pollers=pollers,
        leases=shared.coordination,
        keys=shared.keys,
        signing=shared.signing,
        sealer=shared.sealer,
        backend=backend,
        listeners=listener_quota(backend, refusals, backend_limits),
        wall_clock=clocks.wall,
        sleep=clocks.sleep,
        media_url=media_url_of(sandbox),
        own_hosts=hosts_in([*settings.hosts(), *((sandbox.media_url,) if sandbox is not None else ())]),
    )


def build_callbacks(
    settings: Settings, backend: BackendDescription, shared: SharedState, persistence: Persistence, clocks: Clocks
) -> Callbacks | None:
    """Return the callback handler.

    None where the service has no public URL, or the backend makes no callbacks or runs in this process.
    """
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


def build_videos(  # noqa: PLR0913, PLR0917 - a purchase touches every capability
    backend: VideoBackend,
    shared: SharedState,
    persistence: Persistence,
    callbacks: Callbacks | None,
    clocks: Clocks,
    refusals: Refusals,
    backend_limits: BackendLimits,
) -> VideoService:
    """Return the service that submits generations."""
    limiter = ConcurrencyLimiter(backend.description, clocks.monotonic, clocks.sleep)
    return VideoService(
        backend,
        shared.snapshots,
        persistence.service,
        limiter,
        callbacks=callbacks,
        token_status=backend_limits.token_status,
        places=submission_quota(backend.description, refusals, backend_limits),
        telemetry=refusals.metrics,
        in_flight=refusals.metrics.submissions_in_flight.set,
    )

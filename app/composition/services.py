"""Builds the services of a process: persistence, pollers, callbacks and purchases."""

from app.composition.clocks import Clocks
from app.composition.quotas import submission_quota
from app.composition.refusal_reporters import purchase_refusals, queue_reporter
from app.composition.state import SharedState
from app.domain.backend import BackendDescription
from app.observability.refusals import Refusals
from app.persistence import Persistence, build_persistence
from app.ports.backend import VideoBackend
from app.services.limits.backend_limits import BackendLimits
from app.services.limits.caller_quota import CallerQuota
from app.services.limits.database_turns import DatabaseLimits, DatabaseTurns
from app.services.limits.rate_limits import RateLimits
from app.services.polling.poller import PollerDependencies
from app.services.polling.registry import PollerRegistry
from app.services.purchases.callbacks import Callbacks
from app.services.purchases.limiter import ConcurrencyLimiter
from app.services.purchases.service import VideoService
from app.services.tasks.lookup import TaskService
from app.settings import Settings

CALLBACKS_PATH = "/callbacks"


def build_persistence_for(  # noqa: PLR0913, PLR0917 - the dependencies of purchases
    settings: Settings,
    backend: BackendDescription,
    shared: SharedState,
    clocks: Clocks,
    backend_limits: BackendLimits,
    turns: DatabaseTurns,
    refusals: Refusals,
) -> Persistence:
    """Return the database and the services that use it. Raises SettingsError for an unsupported database URL."""
    return build_persistence(
        settings,
        shared.coordination,
        shared.signing,
        shared.keys,
        wall_clock=clocks.wall,
        clock=clocks.monotonic,
        sleep=clocks.sleep,
        database_clock=clocks.database,
        timeouts=clocks.database_timeouts,
        is_accepted=backend_limits.token_status.is_accepted,
        backend=backend,
        turns=turns,
        refusals=purchase_refusals(backend, refusals),
    )


def build_pollers(
    tasks: TaskService, shared: SharedState, backend: BackendDescription, awaited: CallerQuota, clocks: Clocks
) -> PollerRegistry:
    """Return the pollers of this process. `awaited` limits the number of distinct tasks that they poll."""
    return PollerRegistry(
        PollerDependencies(
            tasks.read,
            shared.cache,
            shared.snapshots,
            shared.coordination,
            shared.keys,
            shared.callback_trust,
            backend,
            awaited,
            clocks.wall,
            clocks.sleep,
        )
    )


def build_callbacks(  # noqa: PLR0913, PLR0917 - a callback uses every kind of state
    settings: Settings,
    backend: BackendDescription,
    shared: SharedState,
    persistence: Persistence,
    database_limits: DatabaseLimits,
    clocks: Clocks,
) -> Callbacks | None:
    """Return the callback handler.

    None if the service has no public URL, if the backend does not call back, or if the backend is the sandbox, which
    runs in this process.
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
        database_limits,
        shared.callback_trust,
        clocks.wall,
        settings.idempotency_seconds,
    )


def build_submission_limiter(backend: BackendDescription, clocks: Clocks, refusals: Refusals) -> ConcurrencyLimiter:
    """Return the limiter of concurrent submissions per credential."""
    return ConcurrencyLimiter(
        backend,
        clocks.monotonic,
        clocks.sleep,
        on_free_slots=refusals.metrics.show_free_slots,
        on_refusal=queue_reporter(backend, refusals),
    )


def build_video_service(  # noqa: PLR0913, PLR0917 - the dependencies of a purchase
    backend: VideoBackend,
    shared: SharedState,
    persistence: Persistence,
    callbacks: Callbacks | None,
    clocks: Clocks,
    refusals: Refusals,
    backend_limits: BackendLimits,
    rate_limits: RateLimits,
) -> VideoService:
    """Return the service that submits generations."""
    return VideoService(
        backend,
        shared.snapshots,
        persistence.service,
        build_submission_limiter(backend.description, clocks, refusals),
        callbacks=callbacks,
        token_status=backend_limits.token_status,
        quota=submission_quota(backend.description, refusals, backend_limits),
        telemetry=refusals.metrics,
        limits=rate_limits,
        on_in_flight_change=refusals.metrics.submissions_in_flight.set,
    )

"""Builds all parts of one process from the settings."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from app.adapters.acedata.backend import AceDataBackend
from app.adapters.acedata.client import Timeouts
from app.adapters.auth.key_digest import KeyDigest
from app.adapters.sandbox.engine import Sandbox
from app.composition.authentication import build_authenticator, build_directory, build_refused_tokens
from app.composition.backend import backend_transport, build_acedata_client, build_sandbox, media_url_of
from app.composition.clocks import Clocks
from app.composition.description import backend_description
from app.composition.optional import optional_administration, optional_issuer_keys, optional_sign_in
from app.composition.quotas import (
    awaited_quota,
    build_memory_budget,
    build_rate_limits,
    database_limits,
    listener_quota,
    waiting_quota,
)
from app.composition.refusal_reporters import backend_reporter
from app.composition.services import build_callbacks, build_persistence_for, build_pollers, build_video_service
from app.composition.state import SharedState, build_shared_state
from app.composition.teams import TeamWork, build_settlement, build_team_work, build_usage
from app.domain.rendered import TaskResult
from app.mcp_server.tools.catalog import build_catalog
from app.mcp_server.tools.definition import LumaTool
from app.observability.metrics import Metrics
from app.observability.refusals import Refusals
from app.persistence import Persistence
from app.ports.auth import Authenticator
from app.ports.backend import VideoBackend
from app.services.limits.backend_limits import BackendLimits
from app.services.limits.caller_quota import CallerQuota
from app.services.limits.memory_budget import MemoryBudget
from app.services.limits.rate_limits import RateLimits
from app.services.limits.refused_tokens import RefusedTokens
from app.services.limits.token_status import TokenStatusCache
from app.services.limits.work_turns import WorkTurns
from app.services.polling.registry import PollerRegistry
from app.services.polling.waiter import TaskWaiter
from app.services.purchases.callbacks import Callbacks
from app.services.purchases.service import VideoService
from app.services.purchases.submitted_tasks import SubmittedTasks
from app.services.tasks.access import TaskAccess
from app.services.tasks.lookup import FlightKey, TaskService
from app.services.tasks.queued_ids import QueuedIds
from app.services.tasks.single_flight import SingleFlight
from app.services.teams.opening import TeamDirectory
from app.services.teams.usage import UsageReports
from app.settings import Settings

if TYPE_CHECKING:
    from app.adapters.auth.jwt.issuer_keys import IssuerKeys
    from app.composition.administration import Administration
    from app.composition.sign_in import SignIn


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of one process. Nothing is connected until `running` or `connected` is entered.

    Only the composition, the command line and the HTTP application use this class. Every other class receives the parts
    that it uses.

    Attributes:
        shared: the state that replicas share.
        flights: the fetches from the backend that are in flight, shared by equal requests.
        listeners: the quota of `subscriptions/listen` streams.
        submitted: reads the list of a caller's submissions from the database.
        work_turns: grants turns for costly work on many tasks, at most one in an iteration of the event loop.
        rate_limits: the rate limits of teams, members and keys.
        refused_tokens: the throttle of refused tokens, by network address.
        request_memory: the memory budget of requests and connections.
        sandbox: the sandbox, which runs in this process; None with another backend.
        callbacks: the callback handler; None if the backend is not asked to call back.
        directory: the directory of teams; None if teams are not served.
        team_work: the background work for teams; None if teams are not served.
        issuer: the keys of the identity provider; None if its tokens are not accepted.
        sign_in: the authorization server; None if it is off.
        administration: the administration of teams over HTTP; None if it is off.

    """

    tools: tuple[LumaTool, ...]
    authenticator: Authenticator
    metrics: Metrics
    clocks: Clocks
    shared: SharedState
    backend: VideoBackend
    flights: SingleFlight[FlightKey, TaskResult]
    tasks: TaskService
    pollers: PollerRegistry
    waiter: TaskWaiter
    listeners: CallerQuota
    videos: VideoService
    submitted: SubmittedTasks
    usage: UsageReports
    request_memory: MemoryBudget
    token_status: TokenStatusCache
    work_turns: WorkTurns
    rate_limits: RateLimits
    refused_tokens: RefusedTokens
    sandbox: Sandbox | None
    callbacks: Callbacks | None
    persistence: Persistence
    directory: TeamDirectory[KeyDigest] | None
    team_work: TeamWork | None
    issuer: "IssuerKeys | None"
    sign_in: "SignIn | None"
    administration: "Administration | None"

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Open the store, the coordination and the backend, for `luma-mcp check`.

        On exit, close them, the database and the connections to the login.

        Unlike `running`, it starts no background work and migrates nothing.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.persistence.database.aclose)
            if self.sign_in is not None:
                stack.push_async_callback(self.sign_in.login.upstream.aclose)
            for part in (self.shared.store, self.shared.coordination, self.backend):
                await stack.enter_async_context(part)
            yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the parts and start their background work. On exit, end the work in flight and close all connections.

        Raises SettingsError if a newer release has migrated the database.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.persistence.running())
            if self.directory is not None:
                await stack.enter_async_context(self.directory.running())
            if self.issuer is not None:
                await stack.enter_async_context(self.issuer.running())
            if self.sign_in is not None:
                await stack.enter_async_context(self.sign_in.running())
            await stack.enter_async_context(self.shared.store)
            await stack.enter_async_context(self.shared.coordination)
            await stack.enter_async_context(self.backend)
            if self.team_work is not None:
                await stack.enter_async_context(self.team_work.running())
            stack.push_async_callback(self.flights.aclose)
            stack.push_async_callback(self.pollers.aclose)
            stack.push_async_callback(self.videos.aclose)
            yield


def assemble(  # noqa: PLR0913 - the parts that tests replace
    settings: Settings,
    *,
    base_url: str,
    transport: httpx.AsyncBaseTransport | None = None,
    timeouts: Timeouts | None = None,
    clocks: Clocks | None = None,
    backend: VideoBackend | None = None,
    authenticator: Authenticator | None = None,
) -> Assembly:
    """Return the parts that `settings` ask for. Neither network nor database is used before the parts are opened.

    `base_url` is the URL of this process, under which the sandbox serves its videos. Tests pass the other arguments:
    `backend` replaces the backend of the settings, `transport` the network to it, `authenticator` the authenticator of
    the settings. Raises SettingsError for an unsupported URL of Redis or the database, and for a proxy or certificate
    variable that cannot be used.
    """
    clocks, timeouts, metrics = clocks or Clocks(), timeouts or Timeouts(), Metrics()
    refusals = Refusals(metrics, clocks.monotonic)
    sandbox = build_sandbox(settings, base_url, clocks) if settings.backend == "sandbox" else None
    description = backend.description if backend is not None else backend_description(settings)
    backend_limits = BackendLimits(clocks.monotonic, description.policy.generations_at_once)
    if backend is None:
        client = build_acedata_client(
            settings,
            metrics,
            backend_limits,
            timeouts,
            backend_transport(sandbox, transport),
            backend_reporter(description, refusals, timeouts.pool),
        )
        backend = AceDataBackend(client, clocks.wall, description=description, own_media_url=media_url_of(sandbox))
    return _assemble_with(backend, authenticator, sandbox, settings, refusals, clocks, backend_limits)


def _assemble_with(  # noqa: PLR0913, PLR0917 - the parts that `assemble` has chosen
    backend: VideoBackend,
    authenticator: Authenticator | None,
    sandbox: Sandbox | None,
    settings: Settings,
    refusals: Refusals,
    clocks: Clocks,
    backend_limits: BackendLimits,
) -> Assembly:
    description, metrics = backend.description, refusals.metrics
    shared = build_shared_state(settings, description, metrics, clocks, backend_limits)
    database_turns = database_limits(description, refusals, backend_limits)
    persistence = build_persistence_for(
        settings, description, shared, clocks, backend_limits, database_turns.purchases, refusals
    )
    callbacks = build_callbacks(settings, description, shared, persistence, database_turns, clocks)
    flights: SingleFlight[FlightKey, TaskResult] = SingleFlight()
    token_status = backend_limits.token_status
    queued = QueuedIds(description, metrics, clocks.monotonic, token_status.is_accepted)
    access = TaskAccess(persistence.purchases, database_turns.reads)
    settlement = build_settlement(persistence, clocks)
    tasks = TaskService(
        backend, shared.cache, shared.snapshots, flights, token_status, queued, access, on_read=settlement.enqueue
    )
    pollers = build_pollers(tasks, shared, description, awaited_quota(description, refusals, backend_limits), clocks)
    directory = build_directory(settings, persistence, clocks, refusals)
    issuer = optional_issuer_keys(settings, clocks, refusals)
    sign_in = optional_sign_in(
        settings, persistence, directory, description, token_status, database_turns.sign_in, clocks, refusals
    )
    sign_in_tokens = sign_in.authenticator if sign_in is not None else None
    authenticator = authenticator or build_authenticator(
        settings, directory, issuer, description, token_status, clocks, metrics, sign_in_tokens
    )
    rate_limits = build_rate_limits(shared.rate_limiter, metrics, clocks.monotonic)
    waits = waiting_quota(description, refusals, backend_limits)
    waiter = TaskWaiter(tasks, shared.cache, pollers, description, clocks.monotonic, clocks.sleep, quota=waits)
    return Assembly(
        tools=build_catalog(settings.batch_limit, description),
        authenticator=authenticator,
        metrics=metrics,
        clocks=clocks,
        shared=shared,
        backend=backend,
        flights=flights,
        tasks=tasks,
        pollers=pollers,
        waiter=waiter,
        listeners=listener_quota(description, refusals, backend_limits),
        videos=build_video_service(
            backend, shared, persistence, callbacks, clocks, refusals, backend_limits, rate_limits
        ),
        submitted=SubmittedTasks(persistence.purchases, database_turns.reads),
        usage=build_usage(persistence, database_turns.reads, description, clocks),
        request_memory=build_memory_budget(settings, description, refusals, backend_limits),
        token_status=token_status,
        work_turns=backend_limits.work_turns,
        rate_limits=rate_limits,
        refused_tokens=build_refused_tokens(settings, authenticator, token_status, metrics, clocks),
        sandbox=sandbox,
        callbacks=callbacks,
        persistence=persistence,
        directory=directory,
        team_work=build_team_work(settings, settlement, tasks, directory, persistence, description, metrics, clocks),
        issuer=issuer,
        sign_in=sign_in,
        administration=optional_administration(settings, persistence, description, clocks),
    )

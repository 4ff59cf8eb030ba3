"""Submits generations to the backend, which costs money."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from app.domain.access import Credential, Principal, Scope
from app.domain.budget import Charge, Spender
from app.domain.errors import Forbidden, InternalError, NothingSent, RateLimited, Stopped, Unauthorized
from app.domain.generation import Command, GenerateVideo
from app.domain.money import price_of_generation
from app.domain.rate_limit import InFlightLimitReached, LimitKind
from app.ports.auth import Caller
from app.ports.backend import VideoBackend
from app.ports.telemetry import Telemetry
from app.services.limits.caller_quota import RETRY_AFTER_SECONDS, CallerQuota
from app.services.limits.memory_lease import MEMORY_LEASE, MemoryLease
from app.services.limits.rate_limits import RateLimits
from app.services.limits.token_status import TokenStatusCache
from app.services.log_throttle import ThrottledExceptionLog
from app.services.purchases.callbacks import Callbacks
from app.services.purchases.idempotency import PurchaseService
from app.services.purchases.limiter import ConcurrencyLimiter
from app.services.purchases.request import PurchaseRequest, PurchaseResult
from app.services.tasks.snapshots import TaskSnapshots

MAX_UNDER_WAY = 600
MAX_UNDER_WAY_PER_CALLER = 64
"""Maximum number of submissions in flight, in this process and of one token. A disconnect does not end a submission."""

TOO_MANY_UNDER_WAY = (
    "This service has as many submissions under way as it takes, for this token or in all. Nothing was sent: try again "
    "shortly."
)

KEY_ENDED = (
    "The key of this call was revoked or has expired while the call waited. Nothing was sent. Ask the user for a valid "
    "one."
)

NOTHING_SENT = "No video was submitted, and nothing was charged."

B = TypeVar("B", PurchaseResult, PurchaseResult | None)
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A request for one generation.

    Attributes:
        command: the command for the backend.
        fingerprint: a hash of the tool and its arguments.
        idempotency_key: requests with the same key buy one video. Without a key, each request buys one.
        retry_unknown: whether to submit again if the outcome of an earlier request with this key is unknown.
        request_id: the id of the call in the log.

    """

    command: Command
    fingerprint: str
    idempotency_key: str | None = None
    retry_unknown: bool = False
    request_id: str | None = None


class VideoService:
    """Submits a command once and records its task.

    A submission continues if its caller disconnects, so that its outcome is always recorded. A call that only waits
    for another one with the same key ends with its caller.
    """

    def __init__(  # noqa: PLR0913 - a submission uses every capability
        self,
        backend: VideoBackend,
        snapshots: TaskSnapshots,
        purchases: PurchaseService,
        limiter: ConcurrencyLimiter,
        *,
        callbacks: Callbacks | None,
        token_status: TokenStatusCache,
        quota: CallerQuota,
        telemetry: Telemetry,
        limits: RateLimits,
        on_in_flight_change: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """Submit through `backend`, without a callback URL if `callbacks` is None.

        Each submission counts in `quota` until it ends, also after its caller disconnected. `limits` enforces the rate
        limits of teams. `on_in_flight_change` is called with the number of submissions whenever it changes.
        """
        self._on_in_flight_change = on_in_flight_change
        self._limits = limits
        self._token_status = token_status
        self._quota = quota
        self._telemetry = telemetry
        self._backend = backend
        self._snapshots = snapshots
        self._purchases = purchases
        self._limiter = limiter
        self._callbacks = callbacks
        self._price = price_of_generation(backend.description.policy.price)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._faults = ThrottledExceptionLog(
            log,
            "A video was started, but recording it, or its early callback, failed. Its caller gets the task_id.",
        )

    async def start(self, caller: Caller, generation: GenerationRequest) -> PurchaseResult:
        """Return the task, submitted now or by an earlier call with the same idempotency key.

        Raises OutcomeUnknown if a video may have been started, and another LumaError if nothing was started.
        """
        if caller.principal.is_stopped:
            raise self._backend.description.error(Stopped)
        if self._token_status.just_refused(caller.principal.subject):
            self._telemetry.call_withheld("token_refused")
            raise self._backend.description.error(Unauthorized)
        self._backend.description.check(generation.command)
        url = self._callback_url(caller.principal, generation.command)
        callback_id = self._callbacks.callback_id_of(url) if self._callbacks is not None and url is not None else None

        async def send() -> str:  # not called for a key that has bought before, so a replay is not rate limited
            await self._limits.check(caller.principal, LimitKind.GENERATIONS)
            return await self._submit(caller, generation.command, url)

        async def reconcile(earlier_callback_id: str) -> str | None:
            if self._callbacks is None:
                return None
            return await self._callbacks.find_task(self._backend, caller, earlier_callback_id, generation.command)

        async def run_shielded(purchase: Coroutine[Any, Any, B]) -> B:
            return await self._run_shielded(caller.principal, callback_id, purchase)

        request = PurchaseRequest(
            caller.principal.owners,
            "generate" if isinstance(generation.command, GenerateVideo) else "extend",
            generation.fingerprint,
            generation.idempotency_key,
            generation.retry_unknown,
            self._charge(caller.principal, generation.request_id),
        )
        try:
            return await self._purchases.buy(request, callback_id, send, reconcile, run_shielded)
        except InFlightLimitReached as exc:
            raise self._limits.in_flight_refusal(exc) from exc

    def _charge(self, principal: Principal, request_id: str | None) -> Charge | None:
        """Return the charge of one purchase to the caller's team; None outside of teams."""
        if principal.team is None:
            return None
        return Charge(Spender(principal.team, principal.subject, principal.key), self._price, request_id)

    async def _run(self, principal: Principal, callback_id: str | None, purchase: Coroutine[Any, Any, B]) -> B:
        """Run a purchase. Once its task is recorded, process callbacks that arrived before."""
        bought = await purchase
        if bought is None or bought.replayed or self._callbacks is None or callback_id is None:
            return bought
        try:
            await self._callbacks.process_early(principal, callback_id, bought.task_id)
        except Exception as exc:  # noqa: BLE001 - the task is bought, and its caller must get its id
            self._faults.note(exc)
        return bought

    async def aclose(self) -> None:
        """Wait for the submissions in flight; the backend client bounds their time."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._purchases.aclose()

    def _callback_url(self, principal: Principal, command: Command) -> str | None:
        """Return the callback URL; None if the caller gave one, or if this service has no public address."""
        if self._callbacks is None or command.callback_url is not None:
            return None
        return self._callbacks.new_callback_url(principal.owner)

    async def _submit(self, caller: Caller, command: Command, url: str | None) -> str:
        credentials = await _before_sending(caller.credentials.all())
        command_to_send = command if url is None else replace(command, callback_url=url)

        async def send(credential: Credential) -> str:
            await self._check_may_still_spend(caller)
            return await self._backend.submit(credential, command_to_send)

        task_id = await self._limiter.run(caller.principal, credentials, send)
        try:
            await self._snapshots.add_submitted(caller.principal.owner, task_id, expects_callback=url is not None)
        except Exception as exc:  # noqa: BLE001 - the task is bought, and its caller must get its id
            self._faults.note(exc)
        return task_id

    async def _check_may_still_spend(self, caller: Caller) -> None:
        """Raise Unauthorized, Stopped or Forbidden if the caller may no longer spend, NothingSent if that is unknown.

        The caller may have lost the right while the submission waited for its place.
        """
        principal = await _before_sending(caller.current_principal())
        if principal is None:
            raise Unauthorized(KEY_ENDED)
        if principal.is_stopped or Scope.GENERATE not in principal.scopes:
            raise self._backend.description.error(Stopped if principal.is_stopped else Forbidden)

    async def _run_shielded(self, principal: Principal, callback_id: str | None, purchase: Coroutine[Any, Any, B]) -> B:
        """Run `purchase` to its end, also if the caller disconnects. The request's memory lease is held until then.

        Raises RateLimited, and does not run `purchase`, if too many are in flight.
        """
        if not self._quota.take(principal.subject):
            purchase.close()
            raise RateLimited(TOO_MANY_UNDER_WAY, retry_after_seconds=RETRY_AFTER_SECONDS)
        task = asyncio.get_running_loop().create_task(self._run(principal, callback_id, purchase))
        self._under_way.add(task)
        self._on_in_flight_change(len(self._under_way))
        if (lease := MEMORY_LEASE.get()) is not None:
            lease.keep()
        task.add_done_callback(partial(self._on_done, principal.subject, lease))
        return await asyncio.shield(task)

    def _on_done(self, subject: str, lease: MemoryLease | None, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        self._on_in_flight_change(len(self._under_way))
        self._quota.give_back(subject)
        if lease is not None:
            lease.end()
        if not task.cancelled():
            task.exception()  # avoids asyncio's warning if the caller has disconnected


async def _before_sending(reading: Awaitable[T]) -> T:
    """Return what must be known before a submission is sent. Raises NothingSent in place of InternalError."""
    try:
        return await reading
    except InternalError as exc:
        raise NothingSent(f"{exc} {NOTHING_SENT}", retry_after_seconds=exc.retry_after_seconds) from exc

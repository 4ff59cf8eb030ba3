"""One purchase per idempotency key: a unique index in the database decides which call submits."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from app.domain.backend import BackendDescription
from app.domain.budget import SpendingRefused
from app.domain.errors import (
    BackendTimeout,
    InternalError,
    InvalidRequest,
    LumaError,
    NothingSent,
    OutcomeUnknown,
    RateLimited,
    Unauthorized,
)
from app.domain.purchase import (
    OTHER_ARGUMENTS,
    UNKNOWN_BEFORE,
    Decision,
    KeyName,
    NewPurchase,
    Purchase,
    PurchaseState,
    decide,
)
from app.domain.rate_limit import InFlightLimitReached
from app.ports.repositories import DatabaseBusy, DatabaseUnavailable, Purchases
from app.ports.sealing import Signer
from app.services.concurrency import wait_for_event
from app.services.limits.database_turns import DatabaseTurns
from app.services.log_throttle import LogThrottle, ThrottledExceptionLog
from app.services.purchases.legacy_keys import LegacyIdempotencyKeys
from app.services.purchases.outcome_queue import Outcome, OutcomeQueue
from app.services.purchases.refusals import UNREPORTED, PurchaseRefusals
from app.services.purchases.refused_spending import over_budget
from app.services.purchases.request import PurchaseRequest, PurchaseResult, Reconcile, RunShielded, Send
from app.services.purchases.unaccepted_rows import WINDOW_SECONDS, UnacceptedPurchases
from app.services.purchases.writer import PurchaseWriter

FIRST_PAUSE_SECONDS = 0.25
BACKOFF_FACTOR = 1.5
MAX_PAUSE_SECONDS = 2.0
"""Exponential backoff between reads of a purchase that another process has in flight."""

MAX_CALLS = 64
"""Limit of concurrent calls with a key, per token and process, including those that wait."""

MAX_WAIT_SECONDS = 45.0
"""Longest wait for another call with the same key. Clients give up after about a minute."""

REFUSED_WITHOUT_DATABASE = (
    "Idempotency keys cannot be checked right now, because this service's database does not answer. Nothing was sent: "
    "try again shortly with the same key."
)
REFUSED_WITHOUT_LEDGER = (
    "This service's database does not answer, so it cannot be checked right now what the team may spend. Nothing was "
    "sent: try again shortly."
)
REFUSED_WITHOUT_REDIS = (
    "Idempotency keys cannot be checked right now: release 1.0 kept them in Redis, which does not answer, and this "
    "service was upgraded from it in the last 24 hours. Nothing was sent: try again shortly with the same key."
)
DATABASE_BUSY = (
    "This service has too many purchases to record in its database right now. Nothing was sent: try again shortly."
)
NO_VALID_TASK = (
    "An earlier call with this `idempotency_key` started a video, but this service's database has no valid id of its "
    "task. Nothing was sent, and this key will not buy again: ask the user to look at the account's history."
)
STILL_UNDER_WAY = "Another call with this `idempotency_key` is still under way. Try again shortly with the same key."
TOO_MANY_CALLS = (
    "This service has too many calls with idempotency keys under way for this token. Nothing was sent: try again "
    "shortly with the same key."
)

TOO_MANY_UNKNOWN = (
    "{backend} has not accepted this token lately, and too many calls of such tokens ended with an unknown outcome. "
    "Nothing was sent: ask about any task, which shows that {backend} accepts the token, then try again."
)

_MAY_HAVE_BOUGHT = (OutcomeUnknown, BackendTimeout, InternalError)
"""Errors of `send` after which a task may run. NothingSent and any other LumaError mean that nothing was started.

A task may also run after an exception that is not a LumaError.
"""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Call:
    """A call with an idempotency key.

    Attributes:
        may_retry: whether the call may replace the purchase that holds its key at the first attempt. `retry_unknown`
            applies to an outcome that was unknown when the call arrived, not to a purchase that was still in flight.

    """

    request: PurchaseRequest
    new_purchase: NewPurchase
    may_retry: bool
    send: Send
    reconcile: Reconcile


class PurchaseService:
    """Records every submission before it is sent. Of all calls with one key, one submits."""

    def __init__(  # noqa: PLR0913 - two stores, two clocks and the keyed hashes
        self,
        purchases: Purchases,
        signing: Signer,
        legacy_keys: LegacyIdempotencyKeys,
        *,
        turns: DatabaseTurns,
        key_lives_seconds: float,
        key_fault: Callable[[], str | None],
        unaccepted: UnacceptedPurchases,
        backend: BackendDescription,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        refusals: PurchaseRefusals = UNREPORTED,
    ) -> None:
        """Record in `purchases`. `turns` limits concurrent operations on it. `signing` hashes keys and requests.

        `legacy_keys` are the keys of release 1.0. A key expires `key_lives_seconds` after its purchase. `key_fault`
        returns an error sentence while keys cannot be checked, else None. `unaccepted` limits the rows of tokens that
        the backend has not accepted. `clock` is monotonic, in seconds. `refusals` reports refusals by limits.
        """
        self._refusals = refusals
        self._purchases = purchases
        self._signing = signing
        self._legacy_keys = legacy_keys
        self._turns = turns
        unwritten = OutcomeQueue(unaccepted.is_accepted)
        self._writer = PurchaseWriter(purchases, turns, unwritten, sleep, clock)
        self._key_lives_seconds = key_lives_seconds
        self._key_fault = key_fault
        self._unaccepted = unaccepted
        self._backend = backend
        self._keys_in_use: dict[KeyName, asyncio.Event] = {}
        """By key: the event that is set when the call that attempts to buy with the key has ended."""
        self._calls: Counter[str] = Counter()
        """Number of concurrent calls with a key, by caller."""
        self._unrecorded_log = LogThrottle(clock)
        self._invalid_log = LogThrottle(clock)
        self._faults = ThrottledExceptionLog(
            log,
            "An unexpected exception occurred after a purchase may have been sent. Its caller is told that its outcome "
            "is unknown",
            clock,
        )
        self._clock = clock
        self._sleep = sleep

    async def buy(
        self,
        request: PurchaseRequest,
        callback_id: str | None,
        send: Send,
        reconcile: Reconcile,
        run_shielded: RunShielded,
    ) -> PurchaseResult:
        """Return the task, submitted now or by an earlier call with the same key.

        `send` is called at most once; `callback_id` identifies the callback of its submission. `run_shielded` runs a
        coroutine to its end, even if the call is cancelled.

        Raises what `send` and `reconcile` raise, and OutcomeUnknown if a video may have been bought. Raises the
        following before anything is submitted: RateLimited because of a limit of this process, or while another call
        with the key is in flight; InvalidRequest if the key was used with other arguments; OverBudget or
        InFlightLimitReached; InternalError if the database does not answer or the key cannot be checked.
        """
        if not self._unaccepted.may_record(request.caller):
            self._refusals.unknown_outcomes()
            raise RateLimited(self._backend.say(TOO_MANY_UNKNOWN), retry_after_seconds=WINDOW_SECONDS)
        new = self._new_purchase(request, callback_id)
        if not new.keys:
            return await self._with_caller_errors(run_shielded(self._buy_without_key(new, send)))
        if (error := self._key_fault()) is not None:
            raise InternalError(error)
        if self._calls[request.caller] >= MAX_CALLS:
            self._refusals.keyed_calls()
            raise RateLimited(TOO_MANY_CALLS)
        self._calls[request.caller] += 1
        try:
            call = _Call(request, new, request.retry_unknown, send, reconcile)
            return await self._with_caller_errors(self._buy_with_key(call, run_shielded))
        except DatabaseUnavailable as exc:
            raise InternalError(REFUSED_WITHOUT_DATABASE, retry_after_seconds=5.0) from exc
        finally:
            self._calls[request.caller] -= 1
            if not self._calls[request.caller]:
                del self._calls[request.caller]

    async def aclose(self) -> None:
        """Try once more to write the outcomes that the database has not stored."""
        await self._writer.aclose()

    def _new_purchase(self, request: PurchaseRequest, callback_id: str | None) -> NewPurchase:
        """Return the purchase with keyed hashes. Keys and prompts are short: plain hashes could be guessed."""
        key = request.idempotency_key
        digests = () if key is None else self._signing.digests("idempotency key", key)
        hashes = self._signing.digests("fingerprint", request.fingerprint)
        return NewPurchase(
            attempt=secrets.token_hex(16),
            owner=request.owner,
            action=request.action,
            request_hash=hashes[0],
            keys=tuple(map(KeyName, request.key_owners, digests, hashes)),
            callback_id=callback_id,
            charge=request.charge,
        )

    async def _buy_without_key(self, new: NewPurchase, send: Send) -> PurchaseResult:
        try:
            await self._turns.run(new.caller, partial(self._purchases.claim, new))
        except DatabaseBusy:
            raise
        except DatabaseUnavailable as exc:
            if new.charge is not None:
                await self._writer.write(Outcome(new, PurchaseState.REFUSED, is_recorded=False))
                raise InternalError(REFUSED_WITHOUT_LEDGER, retry_after_seconds=5.0) from exc
            if (count := self._unrecorded_log.count()) is not None:
                log.warning(
                    "%d purchases without an idempotency key were sent although the database %s. They are recorded "
                    "when it answers",
                    count,
                    exc,
                )
            return await self._send(new, send, is_recorded=False)
        return await self._send(new, send)

    @staticmethod
    async def _with_caller_errors(purchase: Awaitable[PurchaseResult]) -> PurchaseResult:
        """Await `purchase`, and turn its refusals into the errors for the caller.

        Raises OverBudget if a budget refuses it, RateLimited for DatabaseBusy, and InFlightLimitReached unchanged.
        """
        try:
            return await purchase
        except InFlightLimitReached:
            raise
        except SpendingRefused as exc:
            raise over_budget(exc) from exc
        except DatabaseBusy as exc:
            raise RateLimited(DATABASE_BUSY, retry_after_seconds=5.0) from exc

    async def _buy_with_key(self, call: _Call, run_shielded: RunShielded) -> PurchaseResult:
        """Attempt the purchase until its key has an outcome. In this process, one call per key attempts it at a time.

        An attempt that may have recorded the purchase continues if its caller disconnects. A call that only waits ends.
        """
        give_up_at, pause, key = self._clock() + MAX_WAIT_SECONDS, FIRST_PAUSE_SECONDS, call.new_purchase.keys[0]
        while (released := self._keys_in_use.get(key)) is not None:
            if (remaining := give_up_at - self._clock()) <= 0:
                raise self._still_under_way()
            await wait_for_event(released, remaining, self._sleep)
        released = self._keys_in_use[key] = asyncio.Event()
        try:
            while True:
                if (bought := await run_shielded(self._attempt(call))) is not None:
                    return bought
                if self._clock() >= give_up_at:
                    raise self._still_under_way()
                await self._sleep(pause)
                pause = min(pause * BACKOFF_FACTOR, MAX_PAUSE_SECONDS)
        finally:
            del self._keys_in_use[key]
            released.set()

    def _still_under_way(self) -> RateLimited:
        self._refusals.key_in_use()
        return RateLimited(STILL_UNDER_WAY)

    async def _attempt(self, call: _Call) -> PurchaseResult | None:
        """Buy if the key is free, or return the earlier result; None while another call with the key is in flight.

        `claim` records the purchase as the holder of its key, or returns the purchase that holds the key already.
        """
        try:
            earlier = await self._turns.run(call.new_purchase.caller, partial(self._purchases.claim, call.new_purchase))
            if earlier is not None:
                return await self._resolve_earlier(earlier, call)
        except DatabaseBusy:
            raise
        except DatabaseUnavailable:
            # The claim may have been stored, or may be stored later. A refused row of the same attempt releases the
            # key, or prevents a later insertion. If the backend has not accepted the token, the row is deleted instead:
            # made-up tokens could otherwise fill the database in an outage.
            state = None if self._unaccepted.must_delete_unbought(call.new_purchase.caller) else PurchaseState.REFUSED
            await self._writer.write(Outcome(call.new_purchase, state, is_recorded=False))
            raise
        return await self._buy_as_holder(call)

    async def _buy_as_holder(self, call: _Call) -> PurchaseResult:
        """Buy with the key, which the call holds. If release 1.0 has bought with this key, return that task instead."""
        key = call.request.idempotency_key
        if key is not None and (earlier := await self._bought_by_earlier_release(call, key)) is not None:
            return earlier
        return await self._send(call.new_purchase, call.send)

    async def _bought_by_earlier_release(self, call: _Call, key: str) -> PurchaseResult | None:
        """Return the result of a purchase by release 1.0 with the key; None if it bought nothing with it.

        Raises a LumaError, and releases the key, if the look-up fails.
        """
        request = call.request
        if request.member is not None:  # release 1.0 had no teams
            return None
        try:
            task_id = await self._legacy_keys.task_of(
                request.owners, key, request.fingerprint, retry_unknown=request.retry_unknown
            )
        except Exception as exc:  # nothing was sent, so the key is released
            await self._writer.write(Outcome(call.new_purchase, PurchaseState.REFUSED))
            raise _legacy_lookup_error(exc) from exc
        if task_id is None:
            return None
        await self._writer.write(Outcome(call.new_purchase, PurchaseState.STARTED, task_id))
        return PurchaseResult(task_id, replayed=True)

    async def _resolve_earlier(self, earlier: Purchase, call: _Call) -> PurchaseResult | None:
        """Return the task of the purchase that holds the key, or replace that purchase and buy.

        Return None while that purchase is in flight, or if another call has taken its key over.
        Raises InvalidRequest if that purchase has other arguments, OutcomeUnknown if its outcome is unknown and the
        caller has not allowed a retry, and InternalError if its row has no valid task id.
        """
        decision = decide(earlier, {name.request_hash for name in call.new_purchase.keys}, self._key_lives_seconds)
        if decision is Decision.OUTCOME_UNKNOWN:
            if (task_id := await self._reconcile(earlier, call)) is not None:
                return PurchaseResult(task_id, replayed=True)
            if call.may_retry:
                decision = Decision.TAKE_OVER
        call.may_retry = False
        match decision:
            case Decision.REPLAY:
                return PurchaseResult(self._valid_task_id(earlier), replayed=True)
            case Decision.WAIT:
                return None
            case Decision.TAKE_OVER:
                taken = await self._turns.run(
                    call.new_purchase.caller, partial(self._purchases.take_over, earlier, call.new_purchase)
                )
                return await self._buy_as_holder(call) if taken else None
            case Decision.OTHER_ARGUMENTS:
                raise InvalidRequest(OTHER_ARGUMENTS)
            case Decision.OUTCOME_UNKNOWN:
                raise OutcomeUnknown(UNKNOWN_BEFORE)

    def _valid_task_id(self, earlier: Purchase) -> str:
        """Return the task id of a started purchase.

        Raises InternalError, and logs the fault, if another program has changed the id in the row.
        """
        if earlier.task_id is None:
            if (count := self._invalid_log.count()) is not None:
                log.error(
                    "Purchase %s has no valid task id in the database (%d such replays since the last such line). Its "
                    "key is refused with internal_error. Find out who else writes to the database",
                    earlier.attempt,
                    count,
                )
            raise InternalError(NO_VALID_TASK)
        return earlier.task_id

    async def _reconcile(self, earlier: Purchase, call: _Call) -> str | None:
        """Find and record the task of a purchase with an unknown outcome, and return its id; None if not found."""
        if earlier.callback_id is None:
            return None
        task_id = await call.reconcile(earlier.callback_id)
        if task_id is not None:
            record = partial(self._purchases.record_outcome, earlier.attempt, PurchaseState.STARTED, task_id)
            await self._turns.run(call.new_purchase.caller, record)
        return task_id

    async def _send(self, new: NewPurchase, send: Send, *, is_recorded: bool = True) -> PurchaseResult:
        """Send, and record the outcome. Until then the purchase is `sent`, so other calls with its key do not buy.

        If nothing was bought, raises the LumaError of `send`. If the outcome is unknown, raises OutcomeUnknown, also
        after an unexpected exception, which is logged.
        """

        async def write(state: PurchaseState | None, task_id: str | None = None) -> None:
            await self._writer.write(Outcome(new, state, task_id, is_recorded))

        try:
            task_id = await send()
        except LumaError as exc:
            if not isinstance(exc, _MAY_HAVE_BOUGHT) or isinstance(exc, NothingSent):
                is_deleted = isinstance(exc, Unauthorized) or self._unaccepted.must_delete_refused(new.caller)
                await write(None if is_deleted else PurchaseState.REFUSED)
                raise
        except Exception as exc:  # noqa: BLE001 - the submission may have been sent
            self._faults.note(exc)
        else:
            await write(PurchaseState.STARTED, task_id)
            return PurchaseResult(task_id, replayed=False)
        self._unaccepted.record_unknown(new.caller)
        await write(PurchaseState.UNKNOWN)
        sentence = self._backend.say(OutcomeUnknown.template)
        raise OutcomeUnknown(f"{sentence} {UNKNOWN_BEFORE}" if new.keys else sentence)


def _legacy_lookup_error(exc: Exception) -> LumaError:
    """Return the error for the caller after a failed lookup of a key of release 1.0."""
    return exc if isinstance(exc, LumaError) else InternalError(REFUSED_WITHOUT_REDIS, retry_after_seconds=5.0)

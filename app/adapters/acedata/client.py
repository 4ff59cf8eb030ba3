"""How often AceDataCloud is asked, and for how long: questions again within a deadline, submissions once."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import stamina

from app.adapters.acedata.admission import BackendAdmission
from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.acedata.sender import AmbiguousOutcome, AnswerTooLarge, Call, RequestSender, reading_of
from app.domain.errors import BackendError, BackendTimeout, LumaError, OutcomeUnknown
from app.domain.principal import Principal
from app.ports.telemetry import Telemetry
from app.services.limits.backend_limits import BackendLimits
from app.services.log_throttle import ThrottledExceptionLog

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""Errors that httpx raises before it writes the first byte of a request."""

UNREACHABLE = "AceDataCloud cannot be reached from this service right now. Nothing was sent; try again shortly."

NOT_OFFERED = (
    "AceDataCloud does not offer this operation at the moment. Nothing was started or charged; if this goes on, ask "
    "the user to look at AceDataCloud's status page."
)

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for the backend, in seconds. Reads are tried again within `read_deadline`, submissions never."""

    connect: float = 5.0
    pool: float = 5.0
    read: float = 10.0
    read_deadline: float = 20.0
    submit: float = 30.0
    retries: int = 2
    first_pause: float = 0.25
    longest_pause: float = 5.0


@dataclass
class CallCounter:
    """The course of one reading, which may take several calls."""

    on_call: Callable[[], None] | None = None
    """Called before each call is sent."""

    calls: int = 0
    """Calls sent so far."""

    splits: int = 0
    """Times that ids were asked for again in two halves."""

    ends_at: float | None = None
    """The event loop's time at which all its calls are given up. The first call sets it."""

    def count(self) -> None:
        """Count one call that is about to be sent."""
        self.calls += 1
        if self.on_call is not None:
            self.on_call()


class AceDataClient:
    """POSTs JSON to one base URL over a pooled client."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        telemetry: Telemetry,
        patience: Timeouts,
        traffic: BackendLimits,
        *,
        purchases: httpx.AsyncClient | None = None,
    ) -> None:
        """Speak through `http`, whose base URL is AceDataCloud's, as `traffic` permits; submit through `purchases`."""
        self._gate = BackendAdmission(traffic, telemetry, patience.pool)
        self._exchanges = RequestSender(http, purchases or http, self._gate, telemetry)
        self._patience = patience
        self._faults = ThrottledExceptionLog(
            log,
            "A call to AceDataCloud met a fault of this service. The outcome of a submission is unknown then, and its "
            "caller is told so. A read is answered as if AceDataCloud had the fault.",
        )
        self._read_timeout = httpx.Timeout(patience.read, connect=patience.connect, pool=patience.pool)
        self._submit_timeout = httpx.Timeout(patience.submit, connect=patience.connect, pool=patience.pool)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._exchanges.aclose()

    async def check(self, path: str, seconds: float) -> int:
        """Return the status that a call without a token is answered with. Raises httpx.HTTPError."""
        return (await self._exchanges.post_without_token(path, seconds)).status_code

    async def read(
        self, path: str, principal: Principal, body: dict[str, Any], tally: CallCounter, translate: Callable[[Any], T]
    ) -> T:
        """Return what `translate` makes of the answer to a question that is free to ask twice. Raises LumaError.

        All questions of one `tally` share the deadline, with their retries and waits.
        """
        if tally.ends_at is None:
            tally.ends_at = asyncio.get_running_loop().time() + self._patience.read_deadline
        call = Call(path, body, self._read_timeout, translate)
        async with _deadline(tally.ends_at):
            try:
                return await self._read_once(principal, call, tally)
            except LumaError as fault:
                first = fault
            try:
                return await self._read_again(principal, call, tally, first)
            finally:
                del first  # a fault leads to this frame, and would stay until the garbage collector finds the circle

    async def _read_again(self, principal: Principal, call: Call[T], tally: CallCounter, first: LumaError) -> T:
        """Go on after a first read that failed: by the machinery of retries, which nearly all reads do without."""
        async for attempt in stamina.retry_context(
            on=self._worth_another,
            attempts=1 + self._patience.retries,
            timeout=self._patience.read_deadline,
            wait_initial=self._patience.first_pause,
            wait_max=self._patience.longest_pause,
            wait_jitter=self._patience.first_pause,
        ):
            with attempt:
                if attempt.num == 1:
                    raise first
                return await self._read_once(principal, call, tally)
        raise AssertionError  # pragma: no cover - the loop above returns or raises

    async def send_once(
        self,
        path: str,
        principal: Principal,
        body: dict[str, Any],
        private: tuple[str, ...],
        translate: Callable[[Any], T],
    ) -> T:
        """Return what `translate` makes of the answer to a call that costs money and is therefore sent once.

        It is sent when there is a place for it.

        `private` is text of the caller's that no error may quote. Raises LumaError, whose sentence says whether
        anything can have been started.
        """
        async with self._gate.submitting(principal):
            return await self._submit_once(principal, Call(path, body, self._submit_timeout, translate, private))

    async def _submit_once(self, principal: Principal, call: Call[T]) -> T:
        try:
            async with asyncio.timeout(self._patience.submit + self._patience.connect):
                return await self._exchanges.run(principal, call)
        except _NOT_SENT:
            fault: LumaError = BackendError(UNREACHABLE)
        except (httpx.HTTPError, TimeoutError, BackendTimeout, AmbiguousOutcome):
            fault = ACEDATACLOUD.error(OutcomeUnknown)
        except BackendError:
            fault = BackendError(NOT_OFFERED)
        except LumaError as complaint:
            fault = complaint.with_traceback(None)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the submission may have been sent
            self._faults.note(exc)
            fault = ACEDATACLOUD.error(OutcomeUnknown)
        raise fault  # without cause or past: what there was of an answer would stay for as long as anybody holds this

    async def _read_once(self, principal: Principal, call: Call[T], tally: CallCounter) -> T:
        try:
            async with self._gate.reading(principal):
                tally.count()
                return await self._exchanges.run(principal, call)
        except (httpx.HTTPError, LumaError, AmbiguousOutcome) as fault:
            reading = reading_of(fault).with_traceback(None)
        except Exception as exc:  # noqa: BLE001 - a fault with one answer must not cost the others of a batch
            self._faults.note(exc)
            reading = ACEDATACLOUD.error(BackendError)
        raise reading  # as above: the first one is held until the last retry is over

    def _worth_another(self, fault: Exception) -> bool | float:
        if not isinstance(fault, LumaError) or not fault.passes or isinstance(fault, AnswerTooLarge):
            return False
        if fault.retry_after_seconds is None:
            return True
        return fault.retry_after_seconds if fault.retry_after_seconds <= self._patience.longest_pause else False


@asynccontextmanager
async def _deadline(loop_time: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(loop_time):
            yield
    except TimeoutError as fault:
        raise ACEDATACLOUD.error(BackendTimeout) from fault

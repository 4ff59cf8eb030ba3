"""Retries and time-outs of calls to AceDataCloud: reads are retried within a deadline, submissions are sent once."""

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
from app.domain.access import Credential
from app.domain.errors import BackendError, BackendTimeout, LumaError, OutcomeUnknown
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
    """Time-outs in seconds. Reads are retried within `read_deadline`, submissions never."""

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
    """Counts the calls of one batch read, which share a deadline."""

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
        timeouts: Timeouts,
        backend_limits: BackendLimits,
        *,
        purchases: httpx.AsyncClient | None = None,
    ) -> None:
        """Send reads through `http`, whose base URL is AceDataCloud's, and submissions through `purchases`."""
        self._admission = BackendAdmission(backend_limits, telemetry, timeouts.pool)
        self._sender = RequestSender(http, purchases or http, self._admission, telemetry)
        self._timeouts = timeouts
        self._faults = ThrottledExceptionLog(
            log,
            "A call to AceDataCloud met a fault of this service. The outcome of a submission is unknown then, and its "
            "caller is told so. A read is answered as if AceDataCloud had the fault.",
        )
        self._read_timeout = httpx.Timeout(timeouts.read, connect=timeouts.connect, pool=timeouts.pool)
        self._submit_timeout = httpx.Timeout(timeouts.submit, connect=timeouts.connect, pool=timeouts.pool)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()

    async def check(self, path: str, seconds: float) -> int:
        """Return the status that a call without a token is answered with. Raises httpx.HTTPError."""
        return (await self._sender.post_without_token(path, seconds)).status_code

    async def read(
        self,
        path: str,
        credential: Credential,
        body: dict[str, Any],
        call_counter: CallCounter,
        translate: Callable[[Any], T],
    ) -> T:
        """Return what `translate` makes of the answer to a question that is free to ask twice. Raises LumaError.

        All questions of one `call_counter` share the deadline, with their retries and waits.
        """
        if call_counter.ends_at is None:
            call_counter.ends_at = asyncio.get_running_loop().time() + self._timeouts.read_deadline
        call = Call(path, body, self._read_timeout, translate)
        async with _deadline(call_counter.ends_at):
            try:
                return await self._read_once(credential, call, call_counter)
            except LumaError as exc:
                first = exc
            try:
                return await self._read_again(credential, call, call_counter, first)
            finally:
                del first  # a fault leads to this frame, and would stay until the garbage collector finds the circle

    async def _read_again(
        self, credential: Credential, call: Call[T], call_counter: CallCounter, first: LumaError
    ) -> T:
        """Go on after a first read that failed: by the machinery of retries, which nearly all reads do without."""
        async for attempt in stamina.retry_context(
            on=self._worth_another,
            attempts=1 + self._timeouts.retries,
            timeout=self._timeouts.read_deadline,
            wait_initial=self._timeouts.first_pause,
            wait_max=self._timeouts.longest_pause,
            wait_jitter=self._timeouts.first_pause,
        ):
            with attempt:
                if attempt.num == 1:
                    raise first
                return await self._read_once(credential, call, call_counter)
        raise AssertionError  # pragma: no cover - the loop above returns or raises

    async def send_once(
        self,
        path: str,
        credential: Credential,
        body: dict[str, Any],
        private: tuple[str, ...],
        translate: Callable[[Any], T],
    ) -> T:
        """Return what `translate` makes of the answer to a call that costs money and is therefore sent once.

        It is sent when there is a place for it.

        `private` is text of the caller's that no error may quote. Raises LumaError, whose sentence says whether
        anything can have been started.
        """
        async with self._admission.submitting(credential):
            return await self._submit_once(credential, Call(path, body, self._submit_timeout, translate, private))

    async def _submit_once(self, credential: Credential, call: Call[T]) -> T:
        try:
            async with asyncio.timeout(self._timeouts.submit + self._timeouts.connect):
                return await self._sender.run(credential, call)
        except _NOT_SENT:
            error: LumaError = BackendError(UNREACHABLE)
        except (httpx.HTTPError, TimeoutError, BackendTimeout, AmbiguousOutcome):
            error = ACEDATACLOUD.error(OutcomeUnknown)
        except BackendError:
            error = BackendError(NOT_OFFERED)
        except LumaError as complaint:
            error = complaint.with_traceback(None)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the submission may have been sent
            self._faults.note(exc)
            error = ACEDATACLOUD.error(OutcomeUnknown)
        raise error  # without __cause__ or traceback: their frames would keep the response body alive

    async def _read_once(self, credential: Credential, call: Call[T], call_counter: CallCounter) -> T:
        try:
            async with self._admission.reading(credential):
                call_counter.count()
                return await self._sender.run(credential, call)
        except (httpx.HTTPError, LumaError, AmbiguousOutcome) as error:
            reading = reading_of(error).with_traceback(None)
        except Exception as exc:  # noqa: BLE001 - a fault with one answer must not cost the others of a batch
            self._faults.note(exc)
            reading = ACEDATACLOUD.error(BackendError)
        raise reading  # as above: the first error is kept until the last retry

    def _worth_another(self, error: Exception) -> bool | float:
        if not isinstance(error, LumaError) or not error.is_retryable or isinstance(error, AnswerTooLarge):
            return False
        if error.retry_after_seconds is None:
            return True
        return error.retry_after_seconds if error.retry_after_seconds <= self._timeouts.longest_pause else False


@asynccontextmanager
async def _deadline(loop_time: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(loop_time):
            yield
    except TimeoutError as exc:
        raise ACEDATACLOUD.error(BackendTimeout) from exc

"""Calls to AceDataCloud with timeouts. Reads are retried within a deadline; submissions are sent once."""

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
from app.adapters.acedata.pool import BackendHttp
from app.adapters.acedata.sender import AmbiguousOutcome, Call, RequestSender, ResponseTooLarge, error_as_read
from app.domain.access import Credential
from app.domain.errors import BackendError, BackendTimeout, LumaError, OutcomeUnknown
from app.ports.telemetry import Telemetry
from app.services.limits.backend_limits import BackendLimits
from app.services.log_throttle import ThrottledExceptionLog

_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Exceptions that httpx raises before it writes the first byte of a request."""

UNREACHABLE = "AceDataCloud cannot be reached from this service right now. Nothing was sent; try again shortly."

NOT_OFFERED = (
    "AceDataCloud does not offer this operation at the moment. Nothing was started or charged; if this goes on, ask "
    "the user to look at AceDataCloud's status page."
)

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts and retry delays in seconds.

    Attributes:
        connect: for opening a connection.
        pool: for a free connection; for submissions, also for a place in the queue.
        read: between two bytes of the response to a read.
        read_deadline: for all calls of one batch read, including retries, their delays and the time in the queue.
        submit: for a submission after its time in the queue; `connect` is added for opening its connection.
        retries: maximum number of retries of a read.
        first_retry_delay: delay before the first retry; later delays grow exponentially.
        longest_retry_delay: longest delay before a retry. If Retry-After is longer, there is no retry.

    """

    connect: float = 5.0
    pool: float = 5.0
    read: float = 10.0
    read_deadline: float = 20.0
    submit: float = 30.0
    retries: int = 2
    first_retry_delay: float = 0.25
    longest_retry_delay: float = 5.0


@dataclass
class CallCounter:
    """Counts the calls of one batch read, and holds their common deadline."""

    on_call: Callable[[], None] | None = None
    """Called before each call is sent."""

    calls: int = 0
    """Calls sent so far."""

    splits: int = 0
    """Number of times that ids were halved and read again, because the response was too large."""

    deadline: float | None = None
    """Deadline of all calls, in event loop time. The first call sets it."""

    def count(self) -> None:
        """Count one call that is about to be sent."""
        self.calls += 1
        if self.on_call is not None:
            self.on_call()


class AceDataClient:
    """Sends reads and submissions to AceDataCloud, with timeouts, retries and concurrency limits."""

    def __init__(  # noqa: PLR0913 - two connection pools
        self,
        http: BackendHttp,
        telemetry: Telemetry,
        timeouts: Timeouts,
        backend_limits: BackendLimits,
        *,
        submission_http: BackendHttp | None = None,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Send submissions through `submission_http`, if given, and other calls through `http`.

        `on_refusal` is called for each submission that was refused because it waited too long for its turn.
        """
        self._admission = BackendAdmission(backend_limits, telemetry, timeouts.pool, on_refusal)
        self._sender = RequestSender(http, submission_http or http, self._admission, telemetry)
        self._timeouts = timeouts
        self._unexpected_exceptions = ThrottledExceptionLog(
            log,
            "A call to AceDataCloud failed because of a bug in this service: an unexpected exception. The caller of a "
            "submission gets the error for an unknown outcome, and the caller of a read a backend error. Report it",
        )
        self._read_timeout = httpx.Timeout(timeouts.read, connect=timeouts.connect, pool=timeouts.pool)
        self._submit_timeout = httpx.Timeout(timeouts.submit, connect=timeouts.connect, pool=timeouts.pool)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()

    async def probe(self, path: str, timeout_seconds: float) -> int:
        """Return the HTTP status of a call without a token. Raises httpx.HTTPError."""
        return await self._sender.post_without_token(path, timeout_seconds)

    async def read(
        self,
        path: str,
        credential: Credential,
        body: dict[str, Any],
        call_counter: CallCounter,
        translate: Callable[[Any], T],
    ) -> T:
        """Send a read, with retries. Return the result of `translate` for the decoded response. Raises LumaError.

        The calls of one `call_counter` share a deadline, which includes retries, delays and time in the queue.
        """
        if call_counter.deadline is None:
            call_counter.deadline = asyncio.get_running_loop().time() + self._timeouts.read_deadline
        call = Call(path, body, self._read_timeout, translate)
        async with _until(call_counter.deadline):
            try:
                return await self._read_once(credential, call, call_counter)
            except LumaError as exc:
                first_error = exc
            try:
                return await self._retry_read(credential, call, call_counter, first_error)
            finally:
                del first_error  # break the reference cycle: the exception's traceback refers to this frame

    async def _retry_read(
        self, credential: Credential, call: Call[T], call_counter: CallCounter, first_error: LumaError
    ) -> T:
        """Retry a read whose first attempt failed with `first_error`. Raises that error if it is not to be retried.

        The first attempt is made without stamina, because nearly all reads need no retry.
        """
        async for attempt in stamina.retry_context(
            on=self._should_retry,
            attempts=1 + self._timeouts.retries,
            timeout=self._timeouts.read_deadline,
            wait_initial=self._timeouts.first_retry_delay,
            wait_max=self._timeouts.longest_retry_delay,
            wait_jitter=self._timeouts.first_retry_delay,
        ):
            with attempt:
                if attempt.num == 1:
                    raise first_error
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
        """Send a submission once the concurrency limit has a free slot. It is never retried, because it costs money.

        Return the result of `translate` for the decoded response. No error quotes the `private` texts. Raises
        OutcomeUnknown if a generation may have been started, and another LumaError if not.
        """
        async with self._admission.submitting(credential):
            call = Call(path, body, self._submit_timeout, translate, private, is_read=False)
            return await self._submit_once(credential, call)

    async def _submit_once(self, credential: Credential, call: Call[T]) -> T:
        try:
            async with asyncio.timeout(self._timeouts.submit + self._timeouts.connect):
                return await self._sender.run(credential, call)
        except _UNSENT:
            error: LumaError = BackendError(UNREACHABLE)
        except (httpx.HTTPError, TimeoutError, BackendTimeout, AmbiguousOutcome):
            error = ACEDATACLOUD.error(OutcomeUnknown)
        except BackendError:  # the only refusal of this class is api_not_implemented: nothing was started
            error = BackendError(NOT_OFFERED)
        except LumaError as exc:
            error = exc.with_traceback(None)
        except Exception as exc:  # noqa: BLE001 - the submission may have been sent
            self._unexpected_exceptions.note(exc)
            error = ACEDATACLOUD.error(OutcomeUnknown)
        raise error  # without __cause__ or traceback: their frames would keep the response body alive

    async def _read_once(self, credential: Credential, call: Call[T], call_counter: CallCounter) -> T:
        try:
            async with self._admission.reading(credential):
                call_counter.count()
                return await self._sender.run(credential, call)
        except (httpx.HTTPError, LumaError, AmbiguousOutcome) as exc:
            error = error_as_read(exc).with_traceback(None)
        except Exception as exc:  # noqa: BLE001 - an unexpected exception must not fail the other calls of a batch
            self._unexpected_exceptions.note(exc)
            error = ACEDATACLOUD.error(BackendError)
        raise error  # without traceback, as above: the first error is kept until the last retry

    def _should_retry(self, error: Exception) -> bool | float:
        """Return whether to retry a read; a number is the delay in seconds that Retry-After asks for."""
        if not isinstance(error, LumaError) or not error.is_retryable or isinstance(error, ResponseTooLarge):
            return False
        if error.retry_after_seconds is None:
            return True
        return error.retry_after_seconds if error.retry_after_seconds <= self._timeouts.longest_retry_delay else False


@asynccontextmanager
async def _until(loop_time: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(loop_time):
            yield
    except TimeoutError as exc:
        raise ACEDATACLOUD.error(BackendTimeout) from exc

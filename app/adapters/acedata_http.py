"""One exchange with AceDataCloud: bounded in time and size, and honest about whether it may be repeated."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import stamina

from app.adapters.acedata_body import (
    LARGEST_ANSWER_BYTES,
    AnswerMemory,
    BodyTooLarge,
    Held,
    UnusableBody,
    decoded,
    read_body,
)
from app.adapters.acedata_errors import (
    code_for_log,
    complaint_in,
    error_for,
    started_nothing,
)
from app.adapters.acedata_gate import BackendGate
from app.adapters.checked_network import without_location
from app.domain.errors import (
    BackendError,
    BackendTimeout,
    InternalError,
    LumaError,
    OutcomeUnknown,
)
from app.domain.principal import Principal
from app.ports import Telemetry
from app.services.traffic import Traffic

LEAST_ANSWER_BYTES = 128 * 1024
BYTES_A_RECORD = 128 * 1024
"""An answer may have 128 KiB, and as much for each id: a record echoes its prompt twice, and JSON writes an emoji as 12
bytes, so that 5,000 of them take 120 KB."""

MOST_ANSWERS_BYTES = 64 * 1024 * 1024
"""Bytes of all answers that are being read in this process."""

LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""A longer wait than this is not believed."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""What httpx raises before the first byte of a request has left."""

UNREACHABLE = "AceDataCloud cannot be reached from this service right now. Nothing was sent; try again shortly."

NOT_OFFERED = (
    "AceDataCloud does not offer this operation at the moment. Nothing was started or charged; if this goes on, ask "
    "the user to look at AceDataCloud's status page."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
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
class Tally:
    """The course of one reading: calls made so far, of which `on_call` hears before each, and times ids were split."""

    on_call: Callable[[], None] | None = None
    calls: int = 0
    splits: int = 0
    ends_at: float | None = None
    """The event loop's time at which all its calls are given up; the first one sets it."""

    def count(self) -> None:
        """Count one call that is about to be sent."""
        self.calls += 1
        if self.on_call is not None:
            self.on_call()


@dataclass(frozen=True, slots=True)
class _Call:
    """What is sent, and the text of the caller's that no error may quote; a question has none, and buys nothing."""

    path: str
    body: dict[str, Any]
    limits: httpx.Timeout
    private: tuple[str, ...] | None = None

    @property
    def is_question(self) -> bool:
        return self.private is None

    @property
    def largest_answer_bytes(self) -> int:
        records = len(self.body.get("ids", ("one",)))
        return min(LEAST_ANSWER_BYTES + BYTES_A_RECORD * records, LARGEST_ANSWER_BYTES)


class AceDataClient:
    """POSTs JSON to one base URL over a pooled client."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        telemetry: Telemetry,
        patience: Patience,
        traffic: Traffic,
        *,
        purchases: httpx.AsyncClient | None = None,
    ) -> None:
        """Speak through `http`, whose base URL is AceDataCloud's, as `traffic` permits; submit through `purchases`."""
        self._http = http
        self._purchases = purchases or http
        self._memory = AnswerMemory(MOST_ANSWERS_BYTES)
        self._gate = BackendGate(traffic, telemetry, patience.pool)
        self._telemetry = telemetry
        self._patience = patience
        self._urls: dict[str, httpx.URL] = {}
        self._read_timeout = httpx.Timeout(patience.read, connect=patience.connect, pool=patience.pool)
        self._submit_timeout = httpx.Timeout(patience.submit, connect=patience.connect, pool=patience.pool)

    async def read(self, path: str, principal: Principal, body: dict[str, Any], tally: Tally) -> Any:
        """Return the decoded answer to a question that is free to ask twice. Raises LumaError.

        All questions of one `tally` share the deadline, with their retries and waits.
        """
        if tally.ends_at is None:
            tally.ends_at = asyncio.get_running_loop().time() + self._patience.read_deadline
        async with _deadline(tally.ends_at):
            try:
                return await self._read_once(path, principal, body, tally)
            except LumaError as fault:
                first = fault
            try:
                return await self._read_again(path, principal, body, tally, first)
            finally:
                del first  # a fault leads to this frame, and would stay until the garbage collector finds the circle

    async def _read_again(
        self, path: str, principal: Principal, body: dict[str, Any], tally: Tally, first: LumaError
    ) -> Any:
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
                return await self._read_once(path, principal, body, tally)
        raise AssertionError  # pragma: no cover - the loop above returns or raises

    async def send_once(
        self, path: str, principal: Principal, body: dict[str, Any], private: tuple[str, ...]
    ) -> dict[str, Any]:
        """Return the answer to a call that costs money and is therefore sent once, when there is a place for it.

        `private` is text of the caller's that no error may quote. Raises LumaError, whose sentence says whether
        anything can have been started.
        """
        async with self._gate.submitting(principal):
            return await self._submit_once(path, principal, body, private)

    async def _submit_once(
        self, path: str, principal: Principal, body: dict[str, Any], private: tuple[str, ...]
    ) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._patience.submit + self._patience.connect):
                return _object(await self._exchange(principal, _Call(path, body, self._submit_timeout, private)))
        except _NOT_SENT:
            fault: LumaError = BackendError(UNREACHABLE)
        except (httpx.HTTPError, TimeoutError, BackendTimeout, _OpenEnded):
            fault = OutcomeUnknown()
        except BackendError:
            fault = BackendError(NOT_OFFERED)
        except LumaError as complaint:
            fault = complaint.with_traceback(None)
        raise fault  # without cause or past: what there was of an answer would stay for as long as anybody holds this

    async def _read_once(self, path: str, principal: Principal, body: dict[str, Any], tally: Tally) -> Any:
        try:
            async with self._gate.reading(principal):
                tally.count()
                return await self._exchange(principal, _Call(path, body, self._read_timeout))
        except (httpx.HTTPError, LumaError, _OpenEnded) as fault:
            reading = _reading(fault).with_traceback(None)
        raise reading  # as above: the first one is held until the last retry is over

    async def _exchange(self, principal: Principal, call: "_Call") -> Any:
        outcome, started = "ok", time.perf_counter()
        headers = {"authorization": f"Bearer {principal.credential}"}
        try:
            http, url = self._http if call.is_question else self._purchases, self._url(call.path)
            async with (
                self._memory.held() as held,
                http.stream("POST", url, json=call.body, headers=headers, timeout=call.limits) as response,
            ):
                content = await _content(without_location(response), call.largest_answer_bytes, held)
                return self._judged(principal, call, response, content)
        except BaseException as fault:
            outcome = _outcome(fault)
            if isinstance(fault, httpx.HTTPError):
                log.info("AceDataCloud gave no whole answer", extra={"path": call.path, "fault": type(fault).__name__})
            raise
        finally:
            self._telemetry.backend_called(call.path, outcome, time.perf_counter() - started)

    def _judged(self, principal: Principal, call: "_Call", response: httpx.Response, content: bytearray) -> Any:
        """Return the decoded body of a success. Raises LumaError for a complaint, whatever status it came with."""
        body = decoded(content)
        if response.is_success and not isinstance(body, str) and not _complains(body):
            self._gate.was_answered(principal)
            return body
        complaint = complaint_in(body)
        self._gate.was_turned_down(principal, complaint, response.status_code)
        status = 500 if response.is_success else response.status_code
        private = (*(call.private or ()), principal.credential)
        error = error_for(complaint, status, private=private, is_question=call.is_question)
        if error.passes:
            error.retry_after_seconds = retry_after_seconds(response.headers.get("retry-after"), time.time())
        # The message stays out: it may repeat a prompt, an id or a token in a form that no search would find.
        facts = {
            "path": call.path,
            "status": response.status_code,
            "code": code_for_log(complaint),
            "bytes": len(content),
        }
        log.info("AceDataCloud complained", extra=facts)
        raise error if started_nothing(complaint, response.status_code, body) else _OpenEnded(error)

    def _url(self, path: str) -> httpx.URL:
        """Return the whole URL, which httpx would put together and parse anew for every call."""
        if path not in self._urls:
            self._urls[path] = httpx.URL(f"{str(self._http.base_url).rstrip('/')}{path}")
        return self._urls[path]

    def _worth_another(self, fault: Exception) -> bool | float:
        if not isinstance(fault, LumaError) or not fault.passes or isinstance(fault, AnswerTooLarge):
            return False
        if fault.retry_after_seconds is None:
            return True
        return fault.retry_after_seconds if fault.retry_after_seconds <= self._patience.longest_pause else False


class AnswerTooLarge(BackendError):
    """The answer to a question has more bytes than one for as many ids may have. Fewer ids may be answered."""


class _OpenEnded(Exception):
    """An answer that does not say whether anything was started: anything but a success or a documented refusal.

    AceDataCloud's billing FAQ says that a 5xx is not charged; whether nothing is started then, nobody says.

    `reading` is what it means for a question; for a submission it leaves the outcome unknown.
    """

    def __init__(self, reading: LumaError) -> None:
        super().__init__(reading.code)
        self.reading = reading


def _reading(fault: httpx.HTTPError | LumaError | _OpenEnded) -> LumaError:
    """Return what a failed exchange means for a question."""
    match fault:
        case LumaError():
            return fault
        case _OpenEnded():
            return fault.reading
        case httpx.TimeoutException():
            return BackendTimeout()
    return BackendError()


def _outcome(fault: BaseException) -> str:
    """Return what a failed exchange is counted as; "cancelled" where a deadline or the caller ended it."""
    match fault:
        case httpx.HTTPError() | LumaError() | _OpenEnded():
            return _reading(fault).code
        case asyncio.CancelledError():
            return "cancelled"
    return InternalError.code


@asynccontextmanager
async def _deadline(loop_time: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(loop_time):
            yield
    except TimeoutError as fault:
        raise BackendTimeout from fault


async def _content(response: httpx.Response, most: int, held: Held) -> bytearray:
    try:
        return await read_body(response, most, held)
    except BodyTooLarge:
        raise _OpenEnded(AnswerTooLarge()) from None
    except UnusableBody:
        raise _OpenEnded(BackendError()) from None


def _object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise _OpenEnded(BackendError())
    return answer


def _complains(body: Any) -> bool:
    """Whether an answer with a good status is an error all the same, and no record or list of records."""
    if not isinstance(body, dict) or "items" in body or "id" in body:
        return False
    return body.get("success") is False or bool(body.get("error"))


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Return the wait that a Retry-After header asks for, in either of its two forms; None where it asks for none."""
    if header is None:
        return None
    try:
        wait = float(header) if header.strip().isdecimal() else parsedate_to_datetime(header).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait), LONGEST_RETRY_AFTER_SECONDS)

"""Sends one request to AceDataCloud, reads its bounded answer, and classifies it."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

import httpx

from app.adapters.acedata.admission import BackendAdmission
from app.adapters.acedata.body import (
    LARGEST_ANSWER_BYTES,
    AnswerMemory,
    BodyTooLarge,
    Held,
    UnusableBody,
    decoded,
    expansion,
    read_body,
)
from app.adapters.acedata.errors import code_for_log, complaint_in, error_for, started_nothing
from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.checked_network import without_location
from app.domain.access import Credential
from app.domain.errors import BackendError, BackendTimeout, InternalError, LumaError
from app.ports.telemetry import Telemetry

LEAST_ANSWER_BYTES = 128 * 1024
"""The bound of an answer is this, and BYTES_A_RECORD for each id that was asked."""

BYTES_A_RECORD = 128 * 1024
"""A record echoes its prompt twice. JSON may write an emoji as 12 bytes, so that the longest prompt takes 60 KB."""

MOST_ANSWERS_BYTES = 40 * 1024 * 1024
"""Bytes of all answers that are being read in this process; one of the greatest takes 36 MB while it is decoded."""

LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""A longer wait than this is not believed."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request.

    `translate` makes of a decoded answer what is kept of it, in the step in which it is decoded: a body takes up to ten
    times its bytes, and only one at a time. Its exceptions pass through.

    `private` is text of the caller's that no error may quote; None marks a question, which buys nothing.
    """

    path: str
    body: dict[str, Any]
    limits: httpx.Timeout
    translate: Callable[[Any], T]
    private: tuple[str, ...] | None = None

    @property
    def is_question(self) -> bool:
        """Whether the call reads, and so may be sent again."""
        return self.private is None

    @property
    def largest_answer_bytes(self) -> int:
        """The most bytes that its answer may have."""
        records = len(self.body.get("ids", ("one",)))
        return min(LEAST_ANSWER_BYTES + BYTES_A_RECORD * records, LARGEST_ANSWER_BYTES)


class AnswerTooLarge(BackendError):
    """The answer to a question has more bytes than one for as many ids may have. Fewer ids may be answered."""


class AmbiguousOutcome(Exception):
    """An answer that is neither a success nor a documented refusal, and so does not say whether anything was started.

    AceDataCloud's billing FAQ says that a 5xx is not charged. No document says whether a task may have been started.

    A question that is answered like this failed with `reading`; the outcome of a submission is unknown.
    """

    def __init__(self, reading: LumaError) -> None:
        """Stand for `reading` where the call was a question."""
        super().__init__(reading.code)
        self.reading = reading


class RequestSender:
    """Sends each call once, and counts and logs its outcome."""

    def __init__(
        self, http: httpx.AsyncClient, purchases: httpx.AsyncClient, admission: BackendAdmission, telemetry: Telemetry
    ) -> None:
        """Send questions through `http`, whose base URL is AceDataCloud's, and all other calls through `purchases`."""
        self._http = http
        self._purchases = purchases
        self._admission = admission
        self._telemetry = telemetry
        self._memory = AnswerMemory(MOST_ANSWERS_BYTES)
        self._urls: dict[str, httpx.URL] = {}

    async def run(self, credential: Credential, call: Call[T]) -> T:
        """Return what `call` makes of its answer.

        Raises LumaError, AmbiguousOutcome, httpx.HTTPError, and whatever `translate` raises.
        """
        outcome, started = "ok", time.perf_counter()
        headers = {"authorization": f"Bearer {credential.secret}"}
        try:
            http, url = self._http if call.is_question else self._purchases, self._url(call.path)
            async with (
                self._memory.held() as held,
                http.stream("POST", url, json=call.body, headers=headers, timeout=call.limits) as response,
            ):
                content = await _content(without_location(response), call.largest_answer_bytes, held)
                return self._translated(credential, call, response, content)
        except BaseException as exc:
            outcome = _outcome(exc)
            if isinstance(exc, httpx.HTTPError):
                log.info("AceDataCloud gave no whole answer", extra={"path": call.path, "fault": type(exc).__name__})
            raise
        finally:
            self._telemetry.backend_called(call.path, outcome, time.perf_counter() - started)

    async def aclose(self) -> None:
        """Close the connections of both kinds."""
        await self._purchases.aclose()
        await self._http.aclose()

    async def post_without_token(self, path: str, seconds: float) -> httpx.Response:
        """Return the answer to an empty call: nothing can be started or charged. Raises httpx.HTTPError."""
        return await self._http.post(path, json={}, timeout=seconds)

    def _translated(self, credential: Credential, call: Call[T], response: httpx.Response, content: bytearray) -> T:
        """Return what `call` makes of the body of a success. Raises LumaError and AmbiguousOutcome for a complaint.

        Nothing of the body stays, not even in the frames of an exception, while the connection is given back.
        """
        size, body = len(content), decoded(content)
        content.clear()
        try:
            if response.is_success and not isinstance(body, str) and not _complains(body):
                self._admission.was_answered(credential)
                return call.translate(body)
            error = self._fault(credential, call, response, body, size)
        except (LumaError, AmbiguousOutcome) as exc:
            error = exc.with_traceback(None)
        finally:
            del body
        try:
            raise error
        finally:
            del error  # as in AceDataClient.read: a circle would keep the answer and its connection

    def _fault(
        self, credential: Credential, call: Call[T], response: httpx.Response, body: Any, size: int
    ) -> LumaError | AmbiguousOutcome:
        """Return what a complaint means, whatever status it came with."""
        complaint = complaint_in(body)
        self._admission.was_turned_down(credential, complaint, response.status_code)
        status = 500 if response.is_success else response.status_code
        private = (*(call.private or ()), credential.secret)
        error = error_for(complaint, status, private=private, is_question=call.is_question)
        if error.is_retryable:
            error.retry_after_seconds = retry_after_seconds(response.headers.get("retry-after"), time.time())
        # The message stays out: it may repeat a prompt, an id or a token in a form that no search would find.
        facts = {"path": call.path, "status": response.status_code, "code": code_for_log(complaint), "bytes": size}
        log.info("AceDataCloud complained", extra=facts)
        return error if started_nothing(complaint, response.status_code, body) else AmbiguousOutcome(error)

    def _url(self, path: str) -> httpx.URL:
        """Return the whole URL, which httpx would put together and parse anew for every call."""
        if path not in self._urls:
            self._urls[path] = httpx.URL(f"{str(self._http.base_url).rstrip('/')}{path}")
        return self._urls[path]


def reading_of(error: httpx.HTTPError | LumaError | AmbiguousOutcome) -> LumaError:
    """Return what a failed exchange means for a question."""
    match error:
        case LumaError():
            return error
        case AmbiguousOutcome():
            return error.reading
        case httpx.TimeoutException():
            return ACEDATACLOUD.error(BackendTimeout)
    return ACEDATACLOUD.error(BackendError)


def _outcome(error: BaseException) -> str:
    """Return what a failed exchange is counted as; "cancelled" where a deadline or the caller ended it."""
    match error:
        case httpx.HTTPError() | LumaError() | AmbiguousOutcome():
            return reading_of(error).code
        case asyncio.CancelledError():
            return "cancelled"
    return InternalError.code


async def _content(response: httpx.Response, most: int, held: Held) -> bytearray:
    """Return the body, when there is memory for what becomes of it besides. Raises AmbiguousOutcome."""
    try:
        content = await read_body(response, most, held)
        held.grow(expansion(content))
    except BodyTooLarge:
        raise AmbiguousOutcome(ACEDATACLOUD.error(AnswerTooLarge)) from None
    except UnusableBody:
        raise AmbiguousOutcome(ACEDATACLOUD.error(BackendError)) from None
    return content


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

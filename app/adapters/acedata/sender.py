"""Sends a single request to AceDataCloud, reads its response within limits, and classifies it."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

import httpx

from app.adapters.acedata.admission import BackendAdmission
from app.adapters.acedata.body import (
    MAX_RESPONSE_BYTES,
    BodyTooLarge,
    Reservation,
    ResponseMemory,
    UnusableBody,
    decoded,
    read_body,
)
from app.adapters.acedata.errors import code_for_log, error_fields_in, error_for, started_nothing
from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.acedata.pool import BackendHttp
from app.domain.access import Credential
from app.domain.errors import BackendError, BackendTimeout, InternalError, LumaError
from app.ports.telemetry import Telemetry

RESPONSE_BASE_BYTES = 128 * 1024
"""The size limit of a response is this, plus RECORD_BYTES for each requested id."""

RECORD_BYTES = 128 * 1024
"""A record echoes its prompt twice. JSON may escape an emoji as 12 bytes, so the longest prompt takes 60 KB."""

MAX_RESPONSES_BYTES = 12 * 1024 * 1024
"""Limit for the bodies of all responses to reads that this process is reading, which is three of the largest.

Decoding is not counted, because one body is decoded at a time: the largest one takes 8 to 32 MB then.
"""

MAX_SUBMISSION_RESPONSES_BYTES = 4 * 1024 * 1024
"""As MAX_RESPONSES_BYTES, for submissions: 16 in flight with 256 KB each. Reads cannot use up this memory.

A submission whose response cannot be read has an unknown outcome, although its video may have been charged.
"""

MAX_RETRY_AFTER_SECONDS = 3600.0
"""Longer delays in Retry-After are shortened to this."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request.

    Attributes:
        path: the path below AceDataCloud's base URL.
        body: the JSON body.
        timeout: the timeouts of the request.
        translate: converts the decoded body of a success into the result of the call; its exceptions are passed on. It
            is called in the event loop step that decodes the body, so that only one decoded body, which takes up to ten
            times its bytes, exists at a time.
        private: the caller's texts in a submission, which no error may quote.
        is_read: whether the call is a read, which is free and may be retried, or a submission.

    """

    path: str
    body: dict[str, Any]
    timeout: httpx.Timeout
    translate: Callable[[Any], T]
    private: tuple[str, ...] = ()
    is_read: bool = True

    @property
    def largest_response_bytes(self) -> int:
        """Size limit of the response."""
        records = len(self.body.get("ids", ("one",)))
        return min(RESPONSE_BASE_BYTES + RECORD_BYTES * records, MAX_RESPONSE_BYTES)


class ResponseTooLarge(BackendError):
    """The response to a read exceeds the size limit for its number of ids. A read of fewer ids may succeed."""


class AmbiguousOutcome(Exception):
    """A response is neither a success nor a documented refusal. If the call is a submission, it may have been started.

    If the call is a read, it has failed with `read_error`. AceDataCloud's billing FAQ says that a 5xx is not charged;
    no document says whether a task may have been started.
    """

    def __init__(self, read_error: LumaError) -> None:
        """Hold the error that a read fails with."""
        super().__init__(read_error.code)
        self.read_error = read_error


class RequestSender:
    """Sends each call once, counts its outcome, and logs failures."""

    def __init__(
        self,
        http: BackendHttp,
        submission_http: BackendHttp,
        admission: BackendAdmission,
        telemetry: Telemetry,
    ) -> None:
        """Send reads through `http`, and submissions through `submission_http`."""
        self._http = http
        self._submission_http = submission_http
        self._admission = admission
        self._telemetry = telemetry
        self._memory = ResponseMemory(MAX_RESPONSES_BYTES)
        self._submission_memory = ResponseMemory(MAX_SUBMISSION_RESPONSES_BYTES)
        self._urls: dict[str, httpx.URL] = {}

    async def run(self, credential: Credential, call: Call[T]) -> T:
        """Send `call` and return its translated response.

        Raises LumaError for a documented refusal, AmbiguousOutcome, httpx.HTTPError, and the exceptions of `translate`.
        """
        outcome, started_at = "ok", time.perf_counter()
        headers = {"authorization": f"Bearer {credential.secret}"}
        try:
            http, url = self._http if call.is_read else self._submission_http, self._url(call.path)
            memory = self._memory if call.is_read else self._submission_memory
            async with (
                memory.reservation() as reservation,
                aclosing(
                    await http.send("POST", url, json=call.body, headers=headers, timeouts=call.timeout)
                ) as response,
            ):
                content = await _content(response, call.largest_response_bytes, reservation)
                if call.is_read:
                    await self._admission.wait_to_decode(credential, len(content))
                return self._translate(credential, call, response, content)
        except BaseException as exc:
            outcome = _outcome_label(exc)
            if isinstance(exc, httpx.HTTPError):
                failure = {"path": call.path, "fault": type(exc).__name__}
                log.info("The call to AceDataCloud failed before a complete response", extra=failure)
            raise
        finally:
            self._telemetry.backend_called(call.path, outcome, time.perf_counter() - started_at)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._submission_http.aclose()
        await self._http.aclose()

    async def post_without_token(self, path: str, seconds: float) -> int:
        """Send an empty object without a token, which cannot start or charge anything. Return the status.

        Raises httpx.HTTPError.
        """
        timeouts = httpx.Timeout(seconds)
        async with aclosing(await self._http.send("POST", self._url(path), json={}, timeouts=timeouts)) as response:
            return response.status_code

    def _translate(self, credential: Credential, call: Call[T], response: httpx.Response, content: bytearray) -> T:
        """Return the translated body of a success. Raises LumaError or AmbiguousOutcome for an error.

        Record in both cases whether AceDataCloud has accepted the token, as far as the response shows it.

        No reference to the body is left afterwards, not even by the traceback of an exception. The body is then freed
        before the connection is released.
        """
        size, body = len(content), decoded(content)
        content.clear()
        try:
            if response.is_success and not isinstance(body, str) and not _is_error_body(body):
                self._admission.record_success(credential)
                return call.translate(body)
            error = self._error_of(credential, call, response, body, size)
        except (LumaError, AmbiguousOutcome) as exc:
            error = exc.with_traceback(None)
        finally:
            del body
        try:
            raise error
        finally:
            del error  # as in AceDataClient.read: a reference cycle would keep the response and its connection alive

    def _error_of(
        self, credential: Credential, call: Call[T], response: httpx.Response, body: Any, size: int
    ) -> LumaError | AmbiguousOutcome:
        """Return the exception for an error response. Log the error, and record whether it shows an invalid token.

        The response may have a success status.
        """
        error_fields = error_fields_in(body)
        self._admission.record_error(credential, error_fields, response.status_code)
        status = 500 if response.is_success else response.status_code
        private = (*call.private, credential.secret)
        error = error_for(error_fields, status, private_texts=private, is_read=call.is_read)
        if error.is_retryable:
            error.retry_after_seconds = retry_after_seconds(response.headers.get("retry-after"), time.time())
        # The message is not logged: it may repeat a prompt, an id or a token in a form that redaction cannot detect.
        extra = {"path": call.path, "status": response.status_code, "code": code_for_log(error_fields), "bytes": size}
        log.info("AceDataCloud returned an error", extra=extra)
        return error if started_nothing(error_fields, response.status_code, body) else AmbiguousOutcome(error)

    def _url(self, path: str) -> httpx.URL:
        """Return the absolute URL of `path`. It is cached, because httpx would parse it for every call."""
        if path not in self._urls:
            self._urls[path] = self._http.url(path)
        return self._urls[path]


def error_as_read(error: httpx.HTTPError | LumaError | AmbiguousOutcome) -> LumaError:
    """Return `error` as the error of a read."""
    match error:
        case LumaError():
            return error
        case AmbiguousOutcome():
            return error.read_error
        case httpx.TimeoutException():
            return ACEDATACLOUD.error(BackendTimeout)
    return ACEDATACLOUD.error(BackendError)


def _outcome_label(error: BaseException) -> str:
    """Return the outcome of a failed read or submission for the metrics: the code of the error that a read would get.

    It is "cancelled" if a deadline or the caller cancelled the call, and the code of InternalError if it is a bug.
    """
    match error:
        case httpx.HTTPError() | LumaError() | AmbiguousOutcome():
            return error_as_read(error).code
        case asyncio.CancelledError():
            return "cancelled"
    return InternalError.code


async def _content(response: httpx.Response, max_bytes: int, reservation: Reservation) -> bytearray:
    """Read the body. Raises AmbiguousOutcome and httpx.HTTPError."""
    try:
        return await read_body(response, max_bytes, reservation)
    except BodyTooLarge:
        raise AmbiguousOutcome(ACEDATACLOUD.error(ResponseTooLarge)) from None
    except UnusableBody:
        raise AmbiguousOutcome(ACEDATACLOUD.error(BackendError)) from None


def _is_error_body(body: Any) -> bool:
    """Return whether a body with a success status is an error, and neither a record nor a list of records."""
    if not isinstance(body, dict) or "items" in body or "id" in body:
        return False
    return body.get("success") is False or bool(body.get("error"))


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Return the delay of a Retry-After header in seconds; None if it is absent or malformed.

    The header has seconds or an HTTP date (RFC 9110). `now` is in Unix seconds.
    """
    if header is None:
        return None
    try:
        wait = float(header) if header.strip().isdecimal() else parsedate_to_datetime(header).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait), MAX_RETRY_AFTER_SECONDS)

"""Middleware that limits the memory of requests in flight, per token and in total.

Bytes are limited rather than requests, because the sizes of requests differ widely. A request is counted to the end of
its response. FairSchedulingMiddleware counts long heads (request line and headers). The connection counts
the response bytes in its send buffer (app/web/connection).
"""

from collections.abc import Callable
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import RateLimited
from app.ports.auth import Caller
from app.services.limits.caller_quota import CallerQuota
from app.services.limits.memory_lease import MEMORY_LEASE, MemoryLease
from app.web.asgi import send_error
from app.web.connection.disconnects import DISCONNECT_SIGNAL
from app.web.middleware.bearer_auth import CALLER

PARTIAL_REQUEST_BYTES = 12_000
"""Memory of a request whose body has not fully arrived, in addition to the body itself.

Measured with 1,200 such requests: 19 KB each, of which 7 KB are the connection's.
"""

REQUEST_BYTES = 46_000
"""Memory of any complete request in flight. Measured with 1,200 waiting calls: 44 KB each, without the connection."""

STREAM_BYTES = 46_000
"""Additional memory of a request whose response is an event stream.

Measured with 600 streams: 46 KB each in protocol revisions before 2026-07-28, and 25 KB from it on.
"""

HEAD_ALLOWANCE_BYTES = 4_000
"""Size of a head that PARTIAL_REQUEST_BYTES covers. The head of a usual client takes 3 KB.

FairSchedulingMiddleware counts the bytes above this size, for requests of all paths.
"""


DECODED_FACTOR = 5
"""Memory for each byte of a body beside the body itself: text of up to four bytes a character, and parsed values."""

ELEMENT_BYTES, OBJECT_BYTES, QUOTE_BYTES, MEMBER_BYTES = 45, 250, 35, 40
"""Additional memory for each element, object, quotation mark and member name in a JSON body."""

RESPONSE_FACTOR = 2
"""Memory for each byte of a response: once in its parts, once in the joined body."""

RESPONSE_ALLOWANCE_BYTES = 32 * 1024
"""Size of a response that REQUEST_BYTES covers. A batch of 50 tasks and the list of tools are smaller."""

SMALL_PART_BYTES = 8 * 1024
"""A part of a response up to this size is never refused, because it may be all that names a task that was bought."""

REQUEST_MEMORY = "luma_mcp.request_memory"
"""Key of the RequestMemory in the ASGI scope of a request."""

RETRY_AFTER_SECONDS = 5
MEMORY_USED_UP = (
    "The requests in flight with this token, or those of all tokens together, use all the memory that this service "
    "allows. Wait for some of them to end, or send fewer or smaller ones."
)


class RequestMemoryMiddleware:
    """Answers 429 to requests that exceed the memory quota of their token, or of all tokens."""

    def __init__(self, app: ASGIApp, quota: CallerQuota, count_refusal: Callable[[int], None]) -> None:
        """Wrap `app`. Must be inside BearerAuthMiddleware. `quota` counts bytes; `count_refusal` gets the status."""
        self._app = app
        self._quota = quota
        self._count_refusal = count_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its memory, until the response and all holders of its MemoryLease end."""
        subject = cast("Caller", scope[CALLER]).principal.subject
        memory = scope[REQUEST_MEMORY] = RequestMemory(self._quota, subject)
        disconnect = scope.get(DISCONNECT_SIGNAL)
        if disconnect is not None:
            disconnect.owner = subject
        lease = MemoryLease(memory.give_back)
        context_token = MEMORY_LEASE.set(lease)
        try:
            memory.take(PARTIAL_REQUEST_BYTES)
            await self._app(scope, memory.counting_receive(receive), send)
        except _QuotaExceeded:
            await refuse(send, self._count_refusal)
        finally:
            MEMORY_LEASE.reset(context_token)
            lease.end()


async def refuse(send: Send, count_refusal: Callable[[int], None], *headers: tuple[bytes, bytes]) -> None:
    """Answer 429 with `headers`, and pass the status to `count_refusal`."""
    count_refusal(429)
    retry_after = (b"retry-after", str(RETRY_AFTER_SECONDS).encode())
    await send_error(send, 429, "rate_limited", MEMORY_USED_UP, retry_after, *headers)


class _QuotaExceeded(Exception):
    """The quota of a token, or of all tokens, has no memory for a request."""


class RequestMemory:
    """Counts the memory of one request in the quota of its caller.

    Attributes:
        amount: bytes taken from the quota.
        response_bytes: bytes of the response so far.

    """

    def __init__(self, quota: CallerQuota, subject: str) -> None:
        """Start with no bytes taken. `subject` identifies the caller in the quota."""
        self._quota = quota
        self._subject = subject
        # Memory of the response that REQUEST_BYTES covers, or that was taken from the quota.
        self._covered_response_memory = RESPONSE_FACTOR * RESPONSE_ALLOWANCE_BYTES
        self._is_complete = False
        self.amount = self.response_bytes = 0

    def take(self, amount: int) -> None:
        """Take `amount` bytes from the quota. Raises _QuotaExceeded if the quota does not allow it."""
        if not self._quota.take(self._subject, amount, already_taken=self.amount):
            raise _QuotaExceeded
        self.amount += amount

    def give_back(self) -> None:
        """Return all bytes to the quota."""
        if self.amount:
            self._quota.give_back(self._subject, self.amount)

    def counting_receive(self, receive: Receive) -> Receive:
        """Return a `receive` that counts the body: its bytes while it arrives, and its parsed values at the end.

        The returned function raises _QuotaExceeded if the quota does not allow a part of the body.
        """
        decoded = 0

        async def counted() -> Message:
            nonlocal decoded
            message = await receive()
            body = message.get("body", b"")
            decoded += decoded_bytes(body)
            if message.get("more_body", False):
                self.take(len(body))
            elif not self._is_complete:
                self._is_complete = True
                self.take(REQUEST_BYTES - PARTIAL_REQUEST_BYTES + len(body) + decoded)
            return message

        return counted

    def take_stream(self) -> None:
        """Take the memory of an event stream. Raises _QuotaExceeded if the quota does not allow it."""
        self.take(STREAM_BYTES)

    def count_response(self, amount: int) -> None:
        """Count a part of the response, of `amount` bytes.

        Raises RateLimited if the quota does not allow it and the part is larger than SMALL_PART_BYTES.
        """
        self.response_bytes += amount
        more = RESPONSE_FACTOR * self.response_bytes - self._covered_response_memory
        if more <= 0:
            return
        if self._quota.take(self._subject, more, already_taken=self.amount):
            self._covered_response_memory += more
            self.amount += more
        elif amount > SMALL_PART_BYTES:
            self.response_bytes -= amount
            raise RateLimited(MEMORY_USED_UP, retry_after_seconds=RETRY_AFTER_SECONDS)


def decoded_bytes(body: bytes) -> int:
    """Return the estimated bytes of memory of a part of a JSON body, as text and as parsed values."""
    elements, members = body.count(b",") + body.count(b"["), body.count(b":")
    objects, quotes = body.count(b"{"), body.count(b'"')
    return (
        DECODED_FACTOR * len(body)
        + ELEMENT_BYTES * elements
        + MEMBER_BYTES * members
        + OBJECT_BYTES * objects
        + (QUOTE_BYTES * quotes)
    )

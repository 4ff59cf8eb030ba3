"""Middleware that limits the memory of requests in flight, per token and in all.

Bytes are limited rather than requests, because the sizes of requests differ widely. A request counts from its head to
the end of its response. Bytes of a response that are written and not yet read by the client count for the connection.
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

HALF_SENT_BYTES = 12_000
"""Memory of a request until its body has arrived, beside the body.

Measured with 1,200 such requests: 19 KB each, of which 7 KB are the connection's.
"""

REQUEST_BYTES = 46_000
"""Memory of any request in flight. Measured with 1,200 waiting calls: 44 KB each beside the connection."""

STREAM_BYTES = 16_000
"""Further memory of a request that is answered with a stream. Measured with 925 waits that report progress: 13 KB."""

INCLUDED_HEAD_BYTES = 4_000
"""Memory of a head that is included in HALF_SENT_BYTES. The head of a usual client takes 3 KB."""

BODY_FACTOR = 6
"""Memory for each byte of a body: as received, as text of up to four bytes a character, and as parsed values."""

ELEMENT_BYTES, OBJECT_BYTES, QUOTE_BYTES, MEMBER_BYTES = 45, 250, 35, 40
"""Further memory for each element, object, quotation mark and member name in a JSON body."""

ANSWER_FACTOR = 2
"""Memory for each byte of a response: in parts, and joined."""

INCLUDED_ANSWER_BYTES = 32 * 1024
"""Size of a response that is included in REQUEST_BYTES. A batch of 50 tasks and the list of tools are smaller."""

SMALL_PART_BYTES = 8 * 1024
"""Size of a part of a response that is never refused, because it may be the only report of a purchase."""

REQUEST_MEMORY = "luma_mcp.held"
"""Key of the RequestMemory in a request's scope."""

RETRY_AFTER_SECONDS = 5
TOO_MUCH = (
    "The requests in flight with this token, or all of them together, use the memory that this service allows. Wait "
    "for some of them to end, or send fewer or smaller ones."
)


class RequestMemoryMiddleware:
    """Answers 429 to requests that exceed the memory quota of their token, or of all tokens."""

    def __init__(self, app: ASGIApp, quota: CallerQuota, refused: Callable[[int], None]) -> None:
        """Wrap `app`. Must be inside BearerAuthMiddleware. `quota` counts bytes; `refused` receives each status."""
        self._app = app
        self._quota = quota
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its memory."""
        owner = cast("Caller", scope[CALLER]).principal.subject
        memory = scope[REQUEST_MEMORY] = RequestMemory(self._quota, owner)
        disconnect = scope.get(DISCONNECT_SIGNAL)
        head_bytes = 0
        if disconnect is not None:
            disconnect.owner = owner
            head_bytes = max(0, disconnect.head_bytes - INCLUDED_HEAD_BYTES)
        lease = MemoryLease(memory.give_back)
        context_token = MEMORY_LEASE.set(lease)
        try:
            memory.take(HALF_SENT_BYTES + head_bytes)
            await self._app(scope, memory.counting(receive), send)
        except _QuotaExceeded:
            await refuse(send, self._refused)
        finally:
            MEMORY_LEASE.reset(context_token)
            lease.end()


async def refuse(send: Send, refused: Callable[[int], None]) -> None:
    """Answer 429, and pass the status to `refused`."""
    refused(429)
    await send_error(send, 429, "rate_limited", TOO_MUCH, (b"retry-after", str(RETRY_AFTER_SECONDS).encode()))


class _QuotaExceeded(Exception):
    """A request exceeds its memory quota."""


class RequestMemory:
    """Counts the memory of one request in the quota of its owner.

    Attributes:
        amount: bytes taken from the quota.
        answer_bytes: size of the response so far.

    """

    def __init__(self, quota: CallerQuota, owner: str) -> None:
        """Start without memory."""
        self._quota = quota
        self._owner = owner
        self._counted_answer = ANSWER_FACTOR * INCLUDED_ANSWER_BYTES
        self._is_complete = False
        self.amount = self.answer_bytes = 0

    def take(self, amount: int) -> None:
        """Take `amount` bytes from the quota. Raises _QuotaExceeded if the quota does not allow it."""
        if not self._quota.take(self._owner, amount):
            raise _QuotaExceeded
        self.amount += amount

    def give_back(self) -> None:
        """Return all bytes to the quota."""
        if self.amount:
            self._quota.give_back(self._owner, self.amount)

    def counting(self, receive: Receive) -> Receive:
        """Return a `receive` that counts the body: as bytes while it arrives, and as parsed values when it is complete.

        It raises _QuotaExceeded.
        """
        parsed = 0

        async def counted() -> Message:
            nonlocal parsed
            message = await receive()
            body = message.get("body", b"")
            parsed += parsed_bytes(body)
            if message.get("more_body", False):
                self.take(len(body))
            elif not self._is_complete:
                self._is_complete = True
                self.take(REQUEST_BYTES - HALF_SENT_BYTES + len(body) + parsed)
            return message

        return counted

    def take_stream(self) -> None:
        """Take the memory of a stream. Raises _QuotaExceeded if the quota does not allow it."""
        self.take(STREAM_BYTES)

    def count_answer(self, amount: int) -> None:
        """Count `amount` bytes of the response. Raises RateLimited for a large part that exceeds the quota."""
        self.answer_bytes += amount
        more = ANSWER_FACTOR * self.answer_bytes - self._counted_answer
        if more <= 0:
            return
        if self._quota.take(self._owner, more):
            self._counted_answer += more
            self.amount += more
        elif amount > SMALL_PART_BYTES:
            self.answer_bytes -= amount
            raise RateLimited(TOO_MUCH, retry_after_seconds=RETRY_AFTER_SECONDS)


def parsed_bytes(body: bytes) -> int:
    """Return an estimate of the memory of a part of a JSON body, as text and as parsed values."""
    elements, names = body.count(b",") + body.count(b"["), body.count(b":")
    marks = OBJECT_BYTES * body.count(b"{") + QUOTE_BYTES * body.count(b'"')
    return (BODY_FACTOR - 1) * len(body) + ELEMENT_BYTES * elements + MEMBER_BYTES * names + marks

"""Middleware that limits the memory of requests, per token and in all.

A request counts in bytes, from its first byte to the end of its answer, because the number of tokens and of callers is
not limited. A written answer counts for its connection.
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
"""Memory of a request until its body has arrived, beside the body: measured with 1,200 of them, 19 KB each, of which
7 KB are the connection's."""

REQUEST_BYTES = 46_000
"""About what any request under way takes: measured with 1,200 waiting calls, 44 KB each beside the connection."""

INCLUDED_HEAD_BYTES = 4_000
"""A head up to here is part of it: that of a usual client takes 3 KB."""

BODY_FACTOR = 6
"""Bytes held for each byte of a body: as it came, as text of up to four bytes a character, and as values."""

ELEMENT_BYTES, OBJECT_BYTES, QUOTE_BYTES, MEMBER_BYTES = 45, 250, 35, 40
"""Bytes held besides for each element, object, quotation mark and name of a member in a JSON body."""

ANSWER_FACTOR = 2
"""Bytes held for each byte of an answer: as parts, and as one piece."""

INCLUDED_ANSWER_BYTES = 32 * 1024
"""An answer up to here is part of REQUEST_BYTES: a batch of 50 is shorter, and the list of tools."""

SMALL_PART_BYTES = 8 * 1024
"""A part of an answer up to here is never refused: it may tell of a purchase."""

HELD = "luma_mcp.held"
"""Key of the Held in a request's scope."""

RETRY_AFTER_SECONDS = 5
TOO_MUCH = (
    "The requests under way with this token, or all of them together, hold as much memory as this service lends. Wait "
    "for some of them to end, or send fewer or smaller ones."
)


class RequestMemoryMiddleware:
    """Answers 429 to requests that exceed the share of their token, or the budget of all."""

    def __init__(self, app: ASGIApp, quota: CallerQuota, refused: Callable[[int], None]) -> None:
        """Wrap `app`, inside BearerAuthMiddleware. `quota` counts bytes; `refused` receives each status."""
        self._app = app
        self._quota = quota
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its bytes."""
        owner = cast("Caller", scope[CALLER]).principal.subject
        held = scope[HELD] = Held(self._quota, owner)
        disconnect = scope.get(DISCONNECT_SIGNAL)
        head_bytes = 0
        if disconnect is not None:
            disconnect.owner = owner
            head_bytes = max(0, disconnect.head_bytes - INCLUDED_HEAD_BYTES)
        lease = MemoryLease(held.give_back)
        outer = MEMORY_LEASE.set(lease)
        try:
            held.take(HALF_SENT_BYTES + head_bytes)
            await self._app(scope, held.counting(receive), send)
        except _NoneLeft:
            await refuse(send, self._refused)
        finally:
            MEMORY_LEASE.reset(outer)
            lease.end()


async def refuse(send: Send, refused: Callable[[int], None]) -> None:
    """Answer 429, and pass the status to `refused`."""
    refused(429)
    await send_error(send, 429, "rate_limited", TOO_MUCH, (b"retry-after", str(RETRY_AFTER_SECONDS).encode()))


class _NoneLeft(Exception):
    """A request exceeds its memory quota."""


class Held:
    """The memory of one request, in bytes.

    Attributes:
        amount: taken from the quota.
        answer_bytes: size of the answer so far.

    """

    def __init__(self, quota: CallerQuota, owner: str) -> None:
        """Start with nothing."""
        self._quota = quota
        self._owner = owner
        self._counted_answer = ANSWER_FACTOR * INCLUDED_ANSWER_BYTES
        self._is_complete = False
        self.amount = self.answer_bytes = 0

    def take(self, amount: int) -> None:
        """Take `amount` bytes from the quota. Raises _NoneLeft if it has not as much left."""
        if not self._quota.take(self._owner, amount):
            raise _NoneLeft
        self.amount += amount

    def give_back(self) -> None:
        """Return all bytes to the quota."""
        if self.amount:
            self._quota.give_back(self._owner, self.amount)

    def counting(self, receive: Receive) -> Receive:
        """Return `receive` with the bytes of the body counted: as they come, and as values when all have come."""
        as_values = 0

        async def counted() -> Message:
            nonlocal as_values
            message = await receive()
            body = message.get("body", b"")
            as_values += parsed_bytes(body)
            if message.get("more_body", False):
                self.take(len(body))
            elif not self._is_complete:
                self._is_complete = True
                self.take(REQUEST_BYTES - HALF_SENT_BYTES + len(body) + as_values)
            return message

        return counted

    def count_answer(self, amount: int) -> None:
        """Count a part of the answer. Raises RateLimited for a large part that exceeds the quota."""
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
    """Return about what a part of a JSON body takes in memory as text and as values."""
    elements, names = body.count(b",") + body.count(b"["), body.count(b":")
    marks = OBJECT_BYTES * body.count(b"{") + QUOTE_BYTES * body.count(b'"')
    return (BODY_FACTOR - 1) * len(body) + ELEMENT_BYTES * elements + MEMBER_BYTES * names + marks

"""How much memory the requests of one token, and of all, may hold while they are answered.

Any string is a token and any caller is many, so what a request may cost is reckoned in bytes, from its first byte to
the last byte of its answer that the client has taken.
"""

from collections.abc import Callable
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.principal import Principal
from app.services.caller_quota import CallerQuota
from app.services.loans import LOAN, Loan
from app.web.guards import PRINCIPAL, answer

REQUEST_BYTES = 56_000
"""About what any request under way takes: measured with 2,000 waiting calls, 117 MB."""

BODY_FACTOR = 6
"""Bytes held for each byte of a body: as it came, as text of up to four bytes a character, and as values."""

ELEMENT_BYTES, OBJECT_BYTES, QUOTE_BYTES, MEMBER_BYTES = 45, 250, 35, 40
"""Bytes held besides for each element, object, quotation mark and name of a member in a JSON body."""

LARGE_ANSWER_BYTES = 32 * 1024
"""Longer answers count until the client has taken them; a batch of 50 is shorter, and sent in one piece."""

RETRY_AFTER_SECONDS = 5
TOO_MUCH = (
    "The requests under way with this token, or all of them together, hold as much memory as this service lends. Wait "
    "for some of them to end, or send fewer or smaller ones."
)


class RequestMemory:
    """Answers 429 to requests that would hold more than their token's share, or than all may hold together."""

    def __init__(self, app: ASGIApp, quota: CallerQuota, refused: Callable[[int], None]) -> None:
        """Stand behind the bearer token and before `app`; `quota` counts bytes, `refused` is told each status."""
        self._app = app
        self._quota = quota
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its bytes counted."""
        owner = cast("Principal", scope[PRINCIPAL]).tenant
        held = _Held(self._quota, owner)
        loan = Loan(held.give_back)
        outer = LOAN.set(loan)
        try:
            held.take(REQUEST_BYTES)
            await self._app(scope, held.counting(receive), held.until_taken(send))
        except _NoneLeft:
            self._refused(429)
            retry_after = (b"retry-after", str(RETRY_AFTER_SECONDS).encode())
            await answer(send, 429, "rate_limited", TOO_MUCH, retry_after)
        finally:
            LOAN.reset(outer)
            loan.end()


class _NoneLeft(Exception):
    """A request holds more than is lent, and is not answered any further."""


class _Held:
    """What one request holds."""

    def __init__(self, quota: CallerQuota, owner: str) -> None:
        self._quota = quota
        self._owner = owner
        self.amount = 0

    def take(self, amount: int) -> None:
        """Count `amount` bytes more. Raises _NoneLeft where they are not lent."""
        if not self._quota.take(self._owner, amount):
            raise _NoneLeft
        self.amount += amount

    def give_back(self) -> None:
        """Count nothing any more."""
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
            elif as_values:
                self.take(len(body) + as_values)
                as_values = 0
            return message

        return counted

    def until_taken(self, send: Send) -> Send:
        """Return `send` that waits, at the end of a large answer, until the client has taken nearly all of it."""

        async def taken(message: Message) -> None:
            body = message.get("body", b"")
            if len(body) <= LARGE_ANSWER_BYTES or message.get("more_body", False):
                await send(message)
                return
            self._quota.add(self._owner, len(body))  # it exists already
            self.amount += len(body)
            await send({**message, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        return taken


def parsed_bytes(body: bytes) -> int:
    """Return about what a part of a JSON body takes in memory as text and as values."""
    elements, names = body.count(b",") + body.count(b"["), body.count(b":")
    marks = OBJECT_BYTES * body.count(b"{") + QUOTE_BYTES * body.count(b'"')
    return (BODY_FACTOR - 1) * len(body) + ELEMENT_BYTES * elements + MEMBER_BYTES * names + marks

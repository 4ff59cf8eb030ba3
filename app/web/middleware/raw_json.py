"""Long values enter an answer at the edge, as the JSON that they already are.

The protocol's own code validates, copies and encodes a result several times over before it is sent. For a batch that is
most of the work of a call; so a result carries a mark in place of each long value, and the value takes its place when
the answer is on its way out.
"""

import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.mcp_server.tools.json_bytes import Json

PENDING_VALUES = "luma_mcp.embedded"
"""Where a request's scope carries its Embedded."""

_PLACEHOLDER = secrets.token_hex(16)
"""Never seen outside this process, so that nothing from outside can be taken for a mark."""


class PendingValues:
    """The values of one answer.

    It does not know the way out: a scope that led back to the connection would outlive every request until the garbage
    collector found the circle.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.values: list[tuple[bytes, Json]] = []
        self._number = 0

    def add(self, value: Json) -> str:
        """Keep `value` for the answer; return the mark that stands for it until then."""
        placeholder = f"{_PLACEHOLDER}{self._number}"
        self._number += 1
        self.values.append((f'"{placeholder}"'.encode(), value))
        return placeholder

    def splice(self, body: bytes) -> bytes:
        """Return a part of the answer with those of the values in it whose marks it holds; these are let go."""
        parts: list[bytes] = []
        end = 0
        left: list[tuple[bytes, Json]] = []
        for at, placeholder, value in sorted(
            (body.find(placeholder), placeholder, value) for placeholder, value in self.values
        ):
            if at >= 0:
                parts += (body[end:at], value)
                end = at + len(placeholder)
            else:
                left.append((placeholder, value))
        self.values = left
        return b"".join((*parts, body[end:]))


class RawJsonMiddleware:
    """Gives each request an Embedded, and puts its values into the answer."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request with the values in place of their marks."""
        pending = scope[PENDING_VALUES] = PendingValues()
        head: Message | None = None

        async def splicing(message: Message) -> None:
            nonlocal head
            if not pending.values:
                await send(message)
            elif message["type"] == "http.response.start":
                head = message  # its length is known when the body is
            else:
                body = pending.splice(message.get("body", b""))
                if head is not None:
                    await send(_of_length(head, None if message.get("more_body", False) else len(body)))
                    head = None
                await send({**message, "body": body})

        await self._app(scope, receive, splicing)


def _of_length(start: Message, length: int | None) -> Message:
    """Return the head of an answer with its true length; None where it goes on, so that it carries no length."""
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {**start, "headers": headers}

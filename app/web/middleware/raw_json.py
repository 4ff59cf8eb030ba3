"""Middleware that splices pre-encoded JSON values into answers.

The SDK validates, copies and encodes a result several times. For a batch this is most of the work of a call. A result
therefore carries a placeholder for each long value, and this middleware replaces it by the value's bytes.
"""

import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.mcp_server.tools.json_bytes import Json

PENDING_VALUES = "luma_mcp.embedded"
"""Key of the PendingValues in a request's scope."""

_PLACEHOLDER = secrets.token_hex(16)
"""Random and never sent, so that no text from outside is taken for a placeholder."""


class PendingValues:
    """The values of one answer that are not spliced in yet.

    Holds no reference to `send`: a cycle from the scope to the connection would keep every request alive until the next
    garbage collection.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.values: list[tuple[bytes, Json]] = []
        self._number = 0

    def add(self, value: Json) -> str:
        """Keep `value`, and return its placeholder."""
        placeholder = f"{_PLACEHOLDER}{self._number}"
        self._number += 1
        self.values.append((f'"{placeholder}"'.encode(), value))
        return placeholder

    def splice(self, body: bytes) -> bytes:
        """Return `body`, a part of the answer, with its placeholders replaced, and drop the values used."""
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
    """Gives each request its PendingValues, and splices them into the answer."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request with values in place of placeholders."""
        pending = scope[PENDING_VALUES] = PendingValues()
        head: Message | None = None

        async def splicing(message: Message) -> None:
            nonlocal head
            if not pending.values:
                await send(message)
            elif message["type"] == "http.response.start":
                head = message  # its length is known with the body
            else:
                body = pending.splice(message.get("body", b""))
                if head is not None:
                    await send(_of_length(head, None if message.get("more_body", False) else len(body)))
                    head = None
                await send({**message, "body": body})

        await self._app(scope, receive, splicing)


def _of_length(start: Message, length: int | None) -> Message:
    """Return the start message with `length` as content-length; without one if None, for a body in parts."""
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {**start, "headers": headers}

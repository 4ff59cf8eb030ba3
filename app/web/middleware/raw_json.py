"""Middleware that splices pre-encoded JSON values into responses.

The SDK validates, copies and encodes a result several times, which is most of the work of a large
`luma_get_tasks_batch`. A result therefore contains a placeholder string for each long value, and this middleware
replaces the placeholder by the value's bytes.
"""

import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.mcp_server.tools.json_bytes import Json

PENDING_VALUES = "luma_mcp.pending_values"
"""Key of the PendingValues in the ASGI scope of a request."""

_PLACEHOLDER_PREFIX = secrets.token_hex(16)
"""Prefix of placeholders. It is random and never sent, so no text from outside can contain a placeholder."""


class PendingValues:
    """The values of one response that are not spliced in yet.

    It holds no reference to `send`, because a reference cycle between the scope and the connection would keep every
    request alive until the next garbage collection.
    """

    def __init__(self) -> None:
        """Start without values."""
        self.values: list[tuple[bytes, Json]] = []
        self._next_number = 0

    def add(self, value: Json) -> str:
        """Keep `value`, and return its placeholder."""
        placeholder = f"{_PLACEHOLDER_PREFIX}{self._next_number}"
        self._next_number += 1
        self.values.append((f'"{placeholder}"'.encode(), value))
        return placeholder

    def splice(self, body: bytes) -> bytes:
        """Return `body`, a part of the response, with its placeholders replaced. Drop the values that replaced them."""
        parts: list[bytes] = []
        end = 0
        remaining: list[tuple[bytes, Json]] = []
        for start, placeholder, value in sorted(
            (body.find(placeholder), placeholder, value) for placeholder, value in self.values
        ):
            if start >= 0:
                parts += (body[end:start], value)
                end = start + len(placeholder)
            else:
                remaining.append((placeholder, value))
        self.values = remaining
        return b"".join((*parts, body[end:]))


class RawJsonMiddleware:
    """Stores PendingValues in the ASGI scope of each request, and splices them into its response."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and replace the placeholders in its response."""
        pending = scope[PENDING_VALUES] = PendingValues()
        head: Message | None = None

        async def splicing(message: Message) -> None:
            nonlocal head
            if not pending.values:
                await send(message)
            elif message["type"] == "http.response.start":
                head = message  # sent later, because its content-length is that of the spliced body
            else:
                body = pending.splice(message.get("body", b""))
                if head is not None:
                    await send(_with_length(head, None if message.get("more_body", False) else len(body)))
                    head = None
                await send({**message, "body": body})

        await self._app(scope, receive, splicing)


def _with_length(start: Message, length: int | None) -> Message:
    """Return the start message with `length` as its content-length.

    None removes the header, because a body in parts has no length in advance.
    """
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {**start, "headers": headers}

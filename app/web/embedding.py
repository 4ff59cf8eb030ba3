"""Long values enter an answer at the edge, as the JSON that they already are.

The protocol's own code validates, copies and encodes a result several times over before it is sent. For a batch that is
most of the work of a call; so a result carries a mark in place of each long value, and the value takes its place when
the answer is on its way out.
"""

import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.mcp_server.json_text import JsonText

EMBEDDED = "luma_mcp.embedded"
"""Where a request's scope carries its Embedded."""

_MARK = secrets.token_hex(16)
"""Never seen outside this process, so that nothing from outside can be taken for a mark."""


class Embedded:
    """The values of one answer, and the way out that puts them in."""

    def __init__(self, send: Send) -> None:
        """Send through `send`."""
        self._send = send
        self._values: list[tuple[bytes, bytes]] = []
        self._start: Message | None = None

    def add(self, value: JsonText) -> str:
        """Keep `value` for the answer; return the mark that stands for it until then."""
        mark = f"{_MARK}{len(self._values)}"
        self._values.append((f'"{mark}"'.encode(), value.encode()))
        return mark

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the values in place of their marks."""
        if not self._values:
            await self._send(message)
        elif message["type"] == "http.response.start":
            self._start = message  # its length is known when the body is
        else:
            body = message.get("body", b"")
            for mark, value in self._values:
                body = body.replace(mark, value, 1)
            whole = not message.get("more_body", False)
            if self._start is not None:
                start, self._start = self._start, None
                await self._send(_of_length(start, len(body) if whole else None))
            await self._send({**message, "body": body})


class Embedding:
    """Gives each request an Embedded."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request through its Embedded."""
        embedded = scope[EMBEDDED] = Embedded(send)
        await self._app(scope, receive, embedded.send)


def _of_length(start: Message, length: int | None) -> Message:
    """Return the head of an answer with its true length; None where it goes on, so that it carries no length."""
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {**start, "headers": headers}

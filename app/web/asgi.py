"""Helpers for plain ASGI code: a request header, and JSON responses."""

from starlette.types import Message, Receive, Scope, Send

from app.web.json_rpc import refusal


def header(scope: Scope, name: bytes) -> str | None:
    """Return the value of the first header `name`, or None. `name` must be in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


async def send_error(send: Send, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
    """Send an HTTP error whose body is a JSON-RPC error. `code` is a word for programs, `message` is for people.

    MCP clients show the message of a JSON-RPC error to people, and hide any other body.
    """
    await send_json(send, status, refusal(code, message), *headers)


async def send_json(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a complete JSON response, with further `headers`."""
    content_headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*content_headers, *headers]})
    await send({"type": "http.response.body", "body": body})


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns `body` first, and then the messages of `receive`."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed

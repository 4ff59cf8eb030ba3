"""Helpers for pure ASGI code: one request header, and whole JSON responses."""

from starlette.types import Scope, Send

from app.web.json_rpc import refusal


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of this (lower-case) name, or None."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


async def send_error(send: Send, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
    """Send the JSON-RPC error of a request that is not read any further; `code` is a word for programs.

    Clients of MCP show the message of such a body to people, and hide any other.
    """
    await send_json(send, status, refusal(code, message), *headers)


async def send_json(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a whole JSON answer."""
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})

"""Request and response bodies for plain ASGI applications.

The fake backends of benchmarks and attacks use these instead of a framework, whose cost would be measured too.
"""

from starlette.types import Receive, Send


async def read_body(receive: Receive) -> bytes:
    """Read and return the whole request body."""
    body: bytes = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


async def send_json(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a response with `body`, encoded JSON, and any further `headers`."""
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})

"""One HTTP request with its expected response id, and the response."""

import json
from dataclasses import dataclass
from typing import Any

EVENTS = b"text/event-stream"


@dataclass(frozen=True, slots=True)
class Request:
    """A request with valid HTTP framing and any content.

    number: the random seed that it was generated from.
    id: the JSON-RPC id that the response must have; None if any response without a server error will do.
    """

    number: int
    token: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    id: int | str | None = None

    def head(self) -> list[bytes]:
        """Return the request line and the header lines."""
        fields = {**self.headers, "host": "127.0.0.1", "content-length": str(len(self.body))}
        lines = (f"{name}: {value}".encode("latin-1", "replace") for name, value in fields.items())
        return [f"{self.method} {self.path} HTTP/1.1".encode(), *lines]

    def framed(self) -> bytes:
        """Return the whole request as bytes."""
        return b"\r\n".join((*self.head(), b"", self.body))

    @property
    def listens(self) -> bool:
        """Whether the response may be an endless stream. The body is searched in UTF-8 and UTF-16."""
        return b"subscriptions/listen" in self.body.replace(b"\x00", b"")


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a request, as far as it was read. `head` is in lower case."""

    status: int
    head: bytes
    body: bytes

    def ids(self) -> list[Any]:
        """Return the ids of the JSON-RPC messages in the body. Raises ValueError if it is not JSON."""
        events = EVENTS in self.head
        texts = [line[5:] for line in self.body.splitlines() if line.startswith(b"data:")] if events else [self.body]
        messages = [json.loads(text) for text in texts if text.strip()]
        return [message["id"] for message in messages if isinstance(message, dict) and "id" in message]

    def told(self) -> list[Any]:
        """Return the events of a stream that hold notifications."""
        return [line for line in self.body.splitlines() if line.startswith(b"data:") and b'"method"' in line]

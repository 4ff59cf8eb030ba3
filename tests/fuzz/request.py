"""One request, as it is sent; and what its answer must be."""

import json
from dataclasses import dataclass
from typing import Any

EVENTS = b"text/event-stream"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is framed as HTTP says, whatever is in it.

    `number` is the seed that it grew from. `id` is that of a JSON-RPC request that the answer must be to; None where
    any definite answer will do.
    """

    number: int
    token: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    id: int | str | None = None

    def head(self) -> list[bytes]:
        """Return the lines before the body."""
        fields = {**self.headers, "host": "127.0.0.1", "content-length": str(len(self.body))}
        lines = (f"{name}: {value}".encode("latin-1", "replace") for name, value in fields.items())
        return [f"{self.method} {self.path} HTTP/1.1".encode(), *lines]

    def framed(self) -> bytes:
        """Return the bytes on the wire."""
        return b"\r\n".join((*self.head(), b"", self.body))

    @property
    def listens(self) -> bool:
        """Whether the answer may be a stream that goes on until the client leaves; also in UTF-16."""
        return b"subscriptions/listen" in self.body.replace(b"\x00", b"")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the first answer on the connection, as far as it was read."""

    status: int
    head: bytes
    body: bytes

    def ids(self) -> list[Any]:
        """Return the ids of the JSON-RPC messages in it. Raises ValueError where it is no such answer."""
        events = EVENTS in self.head
        texts = [line[5:] for line in self.body.splitlines() if line.startswith(b"data:")] if events else [self.body]
        messages = [json.loads(text) for text in texts if text.strip()]
        return [message["id"] for message in messages if isinstance(message, dict) and "id" in message]

    def told(self) -> list[Any]:
        """Return the messages of a stream that are not the answer yet."""
        return [line for line in self.body.splitlines() if line.startswith(b"data:") and b'"method"' in line]

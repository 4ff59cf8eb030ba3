"""The response to a JSON-RPC batch: an array of responses, whose size is limited while responses are collected."""

import json
from typing import Any

from starlette.types import Message

from app.domain.errors import RateLimited
from app.web.json_rpc import refusal, rewrite_sdk_error
from app.web.middleware.request_memory import RequestMemory

MAX_BATCH_RESPONSE_BYTES = 1024 * 1024
"""Once the array is larger than this, the remaining messages are refused. A single response may be larger."""

TOO_MUCH = (
    "This message of the batch was not processed, because the responses before it use all the memory that this service "
    "allows a batch or its token. Send it again in a request of its own."
)


class BatchResponse:
    """Collects the responses to the messages of one batch."""

    def __init__(self, memory: RequestMemory) -> None:
        """Count the bytes of responses in `memory`, which also counts the values behind placeholders."""
        self._memory = memory
        self._parts: list[bytes] = []
        self._current_message = b""
        self._is_refused = False

    @property
    def is_full(self) -> bool:
        """Whether the remaining messages are to be refused."""
        return self._is_refused or self._memory.response_bytes > MAX_BATCH_RESPONSE_BYTES

    def begin(self, message: bytes) -> None:
        """Set the JSON-RPC message whose response is collected next."""
        self._current_message = message

    async def collect(self, message: Message) -> None:
        """Receive ASGI messages as a `send` function does, and keep the response.

        If the response exceeds the memory quota, an error replaces it, and the remaining messages are refused.
        """
        body = message.get("body")
        if not body:
            return
        part = rewrite_sdk_error(body, self._current_message)
        try:
            self._memory.count_response(len(part))
        except RateLimited:
            self._is_refused = True
            self.refuse(self._current_message)
        else:
            self._parts.append(part)

    def refuse(self, message: bytes, code: str = "rate_limited", sentence: str = TOO_MUCH) -> None:
        """Add an error as the response to `message`. Notifications and responses get none."""
        content: Any = json.loads(message)
        if "id" in content and "method" in content:
            self._parts.append(refusal(code, sentence, request_id=content["id"]))

    def body(self) -> bytes:
        """Return the array as JSON; b"" if there is no response, as for notifications alone."""
        return b"[" + b",".join(self._parts) + b"]" if self._parts else b""

"""The answer to a JSON-RPC batch: an array, bounded in bytes while its parts are collected."""

import json
from typing import Any

from starlette.types import Message

from app.domain.errors import RateLimited
from app.web.json_rpc import in_our_words, refusal
from app.web.middleware.request_memory import Held

MOST_BATCH_ANSWER_BYTES = 1024 * 1024
"""After so much the messages that are left are refused; a message alone may be answered at greater length."""

TOO_MUCH = (
    "This message of the batch was not answered, because the answers before it hold as much memory as this service "
    "lends to a batch, or to its token. Send it again in a request of its own."
)


class BatchAnswer:
    """The answers to the messages of one batch, which are counted as they come."""

    def __init__(self, held: Held) -> None:
        """Count in `held`, which also counts the values behind placeholders."""
        self._held = held
        self._parts: list[bytes] = []
        self._message = b""
        self._is_refused = False

    @property
    def is_full(self) -> bool:
        """Whether the messages that are left are to be refused."""
        return self._is_refused or self._held.answer_bytes > MOST_BATCH_ANSWER_BYTES

    def next_is(self, message: bytes) -> None:
        """Note which message is answered from now on."""
        self._message = message

    async def collect(self, message: Message) -> None:
        """Take the answer that the application sends; one that is not lent gives way to a refusal."""
        body = message.get("body")
        if not body:
            return
        part = in_our_words(body, self._message)
        try:
            self._held.count_answer(len(part))
        except RateLimited:
            self._is_refused = True
            self.refuse(self._message)
        else:
            self._parts.append(part)

    def refuse(self, message: bytes) -> None:
        """Answer a message with an error that says why it was not read; notifications have no answer."""
        content: Any = json.loads(message)
        if "id" in content and "method" in content:
            self._parts.append(refusal("rate_limited", TOO_MUCH, request_id=content["id"]))

    def body(self) -> bytes:
        """Return the array; nothing where there is no answer."""
        return b"[" + b",".join(self._parts) + b"]" if self._parts else b""

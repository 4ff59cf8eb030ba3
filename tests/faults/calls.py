"""One tool call to one replica, and its outcome at the HTTP level."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx

from tests.support.service import envelope


class Fate(StrEnum):
    """The outcome of a call at the HTTP level; the values are words for reports."""

    ANSWERED = "answered"
    UNREACHED = "unreached"
    """The connection was refused, so nothing was sent."""
    CUT = "cut off"
    """The connection failed after the request may have been sent."""
    SILENT = "not answered in time"
    UNFIT = "answered with what is no result"
    """Not a 200 response with a well-formed tool result."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of a call: its time span (monotonic seconds), and its typed result or error.

    `words` describes any fate but ANSWERED, for reports.
    """

    fate: Fate
    started: float
    ended: float
    result: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The typed error, or None if there is none."""
        found: Mapping[str, Any] | None = self.result.get("error") if "state" not in self.result else None
        return found


@dataclass(frozen=True, slots=True)
class Question:
    """A tool call to send under `token`, in the form of the protocol revision `era`."""

    token: str
    tool: str
    arguments: Mapping[str, Any]
    era: str


async def ask(client: httpx.AsyncClient, url: str, question: Question, seconds: float) -> Reply:
    """Send the call to the replica at `url` and wait for the answer at most `seconds`."""
    params = {"name": question.tool, "arguments": question.arguments}
    message, headers = envelope("tools/call", params, question.era)
    sent = {**headers, "authorization": f"Bearer {question.token}", "accept": "application/json"}
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            answer = await client.post(f"{url}/mcp", json=message, headers=sent, timeout=None)
    except TimeoutError:
        return Reply(Fate.SILENT, started, time.monotonic(), words=f"not answered within {seconds:g} s")
    except httpx.ConnectError:
        return Reply(Fate.UNREACHED, started, time.monotonic(), words="nobody listened")
    except httpx.TransportError as exc:
        return Reply(Fate.CUT, started, time.monotonic(), words=f"cut off ({type(exc).__name__})")
    return read(answer.status_code, answer.content, started)


def read(status: int, content: bytes, started: float) -> Reply:
    """Parse an HTTP response to a tool call. The typed result is in `structuredContent` in all protocol revisions."""
    ended = time.monotonic()
    if status != 200:
        return Reply(Fate.UNFIT, started, ended, words=f"answered with HTTP {status}")
    body = httpx.Response(200, content=content).json()
    found = body.get("result", {}).get("structuredContent", {}).get("result")
    if not isinstance(found, dict):
        return Reply(Fate.UNFIT, started, ended, words=f"answered without a typed result: {content[:200]!r}")
    reply = Reply(Fate.ANSWERED, started, ended, found)
    if body["result"]["isError"] is not (reply.error is not None):
        return Reply(Fate.UNFIT, started, ended, words="answered with an error that is none, or the other way about")
    return reply

"""One tool call to one replica, and what became of it on the wire."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx

from tests.support.service import envelope


class Fate(StrEnum):
    """What became of a call."""

    ANSWERED = "answered"
    UNREACHED = "unreached"
    """Nobody listened, so nothing was sent."""
    CUT = "cut off"
    SILENT = "not answered in time"
    UNFIT = "answered with what is no result"


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a call, when it began and ended (monotonic seconds), its typed result, and words for the rest."""

    fate: Fate
    started: float
    ended: float
    result: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The typed error, where the answer is one."""
        found: Mapping[str, Any] | None = self.result.get("error") if "state" not in self.result else None
        return found


@dataclass(frozen=True, slots=True)
class Question:
    """A tool call before it is sent: what, by whom, in the form of which protocol revision."""

    token: str
    tool: str
    arguments: Mapping[str, Any]
    era: str


async def ask(client: httpx.AsyncClient, url: str, question: Question, seconds: float) -> Reply:
    """Send the call and wait for at most so long."""
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
    except httpx.TransportError as fault:
        return Reply(Fate.CUT, started, time.monotonic(), words=f"cut off ({type(fault).__name__})")
    return read(answer.status_code, answer.content, started)


def read(status: int, content: bytes, started: float) -> Reply:
    """Return what an answer says. All protocol revisions carry the typed result."""
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

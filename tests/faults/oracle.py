"""The oracle: a fake AceDataCloud with known answers, injectable faults, and a list of all purchases.

`python -m tests.faults.oracle --fd N` serves on a listening socket that it inherits from its parent. POST /control
sets the fault, its share and the random seed; /state returns the counters and purchases.
"""

import asyncio
import json
import os
import random
import socket
import time
from argparse import ArgumentParser
from collections import Counter
from typing import Any
from weakref import WeakKeyDictionary

import psutil

from tests.faults.breaking import FAULTS, REFUSALS, RETRY_AFTER_SECONDS, Broken, send
from tests.faults.truth import purchased_id, record

READING_SECONDS = 0.01
SUBMITTING_SECONDS = 0.15
"""The time to answer a read and a submission: long enough for calls to overlap, and for faults to hit them."""

PATIENT = "429 with Retry-After"
EARLY_SECONDS = 0.02
"""How much earlier than Retry-After a retry may come, because clocks and timeouts are rounded."""


class Oracle:
    """The state of the backend.

    `fault` is a key of FAULTS or None, and `share` the probability that it breaks an answer. `bought` has the ids of
    submitted tasks by "TOKEN PROMPT". `calls` counts requests by token, `broken` broken answers by kind, and `waits`
    retries that came after the Retry-After ("kept") or before it ("cut short").
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        self.share = 0.0
        self.random = random.Random(0)
        self.bought: dict[str, list[str]] = {}
        self.calls: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self._refused_at: dict[tuple[str, int | None], float] = {}
        self._askers: WeakKeyDictionary[asyncio.StreamWriter, int | None] = WeakKeyDictionary()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while not writer.is_closing():
                top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(top.partition("content-length:")[2].partition("\r\n")[0] or 0)
                body = json.loads(await reader.readexactly(length)) if length else {}
                path = top.split(" ", 2)[1]
                token = top.partition("authorization: bearer ")[2].partition("\r\n")[0]
                await self._answer(path, token, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, token: str, body: Any, writer: asyncio.StreamWriter) -> None:
        if path == "/control":
            self._obey(body)
            await send(writer, {})
        elif path == "/state":
            told = {"bought": self.bought, "calls": self.calls, "broken": self.broken, "waits": self.waits}
            await send(writer, told)
        else:
            await self._answer_or_break(path, token, body, writer)

    async def _answer_or_break(self, path: str, token: str, body: Any, writer: asyncio.StreamWriter) -> None:
        question, buys = f"{path} {token} {json.dumps(body)}", path.endswith("/videos")
        self.calls[token] += 1
        asked = (question, self._asker(writer) if self._puts_off else None)
        fault = self._fault_for(asked)
        answer = {} if fault in REFUSALS else self._true_answer(path, token, body)
        await asyncio.sleep(SUBMITTING_SECONDS if buys else READING_SECONDS)
        if fault is None:
            await send(writer, answer)
            return
        if fault == PATIENT:
            self._refused_at[asked] = time.monotonic()
        kind = "purchases" if buys else "reads"
        self.broken[kind] += 1
        await FAULTS[fault](Broken(writer, answer, token, self.broken[kind], self.random))

    def _obey(self, order: Any) -> None:
        self.fault, self.share = order.get("fault", self.fault), order.get("share", self.share)
        if "seed" in order:  # a new scenario
            self.random.seed(order["seed"])
            self._refused_at.clear()

    @property
    def _puts_off(self) -> bool:
        """Whether requests are told apart by replica, because each replica keeps its own Retry-After."""
        return self.fault == PATIENT or bool(self._refused_at)

    def _asker(self, writer: asyncio.StreamWriter) -> int | None:
        """Return the id of the client's process, which is looked up once for a connection, because that is slow.

        It tells the replicas apart, which use the same URL of the backend.
        """
        if writer not in self._askers:
            self._askers[writer] = _process_of(writer)
        return self._askers[writer]

    def _fault_for(self, asked: tuple[str, int | None]) -> str | None:
        """Return the fault for this request, or None. A retry after a Retry-After succeeds, and its wait is counted."""
        if (refused_at := self._refused_at.pop(asked, None)) is not None:
            kept = time.monotonic() - refused_at >= RETRY_AFTER_SECONDS - EARLY_SECONDS
            self.waits["kept" if kept else "cut short"] += 1
            return None
        return self.fault if self.fault and self.random.random() < self.share else None

    def _true_answer(self, path: str, token: str, body: Any) -> Any:
        if path.endswith("/videos"):
            task_id = purchased_id(token, sum(map(len, self.bought.values())))
            self.bought.setdefault(f"{token} {body['prompt']}", []).append(task_id)
            return {"success": True, "task_id": task_id, "trace_id": "t"}
        if body["action"] == "retrieve":
            return record(token, body["id"]) or {}
        items = [found for task_id in body["ids"] if (found := record(token, task_id)) is not None]
        return {"items": items, "count": len(items)}


def _process_of(writer: asyncio.StreamWriter) -> int | None:
    """Return the id of the process at the other end of a connection from this machine."""
    port, own = writer.get_extra_info("peername")[1], os.getpid()
    return next((c.pid for c in psutil.net_connections("tcp4") if c.laddr[1:] == (port,) and c.pid != own), None)


async def serve(listening: socket.socket) -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(Oracle().serve, sock=listening, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Serve on the inherited socket."""
    parser = ArgumentParser(prog="python -m tests.faults.oracle")
    parser.add_argument("--fd", type=int, required=True)
    asyncio.run(serve(socket.socket(fileno=parser.parse_args().fd)))


if __name__ == "__main__":
    main()

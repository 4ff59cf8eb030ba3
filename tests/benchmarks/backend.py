"""A fake AceDataCloud for benchmarks: every id is a task, answers have a delay, and connections are counted."""

import asyncio
import json
import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.support.acedata import completed, listing
from tests.support.asgi import read_body, send_json
from tests.support.serve import serve


class Everything:
    """The ASGI application: answers single and batch reads; GET returns the counts of connections and calls."""

    def __init__(self, delay_seconds: float, record: Callable[[str], Any]) -> None:
        self._delay_seconds = delay_seconds
        self._record = record
        self._clients: set[tuple[str, int]] = set()
        self._calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await _send(send, {"connections": len(self._clients), "calls": self._calls})
            return
        self._clients.add(tuple(scope["client"]))
        self._calls += 1
        asked = json.loads(await read_body(receive))
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        if asked["action"] == "retrieve":
            await _send(send, self._record(asked["id"]))
        else:
            await _send(send, listing(*map(self._record, asked["ids"])))


def finished(task_id: str) -> Any:
    """Return the record of a task that finished a minute ago, which the service caches."""
    now = time.time()
    return completed(task_id, created_at=now - 220.5, started_at=now - 220.0, finished_at=now - 65.8)


def running(task_id: str) -> Any:
    """Return the record of a task that started a second ago and does not finish."""
    now = time.time()
    return {"id": task_id, "created_at": now - 1.0, "started_at": now - 1.0, "request": {"prompt": "A fox"}}


async def _send(send: Send, answer: Any) -> None:
    await send_json(send, 200, json.dumps(answer, separators=(",", ":")).encode())


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--running", action="store_true", help="tasks that never end, in place of finished ones")
    chosen = parser.parse_args()
    serve(Everything(chosen.delay, running if chosen.running else finished))

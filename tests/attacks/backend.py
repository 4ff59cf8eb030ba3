"""A fake AceDataCloud for attacks. Its answers depend on the token and on the first task id of a request.

- a token that begins with "junk" gets 401
- an id that begins with "long" is a finished task with a prompt of 5,000 characters
- an id that begins with "hide" is a finished task with a prompt of 2,900 characters, every second one invisible
- an id that begins with "run" is a task that never ends
- an id that begins with "bomb" is answered with a gzip bomb in three layers
- an id that begins with "swell" is answered with 4 MiB of JSON that takes much more memory, or time, to decode
- every other id is a finished task
- a submission takes SUBMISSION_SECONDS, longer than the attackers wait; one of a token that begins with "buyer" is
  answered like a read, and GET /bought returns the callback URL and the task id of the last one
"""

import asyncio
import gzip
import json
import time
from argparse import ArgumentParser
from itertools import count, cycle
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.support.acedata import completed, listing
from tests.support.asgi import read_body, send_json
from tests.support.serve import serve

SUBMISSION_SECONDS = 25.0
BOMB_BYTES = 256 * 1024 * 1024
REFUSAL = {"error": {"code": "invalid_token", "message": "The specified token is invalid or wrong."}, "trace_id": "t"}


def bomb() -> bytes:
    """Return a body of some hundred bytes that decompresses to BOMB_BYTES, after three layers of gzip."""
    packed = gzip.compress(b" " * BOMB_BYTES)
    return gzip.compress(gzip.compress(packed))


def swelling() -> list[bytes]:
    """Return JSON bodies of 4 MiB that are expensive to decode.

    They hold a string of ASCII letters with one emoji (which makes CPython store four bytes for each letter), many
    strings, many keys, many numbers, many escapes, and an error that seems to begin many task ids.
    """
    room = 4 * 1024 * 1024 - 100
    return [
        '{"items": [], "x": "🦊'.encode() + b"a" * room + b'"}',
        '{"items": [], "x": ["🦊",'.encode() + '"éé",'.encode() * (room // 7) + b"1]}",
        b'{"items": [], "x": {' + b",".join(b'"%06x":0' % number for number in range(room // 11)) + b"}}",
        b'{"items": [], "x": [' + b"-9," * (room // 3) + b"1]}",
        b'{"items": [], "x": "' + b'a\\"' * (room // 3) + b'"}',
        b'{"error": {"code": "bad_request", "message": "' + b"aaaaaaaa-" * (room // 9) + b'"}}',
    ]


class AttackedBackend:
    """The ASGI application of the backend. `delay_seconds` is the delay of its answers to reads."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        self._bomb = bomb()
        self._swelling = cycle(swelling())
        self._numbers = count(1)
        self._bought: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bought":
            await send_json(send, 200, json.dumps(self._bought).encode())
            return
        asked = json.loads(await read_body(receive))
        is_submission, token = scope["path"] == "/luma/videos", _token(scope)
        is_refused = token.startswith("junk")
        is_slow = is_submission and not is_refused and not token.startswith("buyer")
        await asyncio.sleep(SUBMISSION_SECONDS if is_slow else self._delay_seconds)
        if is_refused:
            await send_json(send, 401, json.dumps(REFUSAL).encode())
        elif is_submission:
            await self._sell(asked, send, is_slow=is_slow)
        else:
            await self._show(asked, send)

    async def _sell(self, asked: dict[str, Any], send: Send, *, is_slow: bool) -> None:
        task_id = "run-1" if is_slow else f"bought-{next(self._numbers)}"
        self._bought = {"url": asked.get("callback_url") or "", "task_id": task_id}
        await send_json(send, 200, json.dumps({"task_id": task_id}).encode())

    async def _show(self, asked: dict[str, Any], send: Send) -> None:
        ids = [asked["id"]] if asked["action"] == "retrieve" else asked["ids"]
        if ids[0].startswith("bomb"):
            await send_json(send, 200, self._bomb, (b"content-encoding", b"gzip, gzip, gzip"))
            return
        if ids[0].startswith("swell"):
            await send_json(send, 200, next(self._swelling))
            return
        records = list(map(record, ids))
        await send_json(send, 200, json.dumps(records[0] if "id" in asked else listing(*records)).encode())


def record(task_id: str) -> dict[str, Any]:
    """Return the record of a task by its id."""
    now = time.time()
    if task_id.startswith("run"):
        return {"id": task_id, "created_at": now - 1.0, "started_at": now - 1.0, "request": {"prompt": "A fox"}}
    finished = completed(task_id, created_at=now - 220.5, started_at=now - 220.0, finished_at=now - 65.8)
    if task_id.startswith("long"):
        finished["response"] = finished["response"] | {"prompt": "🦊" * 5000}
    if task_id.startswith("hide"):
        finished["response"] = finished["response"] | {"prompt": "a\u200b" * 1450}
    return finished


def _token(scope: Scope) -> str:
    given: bytes = dict(scope["headers"]).get(b"authorization", b"")
    return given.decode().removeprefix("Bearer ")


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer to a read")
    serve(AttackedBackend(parser.parse_args().delay))

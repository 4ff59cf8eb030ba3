"""AceDataCloud as an oracle: what every task truly is follows from its token and its id; it counts what is bought.

The server is written on bare streams, because most of its faults are ones that no framework will make.
"""

import asyncio
import json
import random
import time
from collections import Counter
from typing import Any, Final

from tests.support.acedata import completed, listing
from tests.support.redis_server import free_port

FAULTS: Final = (
    "hang before headers",
    "hang after headers",
    "reset",
    "truncated body",
    "never-ending body",
    "HTML 502",
    "429",
    "429 with Retry-After",
    "401",
    "wrong id",
    "10 MB",
    "duplicated and reordered",
)
REFUSALS: Final = ("429", "429 with Retry-After", "401")
HANG_SECONDS = 60.0
TEN_MEGABYTES = 10 * 1024 * 1024


def video_url(token: str, task_id: str) -> str:
    """Return the address of a finished task's video: nobody else's task has it."""
    return f"https://cdn.example.com/{token}/{task_id}.mp4"


def true_state(task_id: str) -> str | None:
    """Return the state of a task by the first letter of its id, or None where there is no such task."""
    return {"f": "completed", "x": "failed", "r": "pending"}.get(task_id[0])


def record(token: str, task_id: str) -> dict[str, Any] | None:
    """Return what the backend says of a task, or None."""
    now, state = time.time(), true_state(task_id)
    times = {"created_at": now - 200, "started_at": now - 199, "finished_at": now - 60}
    if state == "completed":
        whole = completed(task_id, **times)
        return whole | {"response": whole["response"] | {"video_url": video_url(token, task_id)}}
    if state == "failed":
        failure = {"success": False, "task_id": task_id, "error": {"code": "api_error", "message": "No."}}
        return {"id": task_id, **times, "request": {"prompt": "A fox"}, "response": failure}
    if state == "pending":
        return {"id": task_id, "created_at": now - 5, "started_at": now - 4, "request": {"prompt": "A fox"}}
    return None


class Oracle:
    """Answers, breaks as it is told, and remembers every submission."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.share = 0.0
        self.submissions: Counter[str] = Counter()
        self.calls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
                body = json.loads(await reader.readexactly(length)) if length else {}
                path = head.split(" ", 2)[1]
                token = head.partition("authorization: bearer ")[2].partition("\r\n")[0]
                await self._answer(path, token, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, token: str, body: Any, writer: asyncio.StreamWriter) -> None:
        if path == "/control":
            self.fault, self.share = body.get("fault"), body.get("share", 0.0)
            await _send(writer, {})
        elif path == "/state":
            await _send(writer, {"submissions": self.submissions, "calls": self.calls})
        else:
            self.calls += 1
            broken = self.fault is not None and random.random() < self.share
            # Who is turned away has bought nothing; with every other fault the video is made all the same.
            if broken and self.fault in REFUSALS:
                await self._break(writer, {}, token)
            elif broken:
                await self._break(writer, self._true_answer(path, token, body), token)
            else:
                await _send(writer, self._true_answer(path, token, body))

    def _true_answer(self, path: str, token: str, body: Any) -> Any:
        if path.endswith("/videos"):
            self.submissions[f"{token} {body['prompt']}"] += 1
            return {"success": True, "task_id": f"r-{token}-{sum(self.submissions.values())}", "trace_id": "t"}
        if body["action"] == "retrieve":
            return record(token, body["id"]) or {}
        return listing(*filter(None, (record(token, task_id) for task_id in body["ids"])))

    async def _break(  # noqa: C901, PLR0912 - one case for each fault
        self, writer: asyncio.StreamWriter, answer: Any, token: str
    ) -> None:
        whole = json.dumps(answer).encode()
        match self.fault:
            case "hang before headers":
                await asyncio.sleep(HANG_SECONDS)
            case "hang after headers":
                await _write(writer, _head(200, len(whole)))
                await asyncio.sleep(HANG_SECONDS)
            case "truncated body":
                await _write(writer, _head(200, len(whole)) + whole[: len(whole) // 2])
            case "never-ending body":
                await _write(writer, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[")
                for _ in range(int(HANG_SECONDS)):
                    await _write(writer, b"1," * 500_000)
            case "HTML 502":
                await _send(writer, b"<html><body><h1>502 Bad Gateway</h1></body></html>", 502, "text/html")
            case "429":
                await _send(writer, _error("too_many_requests"), 429)
            case "429 with Retry-After":
                await _send(writer, _error("too_many_requests"), 429, extra="retry-after: 1\r\n")
            case "401":
                await _send(writer, _error("invalid_token"), 401)
            case "wrong id":
                await _send(writer, _with_wrong_ids(answer, token))
            case "10 MB":
                await _send(writer, b'{"items": [' + b'{"id": "f-0"},' * (TEN_MEGABYTES // 14) + b"{}]}")
            case "duplicated and reordered":
                await _send(writer, _shuffled(answer))
        if self.fault in ("hang before headers", "hang after headers", "reset", "truncated body", "never-ending body"):
            writer.transport.abort()


def _with_wrong_ids(answer: Any, token: str) -> Any:
    """Return the answer with records of tasks that nobody asked for in place of its own."""
    if "items" in answer:
        return {**answer, "items": [record(token, "f-999999") for _ in answer["items"]]}
    return record(token, "f-999999") if answer.get("id") else answer


def _shuffled(answer: Any) -> Any:
    if "items" not in answer:
        return answer
    items = [*answer["items"], *answer["items"]]
    random.shuffle(items)
    return {**answer, "items": items}


def _error(code: str) -> Any:
    return {"success": False, "error": {"code": code, "message": "No."}, "trace_id": "t"}


def _head(status: int, length: int, kind: str = "application/json", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{extra}\r\n".encode()


async def _write(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(content)
    await writer.drain()


async def _send(
    writer: asyncio.StreamWriter, answer: Any, status: int = 200, kind: str = "application/json", extra: str = ""
) -> None:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    await _write(writer, _head(status, len(body), kind, extra) + body)


async def main() -> None:
    """Serve on a free loopback port until ended."""
    server = await asyncio.start_server(Oracle().serve, "127.0.0.1", port := free_port(), backlog=1024)
    print(f"Serving MCP at http://127.0.0.1:{port}/mcp", flush=True)  # noqa: T201 - for the harness
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

"""The service with one more path, TASKS_PATH, which returns the number of asyncio tasks by their coroutine's name."""

import asyncio
import signal
from argparse import ArgumentParser
from collections import Counter

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cli.serve import build_worker
from tests.support.serve import serve

TASKS_PATH = "/asyncio-tasks"


def _counting(app: ASGIApp) -> ASGIApp:
    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") != TASKS_PATH:
            await app(scope, receive, send)
            return
        names = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
        await JSONResponse(names)(scope, receive, send)

    return counted


def main() -> None:
    """Serve until a signal ends the process."""
    parser = ArgumentParser(prog="python -m tests.soak.counted")
    parser.add_argument("--port", type=int, required=True)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn drains, then raises it again; see app.cli.serve
    serve(_counting(build_worker(env_file=None)), parser.parse_args().port)


if __name__ == "__main__":
    main()

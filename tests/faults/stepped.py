"""The service with a wall clock that a scenario can set, and a count of its tasks: `python -m tests.faults.stepped`.

The clock reads its offset, in seconds, from the file that CLOCK_FILE names.
"""

import asyncio
import os
import signal
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.bootstrap import Clocks, assemble
from app.observability.logs import configure_logging
from app.settings import load_settings
from app.web.app import create_app
from tests.support.serve import serve

CLOCK_FILE = Path(os.environ.get("LUMA_MCP_FAULTS_CLOCK", "/nonexistent"))
TASKS_PATH = "/asyncio-tasks"


def _wall() -> float:
    try:
        return time.time() + float(CLOCK_FILE.read_text() or 0)
    except OSError:
        return time.time()


def _counting(app: ASGIApp) -> ASGIApp:
    """Return `app` with one more path: how many asyncio tasks there are, by the coroutine that they run."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") != TASKS_PATH:
            await app(scope, receive, send)
            return
        names = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
        await JSONResponse(names)(scope, receive, send)

    return counted


def main() -> None:
    """Serve until ended."""
    parser = ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    clocks = Clocks(wall=_wall, monotonic=time.monotonic, sleep=asyncio.sleep)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn drains, then raises it again: as app.serving has it
    app = create_app(settings, assemble(settings, base_url="", clocks=clocks))
    serve(_counting(app), parser.parse_args().port)


if __name__ == "__main__":
    main()

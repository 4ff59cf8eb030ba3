"""The service as it ships, with one more path: how many asyncio tasks there are, by the coroutine that they run."""

import asyncio
import signal
from argparse import ArgumentParser
from collections import Counter

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.bootstrap import assemble
from app.memory import settle
from app.observability.logs import configure_logging
from app.settings import load_settings
from app.web.app import create_app
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
    """Serve until ended."""
    parser = ArgumentParser(prog="python -m tests.soak.counted")
    parser.add_argument("--port", type=int, required=True)
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    app = _counting(create_app(settings, assemble(settings, base_url="")))
    settle()
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn drains, then raises it again: as app.serving has it
    serve(app, parser.parse_args().port)


if __name__ == "__main__":
    main()

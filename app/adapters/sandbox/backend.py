"""The sandbox's front door: AceDataCloud's two Luma paths as an ASGI application."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from app.adapters.sandbox.behaviour import DOCUMENTED, Behaviour, ErrorForm
from app.adapters.sandbox.callbacks import RETRY_SECONDS, Deliver, delivered
from app.adapters.sandbox.engine import Sandbox
from app.adapters.sandbox.faults import (
    INVALID_TOKEN,
    NO_API,
    NO_TOKEN,
    PROXY_PAGE,
    PROXY_STATUS,
    Refused,
    error_body,
)
from app.adapters.sandbox.tasks import Record, Wire, callback_body, success_body


def create_sandbox(
    *,
    seconds: float,
    media_url: str,
    clock: Callable[[], float] = time.time,
    behaviour: Behaviour = DOCUMENTED,
    deliver: Deliver | None = None,
) -> Starlette:
    """Return a fake AceDataCloud; its `Sandbox`, with the counters, is at `app.state.sandbox`.

    A generation takes `seconds`; its files are said to be at `media_url` (no slash at the end), where
    `media_routes` can serve them. `clock` gives unix seconds. `deliver` posts callbacks; None: none are posted.
    """
    return sandbox_app(Sandbox(seconds=seconds, media_url=media_url, clock=clock, behaviour=behaviour, deliver=deliver))


def sandbox_app(sandbox: Sandbox) -> Starlette:
    """Return the application that answers for `sandbox`.

    Callbacks under way are given up when its lifespan ends; a host that runs no lifespan calls
    `sandbox.callbacks.close()` itself.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await sandbox.callbacks.close()

    app = Starlette(
        routes=[Route("/luma/videos", _videos, methods=["POST"]), Route("/luma/tasks", _tasks, methods=["POST"])],
        exception_handlers={Refused: _turn_down, HTTPException: _turn_down},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.sandbox = sandbox
    return app


async def _videos(request: Request) -> Response:
    sandbox = _sandbox(request)
    submission, record = sandbox.submit(_bearer_token(request), await _json_object(request))
    if submission.callback_url and sandbox.deliver is not None:
        sandbox.callbacks.expect(_call_back(sandbox, sandbox.deliver, submission.callback_url, record))
    if submission.answers_at_once:
        return _json(_receipt(record, sandbox.behaviour))
    await sandbox.until_ended(record)
    if record.fault is not None:
        raise Refused(record.fault)
    return _json(success_body(record))


async def _tasks(request: Request) -> Response:
    return _json(_sandbox(request).read(_bearer_token(request), await _json_object(request)))


async def _call_back(sandbox: Sandbox, deliver: Deliver, url: str, record: Record) -> None:
    await sandbox.until_ended(record)
    body = callback_body(record)
    for _ in range(sandbox.behaviour.callback_retries):
        if await delivered(deliver, url, body):
            return
        await sandbox.sleep(RETRY_SECONDS)
    await delivered(deliver, url, body)


async def _turn_down(request: Request, error: Exception) -> Response:
    fault = error.fault if isinstance(error, Refused) else NO_API
    form = _sandbox(request).behaviour.error
    if form is ErrorForm.HTML:
        return HTMLResponse(PROXY_PAGE, PROXY_STATUS)
    return _json(error_body(fault, str(uuid4()), form), fault.status)


def _sandbox(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


def _bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if not token.strip() and scheme.lower() in ("", "bearer"):
        raise Refused(NO_TOKEN)
    if scheme.lower() != "bearer":
        raise Refused(INVALID_TOKEN)
    return token.strip()


async def _json_object(request: Request) -> Wire | None:
    try:
        body = json.loads(await request.body(), parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _receipt(record: Record, behaviour: Behaviour) -> Wire:
    return {"success": True, "task_id": record.task_id} if behaviour.async_says_success else {"task_id": record.task_id}


def _json(body: Wire, status: int = 200) -> Response:
    return Response(json.dumps(body, separators=(",", ":")), status, media_type="application/json")

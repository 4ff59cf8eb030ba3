"""The sandbox's ASGI application, with AceDataCloud's two Luma paths."""

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
from app.adapters.sandbox.callbacks import RETRY_SECONDS, Deliver, try_to_deliver
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
from app.adapters.sandbox.tasks import JsonObject, Record, callback_body, success_body


def create_sandbox(
    *,
    seconds: float,
    media_url: str,
    clock: Callable[[], float] = time.time,
    behaviour: Behaviour = DOCUMENTED,
    deliver: Deliver | None = None,
) -> Starlette:
    """Return a new sandbox as an ASGI application. Its `Sandbox`, with the counters, is `app.state.sandbox`.

    A generation takes `seconds`. The URLs of its files begin with `media_url` (without a trailing slash), where
    `media_routes` can serve them. `clock` returns Unix seconds. `deliver` posts callbacks; None means that none are
    posted.
    """
    return sandbox_app(Sandbox(seconds=seconds, media_url=media_url, clock=clock, behaviour=behaviour, deliver=deliver))


def sandbox_app(sandbox: Sandbox) -> Starlette:
    """Return the ASGI application of `sandbox`.

    The end of its lifespan cancels pending callbacks. A host that runs no lifespan must call
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
        exception_handlers={Refused: _error_response, HTTPException: _error_response},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.sandbox = sandbox
    return app


async def _videos(request: Request) -> Response:
    sandbox = _sandbox(request)
    submission, record = sandbox.submit(_bearer_token(request), await _json_object(request))
    if submission.callback_url and sandbox.deliver is not None:
        sandbox.callbacks.start(_call_back(sandbox, sandbox.deliver, submission.callback_url, record))
    if submission.is_async:
        return _json(_accepted_body(record, sandbox.behaviour))
    await sandbox.wait_until_ended(record)
    if record.fault is not None:
        raise Refused(record.fault)
    return _json(success_body(record))


async def _tasks(request: Request) -> Response:
    return _json(_sandbox(request).read(_bearer_token(request), await _json_object(request)))


async def _call_back(sandbox: Sandbox, deliver: Deliver, url: str, record: Record) -> None:
    await sandbox.wait_until_ended(record)
    body = callback_body(record)
    for _ in range(sandbox.behaviour.callback_retries):
        if await try_to_deliver(deliver, url, body):
            return
        await sandbox.sleep(RETRY_SECONDS)
    await try_to_deliver(deliver, url, body)


async def _error_response(request: Request, error: Exception) -> Response:
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


async def _json_object(request: Request) -> JsonObject | None:
    try:
        body = json.loads(await request.body(), parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _reject_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _accepted_body(record: Record, behaviour: Behaviour) -> JsonObject:
    return {"success": True, "task_id": record.task_id} if behaviour.async_says_success else {"task_id": record.task_id}


def _json(body: JsonObject, status: int = 200) -> Response:
    return Response(json.dumps(body, separators=(",", ":")), status, media_type="application/json")

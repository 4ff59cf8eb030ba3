"""Errors of /admin/v1: problem details (RFC 9457). Their sentences never quote the request."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import TypedDict

PROBLEM_JSON = "application/problem+json"
NO_STORE = (b"cache-control", b"no-store")

CODES = {
    HTTPStatus.BAD_REQUEST: "not_json",
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid_request",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}
"""The `code` of a problem, by its status."""


class Problem(TypedDict):
    """A problem document. `detail` is a sentence for people, `code` a word for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class RequestRefused(Exception):
    """Raised to refuse a request. `str()` is the `detail` of the problem, which must not quote the request."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Refuse with `status`. `headers` are added to the response."""
        super().__init__(detail)
        self.status = status
        self.headers = headers


def problem_response(refusal: RequestRefused) -> Response:
    """Return the HTTP response for a refusal."""
    body = problem(refusal.status, str(refusal), CODES[refusal.status])
    return Response(body, refusal.status, refusal.headers, media_type=PROBLEM_JSON)


def problem(status: int, detail: str, code: str) -> bytes:
    """Return a problem as JSON."""
    content = Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail, code=code)
    return json.dumps(content).encode()


def first_error_sentence(error: ValidationError, allowed: list[str]) -> str:
    """Return the first error of a body or query as a sentence that quotes no value. `allowed` are the valid names."""
    first_error = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first_error["type"] == "extra_forbidden":
        return f"A name is not known. {_known(allowed)}"
    name = first_error["loc"][0] if first_error["loc"] else None
    message = first_error["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{name}: {message}." if name in allowed else f"{message}."


def _known(allowed: list[str]) -> str:
    return f"Known are {', '.join(allowed)}." if allowed else "No name is known here: send none."


class ProblemDetailsMiddleware:
    """Turns JSON-RPC errors of shared middleware into problems, and keeps administrative responses out of caches."""

    def __init__(self, app: ASGIApp, is_admin_request: Callable[[Scope], bool]) -> None:
        """Wrap `app`. Responses to requests for which `is_admin_request` is true are rewritten."""
        self._app = app
        self._is_admin_request = is_admin_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and rewrite its response if it is administrative."""
        is_admin_request = scope["type"] == "http" and self._is_admin_request(scope)
        await self._app(scope, receive, _rewriting(send) if is_admin_request else send)


def _rewriting(send: Send) -> Send:
    """Return a `send` that rewrites JSON errors. The body of an error must be one message, as `send_error` sends it."""
    head: Message | None = None

    async def rewriting(message: Message) -> None:
        nonlocal head
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), NO_STORE]
            if message["status"] >= HTTPStatus.BAD_REQUEST and _media_type(message) == b"application/json":
                head = message
                return
        elif head is not None:
            start, head = head, None
            body = _as_problem(start["status"], message.get("body", b""))
            replaced = (b"content-type", b"content-length")
            other_headers = [(name, value) for name, value in start["headers"] if name not in replaced]
            length = str(len(body)).encode()
            headers = [*other_headers, (b"content-type", PROBLEM_JSON.encode()), (b"content-length", length)]
            await send({**start, "headers": headers})
            message = {**message, "body": body}
        await send(message)

    return rewriting


def _media_type(start: Message) -> bytes | None:
    return next((value for name, value in start["headers"] if name == b"content-type"), None)


def _as_problem(status: int, body: bytes) -> bytes:
    error = json.loads(body)["error"]
    return problem(status, error["message"], error.get("data", error)["code"])

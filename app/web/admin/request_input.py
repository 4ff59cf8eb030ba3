"""Reads the input of requests to /admin/v1: the variable part of the path, the query and the body."""

import re
from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from app.web.admin.bodies import Body, Query
from app.web.admin.handlers import OperationInput
from app.web.admin.operations import TARGET_PATTERNS, Operation
from app.web.admin.problems import RequestRefused, first_error_sentence

MAX_BODY_BYTES = 16 * 1024

M = TypeVar("M", bound=BaseModel)


async def read_input(request: Request, operation: Operation) -> OperationInput[Body, Query]:
    """Return the validated input of a request. Raises RequestRefused if a part is invalid or too large."""
    # A path has at most one variable part.
    target = "".join(_checked_target(name, value) for name, value in request.path_params.items())
    query = _query(request, operation.query)
    return OperationInput(target, await _body(request, operation.body), query)


def _checked_target(name: str, value: str) -> str:
    if re.fullmatch(TARGET_PATTERNS[name], value) is None:
        raise RequestRefused(HTTPStatus.NOT_FOUND, "There is nothing under this path.")
    return value


def _query(request: Request, model: type[Query]) -> Query:
    pairs = request.query_params.multi_items()
    if len({name for name, _ in pairs}) < len(pairs):
        raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, "The query has a parameter twice. Send it once.")
    try:
        return model.model_validate(dict(pairs))
    except ValidationError as exc:
        raise _invalid("query", exc, model) from None


async def _body(request: Request, model: type[Body]) -> Body:
    content = await _body_bytes(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content and media_type != "application/json":
        raise RequestRefused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with the header `Content-Type: application/json`."
        )
    try:
        return model.model_validate_json(content or b"{}")
    except ValidationError as exc:
        if exc.errors(include_input=False)[0]["type"] == "json_invalid":
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "The body is not JSON. Send an object, in UTF-8.") from None
        raise _invalid("body", exc, model) from None


def _invalid(part: str, error: ValidationError, model: type[BaseModel]) -> RequestRefused:
    detail = f"The {part} cannot be used. {first_error_sentence(error, list(model.model_fields))}"
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


async def _body_bytes(request: Request) -> bytes:
    """Return the whole body. Raises RequestRefused if it is too large, or if the client disconnects before its end."""
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAX_BODY_BYTES:
                too_large = f"The body is larger than {MAX_BODY_BYTES} bytes."
                raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
    except ClientDisconnect:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "The request did not arrive whole.") from None
    return bytes(content)

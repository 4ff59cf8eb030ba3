"""Validates the arguments of a call. Errors are sentences that name the arguments and never quote a value."""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.domain.errors import InvalidRequest
from app.domain.untrusted_text import MAX_ID_LENGTH
from app.mcp_server.tools.arguments import NO_TEXT, Arguments, SpendingArguments
from app.mcp_server.tools.coercion import coerce_arguments, nearest

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,40}")
_MAX_FAULTS = 3
_MAX_COMPARED = 20
"""Limit of argument names that are compared with a missing argument's name. A comparison takes 15 µs."""


def read_arguments(model: type[Arguments], raw_arguments: Mapping[str, Any]) -> Arguments:
    """Return the tool's arguments, coerced and validated.

    Raises InvalidRequest, whose message names the invalid arguments and quotes no value.
    """
    arguments = coerce_arguments(model, raw_arguments, is_billable=issubclass(model, SpendingArguments))
    try:
        return model.model_validate(arguments)
    except ValidationError as exc:
        faults = exc.errors(include_url=False, include_input=False)
        sentences = [_sentence(model, detail, raw_arguments) for detail in faults[:_MAX_FAULTS]]
        raise InvalidRequest(" ".join(sentences)) from None


def _sentence(model: type[Arguments], error: ErrorDetails, raw_arguments: Mapping[str, Any]) -> str:
    name = _name(error["loc"])
    match error["type"] if error["loc"] else "name":  # an error without a location is a name that is not valid text
        case "missing":
            first_names = islice(raw_arguments, _MAX_COMPARED)
            similar = next((other for other in first_names if nearest(model, other) == error["loc"][0]), "")
            hint = f" The call has `{similar}` in its place." if _PLAIN_NAME.fullmatch(similar) else ""
            return f"{name} is required.{hint}"
        case "too_long":
            return f"{name} holds more than {error['ctx']['max_length']} ids: split it into several calls."
        case "too_short":
            return f"{name} is empty: give at least one id."
        case kind:
            return f"{name} {_RULES.get(kind) or _pydantic_words(error)}."


_NO_ID = f"is not an id: 1 to {MAX_ID_LENGTH} visible ASCII characters without spaces"


_RULES: dict[str, str] = {
    "name": NO_TEXT,
    "unwritable": NO_TEXT,
    "string_type": "must be a string",
    "string_pattern_mismatch": _NO_ID,
    "string_too_long": _NO_ID,
    "string_unicode": NO_TEXT,
    "list_type": 'must be a list of strings, such as ["id1", "id2"]',
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "finite_number": "must be a number",
}
"""The predicate of the error sentence for each error type."""


def _pydantic_words(error: ErrorDetails) -> str:
    expected = error.get("ctx", {}).get("expected")
    return f"must be one of {expected}" if expected else error["msg"]


def _name(location: tuple[int | str, ...]) -> str:
    """Return the argument's path for a sentence. A name that is not a plain identifier is not quoted."""
    if not location:
        return "The name of an argument"
    name, *indexes = location
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        return "An argument"
    return f"`{name}{''.join(f'[{index}]' for index in indexes if isinstance(index, int))}`"

"""Validates the arguments of a call. An error is a sentence that names the arguments and repeats no value."""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.domain.errors import InvalidRequest
from app.domain.foreign_text import LONGEST_ID
from app.mcp_server.tools.arguments import NO_TEXT, Arguments, SpendingArguments
from app.mcp_server.tools.coercion import coerced, nearest

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,40}")
_MOST_FAULTS = 3
_MOST_COMPARED = 20
"""Given names that are compared with that of a missing argument. A comparison takes 15 µs."""


def read_arguments(model: type[Arguments], given: Mapping[str, Any]) -> Arguments:
    """Return `given` as the tool's arguments, read as `coerced` reads them.

    Raises InvalidRequest, whose sentence names the arguments at fault and repeats no value.
    """
    meant = coerced(model, given, spends=issubclass(model, SpendingArguments))
    try:
        return model.model_validate(meant)
    except ValidationError as exc:
        faults = exc.errors(include_url=False, include_input=False)
        sentences = [_sentence(model, detail, given) for detail in faults[:_MOST_FAULTS]]
        raise InvalidRequest(" ".join(sentences)) from None


def _sentence(model: type[Arguments], error: ErrorDetails, given: Mapping[str, Any]) -> str:
    name = _name(error["loc"])
    match error["type"] if error["loc"] else "name":  # only a name that is no text has no place
        case "missing":
            first = islice(given, _MOST_COMPARED)
            meant = next((other for other in first if nearest(model, other) == error["loc"][0]), "")
            hint = f" The call has `{meant}` in its place." if _PLAIN_NAME.fullmatch(meant) else ""
            return f"{name} is required.{hint}"
        case "too_long":
            return f"{name} holds more than {error['ctx']['max_length']} ids: split it into several calls."
        case "too_short":
            return f"{name} is empty: give at least one id."
        case kind:
            return f"{name} {_EXPECTED.get(kind) or _pydantic_words(error)}."


_NO_ID = f"is not an id: 1 to {LONGEST_ID} visible ASCII characters without spaces"


_EXPECTED: dict[str, str] = {
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


def _pydantic_words(error: ErrorDetails) -> str:
    expected = error.get("ctx", {}).get("expected")
    return f"must be one of {expected}" if expected else error["msg"]


def _name(location: tuple[int | str, ...]) -> str:
    """Return the argument's path, as far as it is one that a person would write."""
    if not location:
        return "The name of an argument"
    name, *rest = location
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        return "An argument"
    return f"`{name}{''.join(f'[{index}]' for index in rest if isinstance(index, int))}`"

"""Coerces arguments that clients send in another JSON type, and drops arguments that clients add.

Only unambiguous values are coerced: a number or a boolean in a string, a list in a string (as JSON, or separated by
spaces, commas or semicolons), a list of one id instead of an id, and a text such as "null" for a missing value. A
billable tool refuses unknown arguments, because one may be a misspelt argument that changes what is bought.
"""

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache, partial
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.domain.errors import InvalidRequest
from app.mcp_server.tools.arguments import HIDDEN_BY_DEFAULT, means_no_value

ADDED_BY_CLIENTS = frozenset(
    ("wait_for_previous", "random_string", "toolCallId", "sessionId", "action", "chatInput", "tool", "tool_call_id")
)
"""Arguments that Gemini CLI, Cursor and n8n add to the calls of any tool."""

_SEPARATORS = str.maketrans(",;\n\t", "    ")
_MAX_QUOTED_LENGTH = 100
"""Length up to which an unknown argument's name is quoted in the error."""

MAX_IDS = 1_001
"""Lists are cut to this length before validation, which takes a microsecond for each wrong item.

The limit is above the largest batch, so a cut list is still too long, and validation refuses it.
"""


def coerce_arguments(model: type[BaseModel], raw_arguments: Mapping[str, Any], *, is_billable: bool) -> dict[str, Any]:
    """Return `raw_arguments` with their values coerced to the types of `model`. Ambiguous values are unchanged.

    An argument that is null is dropped if it has a default. Unknown arguments are dropped. If the tool is billable, an
    unknown argument that is not in ADDED_BY_CLIENTS raises InvalidRequest, which suggests the most similar known one.

    A text in NO_VALUE counts as left out if the argument is an optional text whose default is None or "". Validation
    refuses such a text for an argument with another default, which the client may not mean, and for the idempotency
    key: without a key, a repeated call buys again. Without another optional text, a call still buys one video.
    """
    coercers, arguments = _coercers(model), {}
    for name, value in raw_arguments.items():
        if name in coercers:
            if value is not None or model.model_fields[name].is_required():
                arguments[name] = coercers[name](value)
        elif is_billable and name not in ADDED_BY_CLIENTS:
            raise InvalidRequest(_unknown_argument(model, name))
    return arguments


def nearest(model: type[BaseModel], name: str) -> str | None:
    """Return the argument of `model` whose name is most similar to `name`; None if none is similar."""
    close = get_close_matches(name[:40], list(model.model_fields), n=1)
    return close[0] if close else None


def _unknown_argument(model: type[BaseModel], name: str) -> str:
    known = ", ".join(argument for argument in model.model_fields if argument not in HIDDEN_BY_DEFAULT)
    similar = nearest(model, name)
    hint = f" Did you mean `{similar}`?" if similar else ""
    quoted = (
        f"`{name}`" if name.isascii() and name.isidentifier() and len(name) <= _MAX_QUOTED_LENGTH else "An argument"
    )
    return f"{quoted} is not an argument of this tool; it takes: {known}. Nothing was bought.{hint}"


@cache
def _coercers(model: type[BaseModel]) -> dict[str, Callable[[Any], Any]]:
    return {name: _coercer(name, field) for name, field in model.model_fields.items()}


def _coercer(name: str, field: FieldInfo) -> Callable[[Any], Any]:
    if name == "task_id":
        return _one_id
    if name == "idempotency_key":
        return _unchanged
    annotation: Any = field.annotation
    if NoneType in get_args(annotation):
        (annotation,) = (choice for choice in get_args(annotation) if choice is not NoneType)
    base_type: Any = get_origin(annotation) or annotation
    if base_type in (str, Literal) and field.default in (None, ""):
        return partial(_text, default=field.default)
    return {bool: _boolean, float: _number, list: _text_list}.get(base_type, _unchanged)


def _unchanged(value: Any) -> Any:
    return value


def _one_id(value: Any) -> Any:
    """Return the id in a list of one id; other values are unchanged."""
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else value


def _text(value: Any, *, default: str | None) -> Any:
    """Return `default` for a text that means no value."""
    return default if isinstance(value, str) and means_no_value(value) else value


def _boolean(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value) if value.strip().replace(".", "", 1).isdecimal() else value
    except ValueError:
        return value


def _text_list(value: Any) -> Any:
    texts = _parsed_text_list(value) if isinstance(value, str) else value
    return texts[:MAX_IDS] if isinstance(texts, list) else texts


def _parsed_text_list(value: str) -> Any:
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value.translate(_SEPARATORS).split()

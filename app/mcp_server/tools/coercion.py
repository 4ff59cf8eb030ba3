"""Coerces arguments to their evident meaning: values in another JSON type, and arguments that clients add.

Only readings that leave no doubt: a number in a string, a list in a string, one id where a list is due. On a tool that
spends, an argument of unknown name is refused, because it may be a misspelt one that changes what is bought.
"""

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from app.domain.errors import InvalidRequest
from app.mcp_server.tools.arguments import SELDOM_PUBLISHED

ADDED_BY_CLIENTS = frozenset(
    ("wait_for_previous", "random_string", "toolCallId", "sessionId", "action", "chatInput", "tool", "tool_call_id")
)
"""Arguments that Gemini CLI, Cursor and n8n add to the calls of any tool."""

NO_VALUE = frozenset(("", "null", "none", "undefined"))
"""Texts, in any case, that clients send for a missing value."""

_SEPARATORS = str.maketrans(",;\n\t", "    ")
_MOST_LISTED = 100

MOST_IDS = 1_001
"""Length to which a list is cut. It is above the largest batch, so that such a list is refused as too long. Each wrong
item would cost a microsecond.
"""


def coerced(model: type[BaseModel], given: Mapping[str, Any], *, spends: bool) -> dict[str, Any]:
    """Return `given` in the types of `model`, as far as its reading leaves no doubt; the rest stays as it is.

    null counts as left out where there is a default. Raises InvalidRequest, which names the nearest argument, for an
    unknown name where `spends` is true; elsewhere unknown names are left out.
    """
    readers, meant = _readers(model), {}
    for name, value in given.items():
        if name in readers:
            if value is not None or model.model_fields[name].is_required():
                meant[name] = readers[name](value)
        elif spends and name not in ADDED_BY_CLIENTS:
            raise InvalidRequest(_unknown(model, name))
    return meant


def nearest(model: type[BaseModel], name: str) -> str | None:
    """Return the argument of `model` whose name is most like `name`, or None where none is."""
    close = get_close_matches(name[:40], list(model.model_fields), n=1)
    return close[0] if close else None


def _unknown(model: type[BaseModel], name: str) -> str:
    known = ", ".join(one for one in model.model_fields if one not in SELDOM_PUBLISHED)
    close = nearest(model, name)
    meant = f" Did you mean `{close}`?" if close else ""
    said = f"`{name}`" if name.isascii() and name.isidentifier() and len(name) <= _MOST_LISTED else "An argument"
    return f"{said} is not an argument of this tool; it takes: {known}. Nothing was bought.{meant}"


@cache
def _readers(model: type[BaseModel]) -> dict[str, Callable[[Any], Any]]:
    return {name: _reader(name, field.annotation) for name, field in model.model_fields.items()}


def _reader(name: str, annotation: Any) -> Callable[[Any], Any]:
    if name in _BY_NAME:
        return _BY_NAME[name]
    kind = get_origin(annotation) or annotation
    if kind is UnionType:
        (kind,) = (choice for choice in get_args(annotation) if choice is not NoneType)
    return {bool: _boolean, float: _number, list: _texts}.get(kind, _unchanged)


def _unchanged(value: Any) -> Any:
    return value


def _one_id(value: Any) -> Any:
    """Return the only id of a list that holds one."""
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else value


def _key(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in NO_VALUE else value


def _boolean(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value) if value.strip().replace(".", "", 1).isdecimal() else value
    except ValueError:
        return value


def _texts(value: Any) -> Any:
    texts = _parsed_texts(value) if isinstance(value, str) else value
    return texts[:MOST_IDS] if isinstance(texts, list) else texts


def _parsed_texts(value: str) -> Any:
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value.translate(_SEPARATORS).split()


_BY_NAME = {
    "idempotency_key": _key,
    "task_id": _one_id,
    **dict.fromkeys(("state", "since", "cursor"), _key),
}

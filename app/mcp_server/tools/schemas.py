"""The JSON schemas that tools/list publishes: those of pydantic, reduced to keywords that all gateways accept.

Each schema is computed once, which takes 20 ms. Callers must not change it.
"""

import json
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter

from app.mcp_server.tools.arguments import HIDDEN_BY_DEFAULT, SpendingArguments
from app.mcp_server.tools.results import ErrorResult

_NOT_PUBLISHED = frozenset(("title", "minLength", "maxLength", "exclusiveMinimum", "exclusiveMaximum"))
"""Keywords that are removed. Titles repeat names; several gateways refuse the others, and descriptions state them."""

Schema = dict[str, Any]


@cache
def input_schema(model: type[BaseModel], *, with_confirm: bool = False) -> Schema:
    """Return the schema of a tool's arguments, required ones first. `with_confirm` includes `confirm`.

    The schema does not offer null, which means the same as leaving an argument out. `additionalProperties: false` is
    published for billable tools only, because other tools ignore unknown arguments, and a client that validates calls
    would not send them.
    """
    schema: Schema = _without_null(_with_published_keywords(model.model_json_schema()))
    schema.pop("description", None)
    if not issubclass(model, SpendingArguments):
        del schema["additionalProperties"]
    properties = schema["properties"]
    for name in () if with_confirm else HIDDEN_BY_DEFAULT:
        properties.pop(name, None)
    schema["properties"] = {name: properties[name] for name in schema.get("required", ())} | properties
    return schema


@cache
def output_schema(result: Any) -> Schema:
    """Return the schema of `{"result": …}`, which is the typed result or an error.

    Clients validate the structured content of errors against the schema too. Definitions that are used once are
    inlined.
    """
    schema: Schema = _with_published_keywords(TypeAdapter(result | ErrorResult).json_schema())
    definitions = {name: _undescribed(definition) for name, definition in schema.pop("$defs", {}).items()}
    wrapped = {
        "type": "object",
        "properties": {"result": schema},
        "required": ["result"],
        "additionalProperties": False,
        "$defs": definitions,
    }
    while used_once := [name for name in definitions if json.dumps(wrapped).count(f'"#/$defs/{name}"') == 1]:
        _inline(wrapped, used_once[0], definitions.pop(used_once[0]))
    return wrapped if definitions else {key: value for key, value in wrapped.items() if key != "$defs"}


def _inline(schema: Any, name: str, definition: Schema) -> None:
    """Replace the only reference to a definition in `schema`, in place, by the definition."""
    for part in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(part, dict | list):
            if part == {"$ref": f"#/$defs/{name}"}:
                part.clear()
                part.update(definition)
                return
            _inline(part, name, definition)


def _undescribed(definition: Schema) -> Schema:
    return {key: value for key, value in definition.items() if key != "description"}


def _with_published_keywords(schema: Any) -> Any:
    """Return `schema` without the keywords in _NOT_PUBLISHED.

    A value that is a dict is kept, because its key is then the name of a property.
    """
    if isinstance(schema, list):
        return [_with_published_keywords(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _with_published_keywords(value)
        for key, value in schema.items()
        if key not in _NOT_PUBLISHED or isinstance(value, dict)
    }


def _without_null(schema: Any) -> Any:
    """Return the schema of arguments without null as a choice, and without the defaults null, "", 0 and false.

    Descriptions state each default.
    """
    if not isinstance(schema, dict):
        return schema
    kept = {key: _without_null(value) for key, value in schema.items()}
    choices = [choice for choice in kept.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        kept = choices[0] | {key: value for key, value in kept.items() if key != "anyOf"}
    return {key: value for key, value in kept.items() if key != "default" or value}

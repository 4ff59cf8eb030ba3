"""The OpenAPI 3.1 document of /admin/v1, generated from the operations."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter

from app.web.admin.operations import TARGET_PATTERNS, Operation
from app.web.admin.problems import PROBLEM_JSON, Problem

REFERENCE_TEMPLATE = "#/components/schemas/{model}"
COMMON_STATUSES = (401, 403, 404, 422, 429, 500, 503)
"""Statuses of the problems that any operation may return."""

CHANGE_STATUSES = (400, 409, 413, 415)
"""Statuses of the problems that only changes may return."""
DESCRIPTION = (
    "Administration of a team by the keys of that team that have the scope `admin`. The documents are those of "
    "`luma-mcp … --json`. A change counts within five seconds on every replica."
)


def openapi_document(operations: Sequence[Operation], base_path: str, version: str) -> dict[str, Any]:
    """Return the document. `base_path` is the path of the public URL followed by ADMIN_PATH."""
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "luma-mcp administration", "version": version, "description": DESCRIPTION},
        "servers": [{"url": base_path}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {str(status): _problem_response(status) for status in (*COMMON_STATUSES, *CHANGE_STATUSES)},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "a team key with `admin`"}},
        },
    }


class _Schemas:
    """The JSON schemas of all request and response bodies."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        queries = {operation.query for operation in operations}
        models = {operation.body for operation in operations} | queries
        response_types = [
            (operation.name, "serialization", TypeAdapter(operation.response_type)) for operation in operations
        ]
        inputs = [(model.__name__, "validation", TypeAdapter(model)) for model in models]
        named_types: Any = [*response_types, *inputs, ("problem", "serialization", TypeAdapter(Problem))]
        schemas, definitions = TypeAdapter.json_schemas(named_types, ref_template=REFERENCE_TEMPLATE)
        self._by_name = {name: schema for (name, _), schema in schemas.items()}
        # Queries are published as parameters; only the schemas that the parameters refer to are components.
        query_names = {query.__name__ for query in queries}
        self.components: dict[str, Any] = {
            name: schema for name, schema in sorted(definitions["$defs"].items()) if name not in query_names
        }

    def response(self, operation: Operation) -> Any:
        """Return the schema of a response body."""
        return self._by_name[operation.name]

    def body(self, operation: Operation) -> Any:
        """Return the schema of a request body."""
        return self._by_name[operation.body.__name__]


def _operation(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    statuses = (*COMMON_STATUSES, *(CHANGE_STATUSES if operation.is_change else ()))
    problems = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    response = {
        "description": HTTPStatus(operation.status).phrase,
        "content": {"application/json": {"schema": schemas.response(operation)}},
    }
    described = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"As `luma-mcp {operation.command}`.",
        "parameters": [*_path_parameters(operation), *_query_parameters(operation.query)],
        "responses": {str(operation.status): response, **problems},
    }
    if not operation.body.model_fields:
        return described
    is_required = any(field.is_required() for field in operation.body.model_fields.values())
    content = {"application/json": {"schema": schemas.body(operation)}}
    return {**described, "requestBody": {"required": is_required, "content": content}}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": TARGET_PATTERNS[name]}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]


def _query_parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    schema = query.model_json_schema(ref_template=REFERENCE_TEMPLATE)
    return [_query_parameter(name, dict(field)) for name, field in schema.get("properties", {}).items()]


def _query_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a query parameter. A default of null is not published, because a query cannot contain null."""
    if "anyOf" in schema:
        schema = {**schema, **schema["anyOf"][0]}
        del schema["anyOf"], schema["default"]
    return {"name": name, "in": "query", "description": schema.pop("description"), "schema": schema}


def _problem_response(status: int) -> dict[str, Any]:
    schema = {"$ref": REFERENCE_TEMPLATE.format(model=Problem.__name__)}
    return {"description": HTTPStatus(status).phrase, "content": {PROBLEM_JSON: {"schema": schema}}}

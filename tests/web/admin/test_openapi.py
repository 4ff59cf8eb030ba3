"""The OpenAPI document of /admin/v1: complete, valid, and in agreement with the running service."""

import asyncio
import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import openapi_spec_validator
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from app.cli.main import command_parser
from app.web.admin.openapi import openapi_document
from app.web.admin.operations import ADMIN_PATH, COMMAND_LINE_ONLY, OPERATIONS
from tests.support.administrator import Administrator
from tests.support.fleet import Fleet

CHECKS = [
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
EXAMPLES = 6
"""Requests of each kind for each operation. The seed is fixed: the document alone decides which."""

SECONDS_BETWEEN = 2.0
"""By the clock of the test, so that no rate limits the requests."""

DOCUMENT = openapi_document(OPERATIONS, ADMIN_PATH, "1")


def commands(parser: ArgumentParser, name: str = "") -> Iterator[str]:
    """Yield the commands that print a JSON document: those of administration."""
    if "--json" in parser._option_string_actions:  # noqa: SLF001 - argparse has no public list of options
        yield name.strip()
    for action in parser._actions:  # noqa: SLF001 - the same
        if isinstance(action.choices, dict):
            for verb, sub in action.choices.items():
                yield from commands(sub, f"{name} {verb}")


def test_every_administrative_command_has_an_operation() -> None:
    twins = [operation.command for operation in OPERATIONS]
    assert sorted([*twins, *COMMAND_LINE_ONLY]) == sorted(commands(command_parser()))


def test_the_document_is_openapi_and_describes_each_operation_once() -> None:
    openapi_spec_validator.validate(DOCUMENT)
    described = [found["operationId"] for path in DOCUMENT["paths"].values() for found in path.values()]
    assert sorted(described) == sorted({operation.name for operation in OPERATIONS})


async def test_the_document_is_served_to_administrators(root: Administrator) -> None:
    served = await root.ask("GET", "/openapi.json")
    assert served["paths"] == json.loads(json.dumps(DOCUMENT["paths"]))


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
async def test_responses_match_the_document(
    fleet: Fleet, root: Administrator, mode: schemathesis.GenerationMode
) -> None:
    loop = asyncio.get_running_loop()
    for name in ("anna", "ben"):
        await fleet.teams.member("film", name)
    await root.ask("PUT", "/budgets/day", {"amount": "25"})
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    statuses: set[int] = set()
    headers = {"authorization": f"Bearer {root.key}"}

    def ask(case: Any) -> None:
        loop.call_soon_threadsafe(fleet.clock.advance, SECONDS_BETWEEN)
        response = case.call(base_url=f"{fleet.one.url}{ADMIN_PATH}", headers=headers)
        if unquote_to_bytes(response.request.url).isascii():  # others are refused before anything knows their path
            case.validate_response(response, checks=CHECKS, headers=headers)
            statuses.add(response.status_code)

    await asyncio.to_thread(_try_each, schema, mode, ask)
    assert 429 not in statuses
    assert (200 if mode is schemathesis.GenerationMode.POSITIVE else 422) in statuses
    assert (await root.ask("GET", "/team"))["name"] == "film"


def _try_each(schema: Any, mode: schemathesis.GenerationMode, ask: Callable[[Any], None]) -> None:
    for found in schema.get_all_operations():
        bounded = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(1)(bounded(given(case=found.ok().as_strategy(mode))(ask)))()

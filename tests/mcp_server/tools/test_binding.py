"""Binding of tools to handlers: a tool without a handler, or a handler without a tool, stops the start."""

from dataclasses import replace

import pytest

from app.composition.application import Assembly, assemble
from app.composition.mcp_server import build_mcp_server
from app.domain.access import Scope
from app.mcp_server.tools.arguments import NoArguments
from app.mcp_server.tools.definition import STATIC, Call, LumaTool, bind
from app.mcp_server.tools.results import ActionsView
from app.mcp_server.tools.tool_result import ToolResult, tool_result
from app.web.refusal_pace import RefusalPace
from app.web.request_context import HttpRequestContext
from tests.support.service import settings

TOOL = LumaTool("luma_new", "New", "A new tool.", STATIC, NoArguments, ActionsView, Scope.READ)


async def handle(_call: Call, _arguments: NoArguments) -> ToolResult:
    return tool_result("", {})


@pytest.fixture
def assembly() -> Assembly:
    return assemble(settings(), base_url="http://127.0.0.1")


def test_the_server_is_built_if_tools_and_handlers_match(assembly: Assembly) -> None:
    assert build_mcp_server(settings(), assembly, HttpRequestContext(RefusalPace()))


def test_a_tool_without_a_handler_ends_the_start(assembly: Assembly) -> None:
    more = replace(assembly, tools=(*assembly.tools, TOOL))
    with pytest.raises(ValueError, match="luma_new"):
        build_mcp_server(settings(), more, HttpRequestContext(RefusalPace()))


def test_a_handler_without_a_tool_ends_the_start(assembly: Assembly) -> None:
    fewer = replace(assembly, tools=assembly.tools[1:])
    with pytest.raises(ValueError, match=assembly.tools[0].name):
        build_mcp_server(settings(), fewer, HttpRequestContext(RefusalPace()))


def test_a_bound_tool_has_its_own_handler_scope_and_arguments() -> None:
    other = replace(TOOL, name="luma_other", scope=Scope.GENERATE)

    async def handle_other(_call: Call, _arguments: NoArguments) -> ToolResult:
        return tool_result("", {})

    bound = bind([TOOL, other], {"luma_other": handle_other, "luma_new": handle})
    assert list(bound) == ["luma_new", "luma_other"], "in the order of the catalog"
    assert bound["luma_new"].handle is handle
    assert bound["luma_other"].handle is handle_other
    assert bound["luma_other"].scope is Scope.GENERATE
    assert bound["luma_new"].arguments is NoArguments

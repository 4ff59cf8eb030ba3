"""Tool results on the wire, which bypass the SDK's serializer: they must be equal to what it would produce."""

from typing import Any

import pytest
from mcp_types import INVALID_PARAMS
from mcp_types.methods import serialize_server_result

from tests.support.clock import HandClock
from tests.support.service import ERAS, LEGACY, MODERN, SECONDS, Service, envelope, sandbox, serving, settings

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("luma_generate_video", {"prompt": "A fox"}),
    ("luma_generate_video", {"prompt": "[refuse]"}),
    ("luma_get_tasks_batch", {"task_ids": ["nobody-knows-this"]}),
    ("luma_get_task", {"task_id": "nobody-knows-this"}),
    ("luma_get_task", {"other": 1}),
    ("luma_list_aspect_ratios", {}),
    ("luma_list_actions", {}),
    ("luma_list_tasks", {}),
)


async def results(service: Service, clock: HandClock, era: str) -> list[dict[str, Any]]:
    finished = await service.ask("luma_generate_video", {"prompt": "A fox"}, era=era)
    clock.advance(SECONDS)
    told = [await service.call("luma_get_tasks_batch", {"task_ids": [finished["task_id"]]}, era=era)]
    return told + [await service.call(tool, arguments, era=era) for tool, arguments in CALLS]


@pytest.mark.parametrize("era", ERAS)
async def test_every_kind_of_result_fits_the_schema_of_its_revision(era: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        for result in await results(service, clock, era):
            assert serialize_server_result("tools/call", era, result) == result
            assert result.get("resultType") == ("complete" if era == MODERN else None)


async def test_every_kind_of_result_of_2026_names_the_server(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        for result in await results(service, clock, MODERN):
            assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "luma-mcp"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "params", [{"arguments": [1]}, {"arguments": "{}"}, {"arguments": {}, "_meta": {"progressToken": [1]}}]
)
async def test_a_call_that_does_not_fit_its_revision_never_reaches_the_tool(
    era: str, params: dict[str, Any], clock: HandClock
) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        answer = await service.request("tools/call", {"name": "luma_list_actions", **params}, era=era)
    assert answer["error"]["code"] == INVALID_PARAMS


@pytest.mark.parametrize("era", LEGACY)
async def test_a_tool_call_sent_as_a_notification_buys_nothing(era: str, clock: HandClock) -> None:
    backend = sandbox(clock)
    params = {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}}
    message, headers = envelope("tools/call", params, era)
    async with serving(settings(), backend, clock) as service:
        del message["id"]
        answer = await service.post(message, headers=headers)
        await service.ask("luma_generate_video", {"prompt": "A fox"}, era=era)
    assert (answer.status_code, answer.content) == (202, b"")
    assert backend.submissions("token-a") == 1

"""Tasks as MCP resources: reads by URI, completion of ids, and separation of tenants."""

import json
from typing import Any

import pytest

from tests.support.clock import HandClock
from tests.support.service import ERAS, LEGACY, MODERN, SECONDS, Service, sandbox, serving, settings

TEMPLATE = "luma://tasks/{task_id}"


async def started(service: Service, count: int = 1, **how: str) -> list[str]:
    results = [await service.ask("luma_generate_video", {"prompt": f"Fox {n}"}, **how) for n in range(count)]
    return [result["task_id"] for result in results]


async def completed(service: Service, prefix: str, **how: str) -> list[str]:
    reference = {"type": "ref/resource", "uri": TEMPLATE}
    params = {"ref": reference, "argument": {"name": "task_id", "value": prefix}}
    values: list[str] = (await service.request("completion/complete", params, **how))["result"]["completion"]["values"]
    return values


async def read(service: Service, uri: str, **how: str) -> Any:
    return await service.request("resources/read", {"uri": uri}, **how)


@pytest.mark.parametrize("era", ERAS)
async def test_a_task_is_read_as_the_same_object_that_the_tool_answers(era: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        (task_id,) = await started(service)
        clock.advance(SECONDS)
        task = await service.ask("luma_get_task", {"task_id": task_id})
        answer = await read(service, f"luma://tasks/{task_id}", era=era)
    (content,) = answer["result"]["contents"]
    assert content["mimeType"] == "application/json"
    assert content["uri"] == f"luma://tasks/{task_id}"
    assert json.loads(content["text"]) == task


async def test_resource_cache_hints_are_private_and_depend_on_the_state(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        (task_id,) = await started(service)
        running = (await read(service, f"luma://tasks/{task_id}"))["result"]
        clock.advance(SECONDS)
        final = (await read(service, f"luma://tasks/{task_id}"))["result"]
    assert (running["cacheScope"], running["ttlMs"]) == ("private", 3000)
    assert (final["cacheScope"], final["ttlMs"]) == ("private", 3_600_000)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "uri", ["luma://tasks/nobody-knows", "luma://videos/x", "https://example.com/", "luma://tasks/"]
)
async def test_an_unknown_resource_is_invalid_params_with_its_uri(era: str, uri: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        answer = await read(service, uri, era=era)
    assert answer["error"]["code"] == -32602
    assert answer["error"]["data"] == {"uri": uri}


@pytest.mark.parametrize("era", ERAS)
async def test_the_resource_template_is_listed(era: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        answer = await service.request("resources/templates/list", era=era)
    (template,) = answer["result"]["resourceTemplates"]
    assert template["uriTemplate"] == TEMPLATE
    assert template["description"]


@pytest.mark.parametrize("era", [LEGACY[-1], MODERN])
async def test_completion_returns_the_tenants_ids_newest_first(era: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        task_ids = []
        for _ in range(3):
            task_ids += await started(service)
            clock.advance(1)
        assert await completed(service, "", era=era) == task_ids[::-1]
        assert await completed(service, task_ids[1][:12], era=era) == [task_ids[1]]
        assert await completed(service, "no-such", era=era) == []
        assert await completed(service, "", era=era, token="token-b") == []


async def test_completion_leaves_out_ids_that_were_only_read(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        (task_id,) = await started(service)
        await service.ask("luma_get_tasks_batch", {"task_ids": [task_id, "unknown"]}, token="token-b")
        assert await completed(service, "", token="token-b") == []


async def test_completion_returns_submitted_ids_after_a_restart(clock: HandClock, database_url: str) -> None:
    values, backend = settings(database_url=database_url), sandbox(clock)
    async with serving(values, backend, clock) as service:
        task_ids = await started(service, 2)
    async with serving(values, backend, clock) as restarted:
        assert sorted(await completed(restarted, "")) == sorted(task_ids)


async def test_completion_returns_at_most_a_hundred_ids(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        await started(service, 105)
        assert len(await completed(service, "")) == 100

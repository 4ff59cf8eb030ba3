"""Reads of tasks end to end: over HTTP, with the sandbox backend, which counts requests, and a real Redis."""

import asyncio
from dataclasses import replace

import pytest

from app.settings import Settings
from tests.support.clock import HandClock
from tests.support.redis_server import RedisServer
from tests.support.service import ERAS, FREE, LEGACY, MODERN, SECONDS, Service, sandbox, serving, settings, text_of


async def generate(service: Service, count: int, *, token: str = "token-a") -> list[str]:
    results = [await service.ask("luma_generate_video", {"prompt": f"Fox {n}"}, token=token) for n in range(count)]
    return [result["task_id"] for result in results]


@pytest.mark.parametrize("era", ERAS)
async def test_a_video_is_generated_and_then_found_completed(era: str, clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        started = await service.ask("luma_generate_video", {"prompt": "A fox"}, era=era)
        assert started["state"] == "pending"
        clock.advance(SECONDS)
        batch = await service.ask("luma_get_tasks_batch", {"task_ids": [started["task_id"]]}, era=era)
    assert batch["tasks"][0]["state"] == "completed"
    assert batch["tasks"][0]["video_url"] == f"https://cdn.example.com/luma/{started['task_id']}.mp4"
    assert batch["ask_again_in_seconds"] is None


async def test_120_cold_ids_cost_three_calls_and_the_second_question_none(
    clock: HandClock, redis_server: RedisServer
) -> None:
    backend = sandbox(clock)
    values = settings(redis_url=redis_server.url)
    async with serving(values, backend, clock) as service:
        task_ids = await generate(service, 120)
        clock.advance(SECONDS)
        await service.ask("luma_get_tasks_batch", {"task_ids": task_ids})
        assert backend.reads == 3
        await service.ask("luma_get_tasks_batch", {"task_ids": task_ids})
        assert backend.reads == 3
    async with serving(values, backend, clock) as restarted:
        batch = await restarted.ask("luma_get_tasks_batch", {"task_ids": task_ids})
        assert backend.reads == 3
        assert batch["counts"]["completed"] == 120
        await restarted.ask("luma_get_tasks_batch", {"task_ids": task_ids}, token="token-b")
        assert backend.reads == 6


async def test_results_keep_the_order_of_the_ids_and_duplicates_are_answered_once(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        first, second, third = await generate(service, 3)
        batch = await service.ask("luma_get_tasks_batch", {"task_ids": [third, first, third, "unknown", second, first]})
    assert [task["task_id"] for task in batch["tasks"]] == [third, first, second]
    assert batch["missing"] == ["unknown"]
    assert batch["counts"] == {
        "completed": 0, "failed": 0, "processing": 0, "pending": 3, "missing": 1, "unavailable": 0,
    }  # fmt: skip


async def test_a_running_task_is_reused_for_moments_and_then_asked_for_again(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(pending_ttl_seconds=3), backend, clock) as service:
        task_ids = await generate(service, 2)
        for reads, pause in ((1, 0.0), (1, 2.9), (2, 0.2)):
            clock.advance(pause)
            await service.ask("luma_get_tasks_batch", {"task_ids": task_ids})
            assert backend.reads == reads


async def test_a_hundred_identical_questions_at_once_cost_one_call(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        task_ids = await generate(service, 20)
        clock.advance(SECONDS)
        questions = (service.ask("luma_get_tasks_batch", {"task_ids": task_ids}) for _ in range(100))
        batches = await asyncio.gather(*questions)
    assert backend.reads == 1
    assert {batch["counts"]["completed"] for batch in batches} == {20}


async def test_40_callers_with_200_calls_at_once_see_only_their_own(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        tokens = [f"token-{number}" for number in range(40)]
        owned = {token: await generate(service, 5, token=token) for token in tokens}
        clock.advance(SECONDS)

        async def ask(token: str, number: int) -> None:
            era = MODERN if number % 2 else LEGACY[number % 3]
            batch = await service.ask("luma_get_tasks_batch", {"task_ids": owned[token]}, token=token, era=era)
            assert [task["task_id"] for task in batch["tasks"]] == owned[token]

        await asyncio.gather(*(ask(tokens[number % 40], number) for number in range(200)))
        assert backend.reads == 40, "each token is its own question, and no other token's answer serves it"


async def test_a_failed_generation_is_listed_with_its_error_and_no_advice_to_wait(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        started = await service.ask("luma_generate_video", {"prompt": "A fox [fail]"})
        clock.advance(SECONDS)
        result = await service.call("luma_get_tasks_batch", {"task_ids": [started["task_id"]]})
    batch = result["structuredContent"]["result"]
    assert batch["tasks"][0]["state"] == "failed"
    assert batch["tasks"][0]["error"]["code"] == "backend_error"
    assert batch["ask_again_in_seconds"] is None
    assert "sk again" not in text_of(result)


async def test_a_task_submitted_a_moment_ago_and_not_shown_yet_is_pending_on_every_replica(
    clock: HandClock, redis_server: RedisServer
) -> None:
    backend = sandbox(clock, replace(FREE, hidden_seconds=300))
    values: Settings = settings(redis_url=redis_server.url)
    async with serving(values, backend, clock) as one, serving(values, backend, clock) as other:
        (task_id,) = await generate(one, 1)
        for replica in (one, other):
            task = await replica.ask("luma_get_task", {"task_id": task_id})
            assert task["state"] == "pending"
        clock.advance(61)
        assert (await one.fail("luma_get_task", {"task_id": task_id}))["code"] == "not_found"

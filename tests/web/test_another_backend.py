"""The whole server over another vendor's backend: texts, schedules and limits follow its BackendDescription."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.services.purchases.limiter import MAX_WAITING
from tests.support.backends import Studio
from tests.support.clock import HandClock, while_time_passes
from tests.support.service import MODERN, Service, envelope, serving, settings, text_of

PUBLIC = "https://luma.example.com"


@pytest.fixture
def studio(clock: HandClock) -> Studio:
    return Studio(clock)


@pytest.fixture
async def service(studio: Studio, clock: HandClock) -> AsyncIterator[Service]:
    async with serving(settings(public_url=PUBLIC), studio, clock) as running:
        yield running


async def start(service: Service, prompt: str = "A fox", **more: Any) -> str:
    task_id: str = (await service.ask("luma_generate_video", {"prompt": prompt, **more}))["task_id"]
    return task_id


async def texts(service: Service) -> dict[str, str]:
    """Return the texts that the service publishes about itself, by name."""
    asked = {
        "tools": ("tools/list", {}),
        "discovery": ("server/discover", {}),
        "guide": ("prompts/get", {"name": "luma_video_generation_guide"}),
        "examples": ("prompts/get", {"name": "luma_workflow_examples"}),
    }
    found = {}
    for name, (method, params) in asked.items():
        message, headers = envelope(method, params, MODERN)
        found[name] = (await service.post(message, headers=headers)).text
    for name, path in {
        "page": "/",
        "card": "/mcp/server-card",
        "sign-in": "/.well-known/oauth-protected-resource",
    }.items():
        found[name] = (await service.http.get(service.url + path)).text
    found["no token"] = (await service.http.post(f"{service.url}/mcp", json={})).text
    return found


async def test_all_published_texts_name_only_the_configured_backend(service: Service) -> None:
    found = await texts(service)
    assert {name for name, text in found.items() if "acedata" in text.lower()} == set()
    assert {name for name, text in found.items() if "Studio One" not in text} == set()
    assert "YOUR_STUDIO_ONE_TOKEN" in found["page"]
    assert "https://studio.example.com/account" in found["no token"]


@pytest.mark.parametrize(
    ("where", "fact"),
    [
        ("tools", "40.5 US cents"),
        ("tools", "half a minute"),
        ("tools", "7 days"),
        ("tools", "rate_limited: 2 of your token run"),
        ("discovery", "half a minute"),
        ("guide", "works for 7 days"),
        ("examples", "at most 2 running"),
    ],
)
async def test_published_texts_state_the_price_and_duration_of_the_backend(
    service: Service, where: str, fact: str
) -> None:
    assert fact in (await texts(service))[where]


async def test_error_sentences_name_the_backend_and_its_limits(service: Service, clock: HandClock) -> None:
    unknown = await service.fail("luma_get_task", {"task_id": "nobody-knows"})
    refused = await service.fail("luma_get_task", {"task_id": "a"}, token="refused")
    busy = await while_time_passes(clock, service.fail("luma_generate_video", {"prompt": "busy"}))
    lost = await service.fail("luma_generate_video", {"prompt": "lost"})
    hidden = await service.call("luma_get_tasks_batch", {"task_ids": [await start(service, "hidden"), "nobody-knows"]})
    said = [error["message"] for error in (unknown, refused, busy, lost)] + [hidden["content"][0]["text"]]
    assert [sentence for sentence in said if "Studio One" not in sentence] == []
    assert "2 generations at once" in busy["message"]
    assert "unknown to Studio One" in hidden["content"][0]["text"]


async def test_an_aspect_ratio_that_the_backend_lacks_is_refused_before_submission(
    service: Service, studio: Studio
) -> None:
    error = await service.fail("luma_generate_video", {"prompt": "A fox", "aspect_ratio": "9:21"})
    assert error["code"] == "invalid_request"
    assert "16:9, 9:16" in error["message"]
    assert studio.made == {}


async def test_ask_again_in_seconds_follows_the_polling_policy_of_the_backend(
    service: Service, clock: HandClock
) -> None:
    started = await service.ask("luma_generate_video", {"prompt": "A fox"})
    assert (started["expected_seconds"], started["ask_again_in_seconds"]) == (40, 25)
    clock.advance(30)
    task = await service.ask("luma_get_task", {"task_id": started["task_id"]})
    assert (task["ask_again_in_seconds"], task["likely_stuck"]) == (7, False)


async def test_a_task_counts_as_stuck_after_the_backends_stuck_after_seconds(clock: HandClock) -> None:
    async with serving(settings(), Studio(clock, seconds=1e6), clock) as service:
        task_id = await start(service)
        clock.advance(301)
        result = await service.call("luma_get_task", {"task_id": task_id})
    assert result["structuredContent"]["result"]["likely_stuck"] is True
    assert "over 5 minutes" in result["content"][0]["text"]


async def test_a_wait_polls_on_the_schedule_of_the_backend(clock: HandClock) -> None:
    studio = Studio(clock)
    async with serving(settings(), studio, clock) as service:
        task_id, began_at = await start(service), clock()
        waiting = service.ask("luma_get_task", {"task_id": task_id, "wait_seconds": 50})
        task = await while_time_passes(clock, waiting, step=0.5)
    assert task["state"] == "completed"
    ages = [read_at - began_at for read_at in studio.read_at]
    assert 20 <= ages[0] <= 23, ages
    assert len(ages) in (3, 4), ages
    assert all(later - sooner >= 10 for sooner, later in pairwise(ages)), ages


async def test_a_cached_result_expires_with_its_link(service: Service, studio: Studio, clock: HandClock) -> None:
    task_id = await start(service)
    clock.advance(50)
    task = await service.ask("luma_get_task", {"task_id": task_id})
    assert task["state"] == "completed"
    assert task["finished_at"][:13] != task["expires_at"][:13], "an hour later"
    clock.advance(3500)
    await service.ask("luma_get_task", {"task_id": task_id})
    assert len(studio.read_at) == 1
    clock.advance(100)
    await service.ask("luma_get_task", {"task_id": task_id})
    assert len(studio.read_at) == 2, "a new link may be had"


async def test_submissions_of_a_token_are_limited_to_the_backends_generations_at_once(
    service: Service, studio: Studio
) -> None:
    studio.may_answer.clear()
    places = studio.description.policy.generations_at_once
    call = partial(service.call, "luma_generate_video", {"prompt": "A fox"})
    calls = [asyncio.create_task(call()) for _ in range(places + MAX_WAITING + 1)]
    try:
        done, _ = await asyncio.wait(calls, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    finally:
        studio.may_answer.set()
    assert {"2", "Studio"} <= set(text_of(done.pop().result()).split())
    await asyncio.gather(*calls)
    assert studio.most_under_way == places
    assert len(studio.made) == places + MAX_WAITING


async def test_a_callback_about_a_running_task_is_ignored(service: Service, studio: Studio, clock: HandClock) -> None:
    task_id = await start(service)
    path = urlsplit(studio.made[task_id].callback_url or "").path
    assert path.startswith("/callbacks/")
    clock.advance(30)
    await service.ask("luma_get_task", {"task_id": task_id})
    for state, reads in (("dreaming", 1), ("completed", 2)):
        response = await service.http.post(service.url + path, json={"id": task_id, "state": state})
        assert response.status_code == 204
        await service.ask("luma_get_task", {"task_id": task_id})
        assert len(studio.read_at) == reads, state


async def test_a_lost_submission_is_found_at_a_backend_that_lists_its_tasks(service: Service, studio: Studio) -> None:
    arguments = {"prompt": "lost", "idempotency_key": "k"}
    assert (await service.fail("luma_generate_video", arguments))["code"] == "backend_timeout"
    found = await service.ask("luma_generate_video", arguments)
    assert found["replayed"] is True
    assert list(studio.made) == [found["task_id"]]

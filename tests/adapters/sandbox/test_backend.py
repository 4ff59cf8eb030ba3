"""The sandbox's two paths over HTTP: they respond as AceDataCloud's documents describe."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from app.adapters.sandbox.backend import create_sandbox, sandbox_app
from app.adapters.sandbox.behaviour import Behaviour
from app.adapters.sandbox.engine import Sandbox

SECONDS = 120.0
TOKEN = "a-token"
UNLIMITED = Behaviour(max_in_flight=None, reads_per_second=None)


@dataclass
class Clock:
    """A clock that advances when `sleep` is called."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def client_of(app: Starlette) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {TOKEN}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox", headers=headers)


@dataclass
class Bench:
    """A sandbox with a client, and helpers for the most frequent calls."""

    sandbox: Sandbox
    clock: Clock
    client: httpx.AsyncClient

    async def video(self, **body: Any) -> httpx.Response:
        return await self.client.post("/luma/videos", json={"prompt": "a lighthouse", **body})

    async def tasks(self, **body: Any) -> Any:
        return (await self.client.post("/luma/tasks", json=body)).json()

    async def submit(self, **body: Any) -> str:
        answer = await self.video(**body, **{"async": True})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task_id"])


Build = Callable[..., Bench]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    clients: list[httpx.AsyncClient] = []

    def make(behaviour: Behaviour = UNLIMITED, **rest: Any) -> Bench:
        clock = Clock()
        sandbox = Sandbox(
            seconds=SECONDS, media_url="http://media", clock=clock, sleep=clock.sleep, behaviour=behaviour, **rest
        )
        clients.append(client_of(sandbox_app(sandbox)))
        return Bench(sandbox, clock, clients[-1])

    yield make
    for client in clients:
        await client.aclose()


def refusal(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error", "trace_id"}
    return answer.status_code, body["error"]["code"]


# Submitting


async def test_a_synchronous_call_waits_for_the_video_and_returns_eleven_keys(build: Build) -> None:
    bench = build()
    began_at = bench.clock.now
    answer = (await bench.video()).json()
    task_id = answer["task_id"]
    assert bench.clock.now == began_at + SECONDS
    assert answer.pop("video_id") != task_id
    assert answer == {
        "success": True,
        "task_id": task_id,
        "prompt": "a lighthouse",
        "video_url": f"http://media/{task_id}.mp4",
        "video_height": 752,
        "video_width": 1360,
        "state": "completed",
        "thumbnail_url": f"http://media/{task_id}.jpg",
        "thumbnail_width": 1360,
        "thumbnail_height": 752,
    }


async def test_a_synchronous_call_that_outlasts_its_timeout_is_answered_504_and_its_task_failed(build: Build) -> None:
    bench = build()
    answer = await bench.video(timeout=30)
    assert refusal(answer) == (504, "timeout")
    assert bench.clock.now == 1_700_000_030.0
    assert bench.sandbox.credits(TOKEN) == 0


async def test_a_synchronous_failure_has_the_status_of_its_code(build: Build) -> None:
    bench = build()
    assert refusal(await bench.video(prompt="[fail]")) == (500, "api_error")
    assert refusal(await bench.video(prompt="[moderated]")) == (403, "forbidden")


@pytest.mark.parametrize("how", [{"async": True}, {"callback_url": "https://example.com/hook"}])
async def test_an_asynchronous_call_is_answered_at_once_with_the_task_id_alone(
    build: Build, how: dict[str, Any]
) -> None:
    bench = build()
    answer = (await bench.video(**how)).json()
    assert list(answer) == ["task_id"]
    assert bench.clock.now == 1_700_000_000.0


async def test_an_asynchronous_response_has_success_if_configured(build: Build) -> None:
    answer = (await build(Behaviour(async_says_success=True)).video(**{"async": True})).json()
    assert answer["success"] is True
    assert set(answer) == {"success", "task_id"}


async def test_nulls_and_unknown_fields_are_tolerated(build: Build) -> None:
    bench = build()
    nulls = dict.fromkeys(("action", "aspect_ratio", "loop", "timeout", "callback_url", "async", "video_id"))
    assert (await bench.video(**nulls, model="ray")).status_code == 200


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"start_image_url": "https://example.com/a.png"}, (1552, 656)),
        ({"end_image_url": "https://example.com/a.png"}, (1552, 656)),
        ({"start_image_url": "https://example.com/a.png", "aspect_ratio": "1:1"}, (1008, 1008)),
        ({"aspect_ratio": "9:16"}, (752, 1360)),
        ({"aspect_ratio": "7:5"}, (1360, 752)),
    ],
)
async def test_a_video_has_the_size_of_its_ratio_or_image(
    build: Build, body: dict[str, Any], size: tuple[int, int]
) -> None:
    answer = (await build().video(**body)).json()
    assert (answer["video_width"], answer["video_height"]) == size


# Extending


@pytest.mark.parametrize("key", ["video_id", "video_url"])
async def test_an_extension_is_a_new_video_of_the_same_size(build: Build, key: str) -> None:
    bench = build()
    first = (await bench.video(aspect_ratio="9:16")).json()
    second = (await bench.video(action="extend", **{key: first[key]})).json()
    assert second["video_id"] != first["video_id"]
    assert (second["video_width"], second["video_height"]) == (752, 1360)


async def test_a_video_id_takes_precedence_over_a_video_url(build: Build) -> None:
    bench = build()
    url = (await bench.video()).json()["video_url"]
    assert refusal(await bench.video(action="extend", video_id="unknown", video_url=url)) == (400, "bad_request")


@pytest.mark.parametrize("source", [{}, {"video_id": "unknown"}, {"video_url": "https://example.com/v.mp4"}])
async def test_an_extension_of_no_known_video_is_turned_down(build: Build, source: dict[str, str]) -> None:
    assert refusal(await build().video(action="extend", **source)) == (400, "bad_request")


@pytest.mark.parametrize(("prompt", "age_seconds"), [("a lighthouse", SECONDS - 1), ("[fail]", SECONDS)])
async def test_a_video_that_is_not_there_cannot_be_extended(build: Build, prompt: str, age_seconds: float) -> None:
    bench = build()
    task_id = (await bench.video(prompt=prompt, **{"async": True})).json()["task_id"]
    bench.clock.now += age_seconds
    url = f"http://media/{task_id}.mp4"
    assert refusal(await bench.video(action="extend", video_url=url)) == (400, "bad_request")


# Reading


async def test_one_task_and_several_are_read_over_http(build: Build) -> None:
    bench = build()
    task_id = (await bench.video(**{"async": True})).json()["task_id"]
    one = await bench.tasks(id=task_id)
    several = await bench.tasks(action="retrieve_batch", ids=[task_id, "unknown"])
    assert one["id"] == task_id
    assert several == {"items": [one], "count": 1}


async def test_a_lone_surrogate_in_a_prompt_is_returned_unchanged(build: Build) -> None:
    answer = await build().client.post("/luma/videos", content=b'{"prompt": "\\ud800"}')
    assert b'"prompt":"\\ud800"' in answer.content


async def test_a_failed_generation_is_answered_as_http_200(build: Build) -> None:
    bench = build()
    task_id = (await bench.video(prompt="[fail]", **{"async": True})).json()["task_id"]
    bench.clock.now += SECONDS
    answer = await bench.client.post("/luma/tasks", json={"id": task_id})
    assert answer.status_code == 200
    assert answer.json()["response"]["success"] is False


async def test_a_prompt_word_without_its_brackets_has_no_effect(build: Build) -> None:
    assert (await build().video(prompt="fail, refuse and moderated, broke")).status_code == 200


async def test_a_sandbox_is_reached_through_the_application_state() -> None:
    app = create_sandbox(seconds=0, media_url="http://media", clock=Clock())
    async with client_of(app) as client:
        answer = await client.post("/luma/videos", json={"prompt": "x"})
    assert answer.json()["state"] == "completed"
    assert app.state.sandbox.submissions(TOKEN) == 1

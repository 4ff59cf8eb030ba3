"""The sandbox refuses requests with the statuses and codes that AceDataCloud documents."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.adapters.sandbox.backend import create_sandbox
from app.adapters.sandbox.behaviour import DOCUMENTED, Behaviour, ErrorForm

SECONDS = 120.0
PATHS = pytest.mark.parametrize("path", ["/luma/videos", "/luma/tasks"])


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def client_of(clock: Clock, behaviour: Behaviour = DOCUMENTED) -> httpx.AsyncClient:
    app = create_sandbox(seconds=SECONDS, media_url="http://media", clock=clock, behaviour=behaviour)
    headers = {"authorization": "Bearer a-token"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox", headers=headers)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(Clock()) as client:
        yield client


async def submit(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/luma/videos", json={"prompt": "a lighthouse", "async": True, **body})


def refusal(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error", "trace_id"}, body
    return answer.status_code, body["error"]["code"]


@PATHS
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", (400, "no_token")),
        ("Bearer", (400, "no_token")),
        ("Bearer ", (400, "no_token")),
        ("Basic abc", (401, "invalid_token")),
        ("abc", (401, "invalid_token")),
    ],
)
async def test_a_call_without_a_bearer_token_is_refused_before_its_body_is_read(
    client: httpx.AsyncClient, path: str, header: str, expected: tuple[int, str]
) -> None:
    answer = await client.post(path, headers={"authorization": header}, content=b"no JSON")
    assert refusal(answer) == expected


async def test_any_bearer_token_is_accepted(client: httpx.AsyncClient) -> None:
    answer = await client.post("/luma/tasks", headers={"authorization": "bearer whatever"}, json={"id": "x"})
    assert answer.status_code == 200


async def test_every_error_has_a_trace_id_of_its_own(client: httpx.AsyncClient) -> None:
    trace_ids = [(await submit(client, prompt="[refuse]")).json()["trace_id"] for _ in range(2)]
    assert UUID(trace_ids[0]) != UUID(trace_ids[1])


@PATHS
@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b"null", b'{"prompt": NaN}', b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_a_bad_request(
    client: httpx.AsyncClient, path: str, content: bytes
) -> None:
    assert refusal(await client.post(path, content=content)) == (400, "bad_request")


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": None},
        {"prompt": "  "},
        {"prompt": 7},
        {"action": "remix"},
        {"loop": "yes"},
        {"timeout": -1},
        {"timeout": 10**400},
    ],
)
async def test_a_submission_of_the_wrong_form_is_a_bad_request(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert refusal(await submit(client, **body)) == (400, "bad_request")


async def test_the_checks_come_in_the_order_rate_balance_form_moderation() -> None:
    clock, everything = Clock(), {"prompt": "[broke] [refuse]", "action": "remix"}
    async with client_of(clock, Behaviour(max_in_flight=1)) as client:
        await submit(client)
        assert refusal(await submit(client, **everything)) == (429, "rate_limited")
        clock.now += SECONDS
        assert refusal(await submit(client, **everything)) == (403, "used_up")
        assert refusal(await submit(client, prompt="[refuse]", action="remix")) == (400, "bad_request")
        assert refusal(await submit(client, prompt="[refuse]")) == (403, "forbidden")


async def test_five_generations_of_one_token_may_run_at_once() -> None:
    clock = Clock()
    async with client_of(clock) as client:
        assert [(await submit(client)).status_code for _ in range(5)] == [200] * 5
        assert refusal(await submit(client)) == (429, "rate_limited")
        client.headers["authorization"] = "Bearer another"
        assert (await submit(client)).status_code == 200
        client.headers["authorization"] = "Bearer a-token"
        clock.now += SECONDS
        assert (await submit(client)).status_code == 200


async def test_sixty_reads_of_one_token_are_answered_within_a_second() -> None:
    clock, question = Clock(), {"id": "unknown"}
    async with client_of(clock) as client:
        answers = [(await client.post("/luma/tasks", json=question)).status_code for _ in range(60)]
        assert answers == [200] * 60
        assert refusal(await client.post("/luma/tasks", json=question)) == (429, "too_many_requests")
        clock.now += 1
        assert (await client.post("/luma/tasks", json=question)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/luma/audios"), ("GET", "/luma/tasks"), ("POST", "/luma/tasks/"), ("GET", "/")]
)
async def test_any_other_address_is_answered_no_api(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert refusal(await client.request(method, path)) == (404, "no_api")


async def test_an_error_has_success_false_if_configured() -> None:
    async with client_of(Clock(), Behaviour(error=ErrorForm.WITH_SUCCESS)) as client:
        body = (await submit(client, prompt="[refuse]")).json()
    assert (body["success"], body["error"]["code"]) == (False, "forbidden")


async def test_an_error_is_a_string_if_configured() -> None:
    async with client_of(Clock(), Behaviour(error=ErrorForm.STRING)) as client:
        answer = await submit(client, prompt="[refuse]")
    assert answer.status_code == 403
    assert isinstance(answer.json()["error"], str)


async def test_an_error_is_a_proxy_page_if_configured() -> None:
    async with client_of(Clock(), Behaviour(error=ErrorForm.HTML)) as client:
        answer = await submit(client, prompt="[refuse]")
    assert answer.status_code == 502
    assert answer.headers["content-type"].startswith("text/html")

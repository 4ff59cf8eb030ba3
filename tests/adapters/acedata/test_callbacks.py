"""Callbacks of AceDataCloud: their task ids, and finding the task that was submitted with a callback URL."""

import httpx
import pytest

from app.domain.errors import BackendError, RateLimited, Refused
from app.domain.generation import GenerateVideo
from app.ports.backend import CallbackReport
from tests.support.acedata import CREDENTIAL, Answer, Backend, adapter_over, breaking, completed, error_reply, replying

URL = "https://luma.example.com/callbacks/ticket"
COMMAND = GenerateVideo("A fox")
MINE = replying(200, completed("mine", request={"action": "generate", "prompt": "A fox", "callback_url": URL}))
OTHER = replying(
    200, completed("other", request={"action": "generate", "prompt": "A fox", "callback_url": "https://x"})
)
TOLD_OTHERWISE = replying(
    200, completed("mine", request={"action": "generate", "prompt": "A dog", "callback_url": URL})
)


async def find_claimed(claimed: list[str], *answers: Answer) -> str | None:
    async with adapter_over(Backend(*answers)) as backend:
        return await backend.find_by_callback(CREDENTIAL, COMMAND, claimed, lambda url: url == URL)


@pytest.mark.parametrize(
    ("claimed", "answers", "task_id"),
    [
        ([], [MINE], None),
        (["mine"], [MINE], "mine"),
        (["other"], [OTHER], None),
        (["mine"], [TOLD_OTHERWISE], None),
        (["mine"], [replying(200, {})], None),
        (["other", "mine"], [OTHER, MINE], "mine"),
        (["other", "mine"], [error_reply(403, "forbidden"), MINE], "mine"),
    ],
    ids=["no claim", "the one", "another URL", "another prompt", "unknown", "false before true", "fault before true"],
)
async def test_a_claimed_task_is_found_if_its_record_echoes_the_callback_url_and_the_command(
    claimed: list[str], answers: list[Answer], task_id: str | None
) -> None:
    assert await find_claimed(claimed, *answers) == task_id


async def test_a_claimed_task_whose_read_fails_raises_instead_of_returning_none() -> None:
    with pytest.raises(RateLimited):
        await find_claimed(["mine"], error_reply(429, "rate_limited"))
    with pytest.raises(BackendError, match="with the same key"):
        await find_claimed(["mine"], breaking(httpx.ConnectError))
    with pytest.raises(Refused):
        await find_claimed(["mine", "other"], error_reply(403, "forbidden"), OTHER)


@pytest.mark.parametrize(
    ("body", "report"),
    [
        (b'{"task_id": "a", "success": true, "video_url": "https://evil.example.com"}', CallbackReport("a")),
        (b'{"task_id": "a", "success": false}', CallbackReport("a", has_ended=True)),
        (b'{"task_id": 7}', None),
        (b'{"id": "a"}', None),
        (b'["a"]', None),
        (b"", None),
        (b"[" * 9000, None),
        (b"\xff", None),
    ],
)
async def test_parse_callback_returns_only_the_task_id(body: bytes, report: CallbackReport | None) -> None:
    async with adapter_over(Backend(MINE)) as backend:
        assert backend.parse_callback(body) == report


@pytest.mark.parametrize(
    ("answer", "is_good", "words"),
    [
        (error_reply(400, "no_token"), True, "answers (HTTP 400 to a call without a token)"),
        (replying(404, "gone"), False, "not as AceDataCloud does"),
        (replying(503, "busy"), False, "is in trouble (HTTP 503 to a call without a token)"),
        (replying(200, {}), True, "answers (HTTP 200 to a call without a token)"),
    ],
)
async def test_check_sends_no_token_and_describes_the_response(answer: Answer, words: str, *, is_good: bool) -> None:
    network = Backend(answer)
    async with adapter_over(network) as backend:
        health = await backend.check(1.0)
    assert health.is_good is is_good
    assert words in health.words
    (request,) = network.requests
    assert "authorization" not in request.headers
    assert network.bodies == [{}]

"""Callbacks of AceDataCloud: what a body claims, and which task was truly submitted with a URL."""

import httpx
import pytest

from app.domain.errors import BackendError, RateLimited, Refused
from app.domain.generation import GenerateVideo
from app.ports.backend import CallbackReport
from tests.support.acedata import CREDENTIAL, Answer, Backend, breaking, completed, error_reply, gateway_over, replying

URL = "https://luma.example.com/callbacks/ticket"
COMMAND = GenerateVideo("A fox")
MINE = replying(200, completed("mine", request={"action": "generate", "prompt": "A fox", "callback_url": URL}))
OTHER = replying(
    200, completed("other", request={"action": "generate", "prompt": "A fox", "callback_url": "https://x"})
)
TOLD_OTHERWISE = replying(
    200, completed("mine", request={"action": "generate", "prompt": "A dog", "callback_url": URL})
)


async def found(claimed: list[str], *answers: Answer) -> str | None:
    async with gateway_over(Backend(*answers)) as backend:
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
async def test_a_claim_counts_where_the_record_echoes_the_url_and_the_command(
    claimed: list[str], answers: list[Answer], task_id: str | None
) -> None:
    assert await found(claimed, *answers) == task_id


async def test_a_claim_that_cannot_be_read_is_a_fault_and_no_answer() -> None:
    with pytest.raises(RateLimited):
        await found(["mine"], error_reply(429, "rate_limited"))
    with pytest.raises(BackendError, match="with the same key"):
        await found(["mine"], breaking(httpx.ConnectError))
    with pytest.raises(Refused):
        await found(["mine", "other"], error_reply(403, "forbidden"), OTHER)


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
async def test_a_body_claims_a_task_and_no_more(body: bytes, report: CallbackReport | None) -> None:
    async with gateway_over(Backend(MINE)) as backend:
        assert backend.parse_callback(body) == report


@pytest.mark.parametrize(
    ("answer", "is_good", "words"),
    [
        (error_reply(400, "no_token"), True, "answers (HTTP 400)"),
        (replying(404, "gone"), False, "not as AceDataCloud does"),
        (replying(503, "busy"), False, "is in trouble (HTTP 503)"),
        (replying(200, {}), True, "answers (HTTP 200)"),
    ],
)
async def test_a_check_sends_no_token_and_tells_how_the_backend_answers(
    answer: Answer, words: str, *, is_good: bool
) -> None:
    network = Backend(answer)
    async with gateway_over(network) as backend:
        health = await backend.check(1.0)
    assert health.is_good is is_good
    assert words in health.words
    (request,) = network.requests
    assert "authorization" not in request.headers
    assert network.bodies == [{}]

"""The memory limit of a token for the responses to single calls and JSON-RPC batches."""

import json

from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.memory_budget import SHARE_OF_ONE_CALLER
from app.web.json_rpc_batch import MAX_BATCH_RESPONSE_BYTES, BatchResponse
from app.web.middleware.request_memory import REQUEST_BYTES, SMALL_PART_BYTES, RequestMemory
from tests.support.clock import HandClock
from tests.support.service import Service, sandbox, serving, settings

SHARE = 16_000_000 // SHARE_OF_ONE_CALLER
"""The memory share of one token (bytes) with LUMA_MCP_REQUEST_MEMORY_MB=16."""


def leave(service: Service, token: str, amount: int) -> None:
    """Take all of a token's memory share but `amount` bytes."""
    tenant = service.assembly.authenticator.hash_token(token)
    assert service.assembly.request_memory.take(tenant, SHARE - amount)


async def test_a_batch_is_cut_at_the_memory_share_of_its_token(clock: HandClock) -> None:
    async with serving(settings(request_memory_mb=16), sandbox(clock), clock) as service:
        leave(service, "a", REQUEST_BYTES + 300_000)
        before = service.assembly.request_memory.in_use
        messages = [{"jsonrpc": "2.0", "id": number, "method": "tools/list"} for number in range(20)]
        sent = {"authorization": "Bearer a", "content-type": "application/json", "accept": "application/json"}
        response = await service.http.post(f"{service.url}/mcp", json=messages, headers=sent)
        answers = response.json()
        after = service.assembly.request_memory.in_use
    assert response.status_code == 200
    assert [answer["id"] for answer in answers] == list(range(20))
    answered = ["result" in answer for answer in answers]
    assert answered == sorted(answered, reverse=True)
    assert 3 <= sum(answered) <= 8
    assert answers[-1]["error"]["data"] == {"code": "rate_limited"}
    assert "request of its own" in answers[-1]["error"]["message"]
    assert after == before


async def test_a_message_that_is_too_long_as_utf_8_is_refused_by_itself(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        ping, call = (
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, method, params in ((1, "ping", {}), (2, "ping", {"_meta": {"padding": "\u4e00" * 100_000}}))
        )
        sent = {"authorization": "Bearer a", "content-type": "application/json", "accept": "application/json"}
        body = json.dumps([ping, call], ensure_ascii=False).encode("utf-16")
        response = await service.http.post(f"{service.url}/mcp", content=body, headers=sent)
    one, other = response.json()
    assert one == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert (other["id"], other["error"]["data"]) == (2, {"code": "body_too_large"})


async def test_a_large_response_is_refused_if_its_token_uses_too_much_memory(
    clock: HandClock,
) -> None:
    async with serving(settings(request_memory_mb=16), sandbox(clock), clock) as service:
        asked = {"prompt": "A fox. " * 100}
        ids = [(await service.ask("luma_generate_video", asked, token="a"))["task_id"] for _ in range(200)]
        leave(service, "a", REQUEST_BYTES + 95_000)
        refused = await service.fail("luma_get_tasks_batch", {"task_ids": ids, "detail": "full"}, token="a")
        small = await service.ask("luma_get_task", {"task_id": ids[0]}, token="a")
        other = await service.ask("luma_get_tasks_batch", {"task_ids": ids, "detail": "full"}, token="b")
    assert refused["code"] == "rate_limited"
    assert refused["retry_after_seconds"] == 5
    assert small["task_id"] == ids[0]
    assert other["counts"]["missing"] + other["counts"]["unavailable"] + len(other["tasks"]) == 200


async def test_a_batch_response_is_limited_and_a_small_response_is_never_dropped() -> None:
    held = RequestMemory(CallerQuota(QuotaLimits(10**9, 10**9, 10**9), lambda _owner: True), "a")
    answers = BatchResponse(held)
    part = json.dumps({"jsonrpc": "2.0", "id": 1, "result": "x" * (MAX_BATCH_RESPONSE_BYTES // 2)}).encode()
    for _ in range(2):
        assert not answers.is_full
        await answers.collect({"type": "http.response.body", "body": part})
    assert answers.is_full
    held = RequestMemory(CallerQuota(QuotaLimits(0, 0, 0), lambda _owner: True), "a")
    answers = BatchResponse(held)
    bought = json.dumps({"jsonrpc": "2.0", "id": 1, "result": "x" * (SMALL_PART_BYTES - 100)}).encode()
    for _ in range(10):
        answers.begin(b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}')
        await answers.collect({"type": "http.response.body", "body": bought})
    assert json.loads(answers.body()) == [json.loads(bought)] * 10

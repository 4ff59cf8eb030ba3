"""Scopes: calls are allowed or refused by the scopes of the caller's token."""

import pytest

from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.domain.access import Scope
from app.ports.auth import Caller
from tests.support.callers import caller
from tests.support.clock import HandClock
from tests.support.service import KEY, sandbox, serving, settings
from tests.web.test_subscriptions import DECLARED

READS = (
    ("resources/read", {"uri": "luma://tasks/task-1"}),
    (
        "completion/complete",
        {
            "ref": {"type": "ref/resource", "uri": "luma://tasks/{task_id}"},
            "argument": {"name": "task_id", "value": ""},
        },
    ),
)


class ScopeAuthenticator:
    """An Authenticator with two tokens of different scopes; it refuses all others."""

    async def authenticate(self, token: str) -> Caller | None:
        return caller(self.hash_token(token), token, [Scope(token)]) if token in tuple(Scope) else None

    def hash_token(self, token: str) -> str:
        return PassthroughAuthenticator(KEY).hash_token(token)


async def test_a_caller_who_may_only_read_reads_and_spends_nothing(clock: HandClock) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock, ScopeAuthenticator()) as service:
        error = await service.fail("luma_generate_video", {"prompt": "A fox"}, token="read")
        assert error["code"] == "forbidden"
        answer = await service.ask("luma_get_tasks_batch", {"task_ids": ["task-1"]}, token="read")
        assert answer["missing"] == ["task-1"]
    assert backend.submissions("read") == 0


async def test_a_caller_who_may_only_generate_generates_and_reads_nothing(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock, ScopeAuthenticator()) as service:
        assert (await service.ask("luma_generate_video", {"prompt": "A fox"}, token="generate"))["task_id"]
        error = await service.fail("luma_get_tasks_batch", {"task_ids": ["task-1"]}, token="generate")
        assert error["code"] == "forbidden"


@pytest.mark.parametrize(("method", "params"), READS)
async def test_resources_need_the_same_scope_as_tools(clock: HandClock, method: str, params: dict[str, object]) -> None:
    async with serving(settings(), sandbox(clock), clock, ScopeAuthenticator()) as service:
        refused = await service.request(method, params, token="generate")
        assert "scope" in refused["error"]["message"]
        assert "scope" not in str(await service.request(method, params, token="read"))
        counted = service.assembly.metrics.exposition().decode()
    assert 'outcome="forbidden"' in "".join(line for line in counted.splitlines() if method in line)


@pytest.mark.parametrize(("token", "may"), [("read", False), ("generate", True)])
async def test_only_who_may_generate_marks_a_task_as_cancelled(clock: HandClock, token: str, may: bool) -> None:
    async with serving(settings(), sandbox(clock), clock, ScopeAuthenticator()) as service:
        answer = await service.request("tasks/cancel", {"taskId": "v1.unknown", "_meta": DECLARED}, token=token)
    assert ("scope" in answer["error"]["message"]) is not may


async def test_a_token_that_is_refused_gets_401_and_a_challenge(clock: HandClock) -> None:
    async with serving(settings(), sandbox(clock), clock, ScopeAuthenticator()) as service:
        refused = await service.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, token="unknown")
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]

"""Rotation of the secret key, replica by replica: keys buy once, and handles, cursors and completions stay valid."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import HandClock
from tests.support.service import Service, sandbox, serving, settings
from tests.web.test_tasks_extension import handle_of, task

OLD, NEW = "an older key for tests that has more than 32 bytes", "0123456789abcdef" * 3


@pytest.fixture
async def fleet(clock: HandClock, tmp_path: Path) -> AsyncIterator[dict[str, Service]]:
    """Yield replicas with different secret keys, over one backend and one database."""
    backend, url = sandbox(clock), f"sqlite:///{tmp_path}/luma.db"
    async with AsyncExitStack() as stack:
        replicas = {}
        for keys in (OLD, f"{OLD},{NEW}", f"{NEW},{OLD}", NEW):
            values = settings(secret_key=keys, database_url=url)
            replicas[keys] = await stack.enter_async_context(serving(values, backend, clock))
        yield replicas


async def bought(service: Service, key: str = "key", prompt: str = "A fox") -> dict[str, Any]:
    answer: dict[str, Any] = await service.ask("luma_generate_video", {"prompt": prompt, "idempotency_key": key})
    return answer


@pytest.mark.parametrize("first", [OLD, f"{OLD},{NEW}", f"{NEW},{OLD}"])
@pytest.mark.parametrize("then", [OLD, f"{OLD},{NEW}", f"{NEW},{OLD}"])
async def test_a_key_buys_once_whichever_replica_is_asked(fleet: dict[str, Service], first: str, then: str) -> None:
    made = await bought(fleet[first])
    again = await bought(fleet[then])
    assert (again["task_id"], again["replayed"]) == (made["task_id"], True)


async def test_a_key_that_was_used_with_both_secrets_outlives_the_older_one(fleet: dict[str, Service]) -> None:
    made = await bought(fleet[f"{OLD},{NEW}"])
    assert (await bought(fleet[NEW]))["task_id"] == made["task_id"]


async def test_other_arguments_are_refused_after_a_rotation(fleet: dict[str, Service]) -> None:
    await bought(fleet[OLD])
    arguments = {"prompt": "A wolf", "idempotency_key": "key"}
    assert (await fleet[f"{NEW},{OLD}"].fail("luma_generate_video", arguments))["code"] == "invalid_request"


STEPS = [(OLD, f"{OLD},{NEW}"), (f"{OLD},{NEW}", f"{NEW},{OLD}"), (f"{NEW},{OLD}", f"{OLD},{NEW}")]
"""Pairs of replicas that serve at the same time during a rotation: one issues a value that the other receives."""


@pytest.mark.parametrize(("maker", "other"), STEPS)
async def test_a_task_handle_is_valid_on_replicas_at_either_step_of_a_rotation(
    fleet: dict[str, Service], maker: str, other: str
) -> None:
    handle = await handle_of(fleet[maker])
    assert (await task(fleet[other], handle))["status"] == "working"


@pytest.mark.parametrize(("maker", "other"), STEPS)
async def test_a_caller_sees_its_tasks_on_replicas_at_either_step_of_a_rotation(
    fleet: dict[str, Service], maker: str, other: str
) -> None:
    made = await bought(fleet[maker])
    params = {
        "ref": {"type": "ref/resource", "uri": "luma://tasks/{task_id}"},
        "argument": {"name": "task_id", "value": made["task_id"][:4]},
    }
    answer = await fleet[other].request("completion/complete", params)
    assert answer["result"]["completion"]["values"] == [made["task_id"]]

"""A Redis user without all permissions: the service keeps working, and the missing permission is logged and counted."""

import logging

import pytest

from tests.support.clock import HandClock, while_time_passes
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.service import Service, sandbox, serving, settings

KEYED = {"prompt": "A fox", "idempotency_key": "fox-1"}


def url_of_user(server: RedisServer, *rules: str) -> str:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "luma", "reset", "on", ">word", "~luma-mcp:*", "+@all", *rules)
    return server.url.replace("redis://", "redis://luma:word@")


async def wait_until_counted(service: Service, kind: str, most: int) -> None:
    """Wait until this number of failures of a kind is counted."""
    name = f'luma_mcp_redis_link_failures_total{{kind="{kind}"}} '

    def is_counted() -> bool:
        lines = service.assembly.metrics.exposition().decode().splitlines()
        return any(line.startswith(name) and float(line.removeprefix(name)) >= most for line in lines)

    await eventually(is_counted)


@pytest.mark.parametrize(
    ("rules", "status"), [(("resetchannels",), "refuses"), (("&*", "-subscribe"), "channel_silent")]
)
async def test_a_denied_channel_is_logged_once_counted_and_shown(
    clock: HandClock, fragile_redis: RedisServer, caplog: pytest.LogCaptureFixture, rules: tuple[str, ...], status: str
) -> None:
    url = url_of_user(fragile_redis, *rules)
    async with serving(settings(redis_url=url), sandbox(clock), clock) as service:
        await service.ask("luma_generate_video", KEYED)
        await wait_until_counted(service, "channel", 3)
        ready = (await service.http.get(f"{service.url}/readyz")).json()
    assert (ready["status"], ready["store_status"]) == ("degraded", status)
    lines = [record.getMessage() for record in caplog.records if "denies" in record.getMessage()]
    assert len(lines) == 1
    assert "docs/redis.md lists the rights" in lines[0]
    assert "word" not in lines[0]


@pytest.mark.parametrize("command", ["publish", "zadd"])
async def test_a_denied_command_of_the_coordination_is_logged_once_and_counted(
    clock: HandClock, fragile_redis: RedisServer, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    url = url_of_user(fragile_redis, "&*", f"-{command}")
    async with serving(settings(redis_url=url), sandbox(clock), clock) as service:
        task_ids = [(await service.ask("luma_generate_video", {"prompt": f"Fox {n}"}))["task_id"] for n in range(3)]
        for task_id in task_ids:
            waiting = service.ask("luma_get_task", {"task_id": task_id, "wait_seconds": 50})
            assert (await while_time_passes(clock, waiting))["state"] == "completed"
        await wait_until_counted(service, "denied", 3)
    lines = [record.getMessage() for record in caplog.records if "denies" in record.getMessage()]
    assert len(lines) == 1
    assert f"the command {command.upper()} (NOPERM" in lines[0]


async def test_denied_keys_of_release_1_0_are_not_logged(
    clock: HandClock, fragile_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = url_of_user(fragile_redis, "&*")
    with caplog.at_level(logging.WARNING, logger="app"):
        async with serving(settings(redis_url=url), sandbox(clock), clock) as service:
            await service.ask("luma_generate_video", KEYED)
    assert [record for record in caplog.records if record.name.startswith("app.adapters.redis")] == []

"""The quotas of callers: each refusal is counted under its kind, and a burst of them is one line in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD
from app.composition.quotas import (
    DATABASE_CALLBACKS,
    DATABASE_PURCHASES,
    DATABASE_READS,
    MAX_QUEUED_CALLBACKS_PER_CALLER,
    MAX_QUEUED_PER_CALLER,
    awaited_quota,
    build_memory_budget,
    database_limits,
    listener_quota,
    submission_quota,
    waiting_quota,
)
from app.domain.errors import RateLimited
from app.mcp_server.extensions.subscriptions import MAX_LISTENERS_PER_CALLER
from app.observability.metrics import Metrics
from app.observability.refusals import Refusals
from app.ports.repositories import DatabaseBusy
from app.services.limits.backend_limits import BackendLimits
from app.services.limits.caller_quota import CallerQuota
from app.services.limits.database_turns import DatabaseTurns
from app.services.limits.fair_limiter import Shares
from app.services.limits.memory_budget import SHARE_OF_ONE_CALLER
from app.services.log_throttle import QUIET_SECONDS
from app.services.polling.waiter import MAX_WAITING_PER_CALLER
from app.services.polling.watched_tasks import MAX_AWAITED_PER_CALLER
from app.services.purchases.service import MAX_UNDER_WAY_PER_CALLER
from tests.support.clock import HandClock
from tests.support.service import settings

BURST = 3
CALLER = "tenant-7f"
Refuse = Callable[[], Awaitable[None]]


class World:
    """The parts of a process that all quotas share."""

    def __init__(self, clock: HandClock) -> None:
        self.metrics = Metrics()
        self.refusals = Refusals(self.metrics, clock)
        self.limits = BackendLimits(clock, ACEDATACLOUD.policy.generations_at_once)
        self.limits.token_status.accept(CALLER)
        self.running: list[asyncio.Task[Any]] = []

    def counted(self, kind: str) -> float:
        """Return how many refusals of `kind` the metrics show."""
        return self.metrics.registry.get_sample_value("luma_mcp_limits_reached_total", {"limit": kind}) or 0.0


def full(quota: CallerQuota, most: int) -> Refuse:
    """Use up the caller's share of `quota`. Return a function that asks for one more and expects a refusal."""
    assert quota.take(CALLER, most)

    async def refuse() -> None:
        with pytest.raises(RateLimited, match=r"^Too many\.$") as caught, quota.place(CALLER, "Too many."):
            pass
        assert caught.value.retry_after_seconds == 5

    return refuse


async def busy(world: World, turns: DatabaseTurns, shares: Shares, most: int) -> Refuse:
    """Run and queue as many endless operations as one caller may have. Return a function that asks for one more."""
    operations = (turns.run(CALLER, asyncio.Event().wait) for _ in range(shares.per_tenant + most))
    world.running.extend(map(asyncio.create_task, operations))
    await asyncio.sleep(0)

    async def refuse() -> None:
        with pytest.raises(DatabaseBusy):
            await turns.run(CALLER, asyncio.Event().wait)

    return refuse


async def waits(world: World) -> Refuse:
    return full(waiting_quota(ACEDATACLOUD, world.refusals, world.limits), MAX_WAITING_PER_CALLER)


async def listeners(world: World) -> Refuse:
    return full(listener_quota(ACEDATACLOUD, world.refusals, world.limits), MAX_LISTENERS_PER_CALLER)


async def awaited_tasks(world: World) -> Refuse:
    return full(awaited_quota(ACEDATACLOUD, world.refusals, world.limits), MAX_AWAITED_PER_CALLER)


async def submissions(world: World) -> Refuse:
    return full(submission_quota(ACEDATACLOUD, world.refusals, world.limits), MAX_UNDER_WAY_PER_CALLER)


async def database(world: World) -> Refuse:
    limits = database_limits(ACEDATACLOUD, world.refusals, world.limits)
    await busy(world, limits.reads, DATABASE_READS, MAX_QUEUED_PER_CALLER)
    return await busy(world, limits.purchases, DATABASE_PURCHASES, MAX_QUEUED_PER_CALLER)


async def callbacks(world: World) -> Refuse:
    limits = database_limits(ACEDATACLOUD, world.refusals, world.limits)
    return await busy(world, limits.callbacks, DATABASE_CALLBACKS, MAX_QUEUED_CALLBACKS_PER_CALLER)


async def request_memory(world: World) -> Refuse:
    budget = build_memory_budget(settings(request_memory_mb=16), ACEDATACLOUD, world.refusals, world.limits)
    return full(budget, 16_000_000 // SHARE_OF_ONE_CALLER)


async def connection_memory(world: World) -> Refuse:
    budget = build_memory_budget(settings(request_memory_mb=16), ACEDATACLOUD, world.refusals, world.limits)

    class Connection:
        closed = False

        def held_bytes(self) -> int:
            return 17_000_000

        def make_room(self) -> None:
            self.closed = True

    async def refuse() -> None:
        connection = Connection()
        budget.hold(connection, CALLER, connection.held_bytes())
        assert connection.closed

    return refuse


KINDS = (waits, listeners, awaited_tasks, submissions, database, callbacks, request_memory, connection_memory)


@pytest.mark.parametrize("fill", KINDS, ids=lambda kind: kind.__name__)
async def test_refusals_are_counted_and_a_burst_is_one_line(
    fill: Callable[[World], Awaitable[Refuse]], clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    world, kind = World(clock), fill.__name__
    refuse = await fill(world)
    with caplog.at_level(logging.WARNING, logger="app"):
        for _ in range(BURST):
            await refuse()
        assert (world.counted(kind), len(caplog.records)) == (BURST, 1)
        assert CALLER not in caplog.text
        clock.advance(QUIET_SECONDS)
        await refuse()
    assert world.counted(kind) == BURST + 1
    first, second = (record.getMessage() for record in caplog.records)
    assert "(1 times since" in first
    assert f"({BURST} times since" in second
    for task in world.running:
        task.cancel()
    await asyncio.gather(*world.running, return_exceptions=True)
